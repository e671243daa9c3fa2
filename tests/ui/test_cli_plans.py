"""`cellwatt plans`: a waiting plan is listed, shown, approved and declined from a terminal, against the real API."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from edge.plan import Plan
from edge.safety.verdict import Approved
from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW
from tests.services import DatabaseServer
from tests.ui.api.world import PASSWORD, one_person_plan, two_person_plan
from tests.ui.console.conftest import PHONE_PLAN, PLAN, LiveApi, fresh_api
from tools.planning.plan_store import PlanStore
from ui.cli import main
from ui.ops.plans_cli import printable
from ui.ops.ports import free_port
from ui.ops.secrets import DatabaseRole
from ui.settings import API_URL

pytestmark = pytest.mark.database
TOKEN = "CELLWATT_TOKEN"


@pytest.fixture(scope="module")
def api(postgres_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with fresh_api(postgres_server, tmp_path_factory.mktemp("plans-api")) as served:
        yield served


@pytest.fixture
def as_(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> "Person":
    return Person(api, monkeypatch)


class Person:
    """Whoever sits at the terminal, by the environment alone."""

    def __init__(self, api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
        self._api, self._monkeypatch = api, monkeypatch

    def __call__(self, name: str, *argv: str) -> int:
        """Run `cellwatt plans` as somebody; return its exit status."""
        self._monkeypatch.setenv(API_URL, self._api.url)
        self._monkeypatch.setenv(TOKEN, self._api.client(name).token)
        return main(["plans", *argv])


def typed(api: LiveApi, stdin: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `cellwatt plans` as people do, with something typed."""
    return subprocess.run(
        [sys.executable, "-m", "ui.cli", "plans", *argv],
        input=stdin,
        env={"PATH": os.environ["PATH"], API_URL: api.url, **env},
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )


def waiting(api: LiveApi, plan: Plan) -> Plan:
    """Store a plan that the validator let pass, as the loop does."""

    async def store() -> None:
        pool = await open_async_pool(api.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
        try:
            plans = PlanStore(pool)
            await plans.insert(plan, thread_id=None, who="loop", at=NOW)
            await plans.record_verdict(Approved(plan=plan, margins=(), passed=()), at=NOW, who="loop")
        finally:
            await pool.close()

    asyncio.run(store())
    return plan


def approvers(api: LiveApi, plan_id: str) -> list[tuple[str, str]]:
    """Return (approver, digest of what was approved) out of the database."""
    with psycopg.connect(api.database.owner_dsn) as owner:
        return owner.execute(
            "SELECT approver, envelope_digest FROM approval WHERE plan_id = %s ORDER BY approver", [plan_id]
        ).fetchall()


def test_what_waits_is_listed_and_shown_with_the_figures_by_hand(
    as_: "Person", capsys: pytest.CaptureFixture[str]
) -> None:
    assert as_("vic", "list") == 0
    assert f"{PLAN}  validated  peak shaving     10 Mar 12:00 – 16:00 UTC  1 sites" in capsys.readouterr().out
    assert as_("vic", "list", "--status", "aborted") == 0
    assert capsys.readouterr().out == "no plan is in that state\n"
    assert as_("vic", "show", PLAN, "--zone", "Europe/Oslo") == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["window"] == "10 Mar 13:00 – 17:00 CET"
    assert shown["power"] == "discharges up to 1.5 kW (negative setpoints)"
    assert shown["sites"] == "1, of them 1 simulated"
    assert shown["cost"] == "not known: no tariff"
    assert shown["approvers"] == "needs 1 person; 1 missing"
    assert shown["reserve"].endswith("h that it must keep")


def test_a_yes_is_asked_for_and_binds_to_what_was_shown(api: LiveApi) -> None:
    token = api.client("ann").token
    for answer in ("no\n", ""):
        refused = typed(api, answer, "approve", PHONE_PLAN, **{TOKEN: token})
        assert (refused.returncode, "nobody said yes" in refused.stderr) == (1, True)
        assert approvers(api, PHONE_PLAN) == []
        if answer == "no\n":
            assert "Approve exactly this?" in refused.stdout
    done = typed(api, "yes\n", "approve", PHONE_PLAN, "--key", "desk-1", **{TOKEN: token})
    assert done.returncode == 0, done.stderr
    assert "discharges up to 1.5 kW" in done.stdout
    assert "approved; the control process checks the plan again" in done.stdout
    assert approvers(api, PHONE_PLAN) == [("ann", one_person_plan(PHONE_PLAN).envelope.digest())]
    with psycopg.connect(api.database.owner_dsn) as owner:
        resumed = owner.execute(
            "SELECT kind, who FROM thread_command WHERE body ->> 'plan_id' = %s", [PHONE_PLAN]
        )
        assert resumed.fetchall() == [("resume", "ann")]


def test_two_people_say_yes_and_a_repeat_with_its_key_counts_once(
    api: LiveApi, as_: "Person", capsys: pytest.CaptureFixture[str]
) -> None:
    plan = waiting(api, two_person_plan("plan-cli-two"))
    assert as_("ann", "approve", plan.plan_id, "--yes", "--key", "k-1") == 0
    assert "approved; 1 more needed, of somebody else" in capsys.readouterr().out
    assert as_("ann", "approve", plan.plan_id, "--yes", "--key", "k-1") == 0
    assert [who for who, _ in approvers(api, plan.plan_id)] == ["ann"]
    assert as_("ann", "approve", plan.plan_id, "--yes") == 1
    assert "you have approved it already" in capsys.readouterr().err
    assert as_("ann", "approve", plan.plan_id, "--yes", "--key", "k-2") == 1  # the API's own word on it
    assert "not possible now" in capsys.readouterr().err
    assert as_("bo", "approve", plan.plan_id, "--yes") == 0
    assert [who for who, _ in approvers(api, plan.plan_id)] == ["ann", "bo"]


def test_a_no_says_why_and_a_second_one_comes_too_late(
    api: LiveApi, as_: "Person", capsys: pytest.CaptureFixture[str]
) -> None:
    plan = waiting(api, one_person_plan("plan-cli-no"))
    assert as_("bo", "decline", plan.plan_id, "--reason", "x") == 2
    assert as_("olga", "decline", plan.plan_id, "--reason", "crew on site") == 1
    assert "you may not do this" in capsys.readouterr().err
    assert as_("bo", "decline", plan.plan_id, "--reason", "crew on site") == 0
    assert api.client("vic").get(f"/v1/plans/{plan.plan_id}")["declines"][0]["reason"] == "crew on site"
    assert as_("bo", "decline", plan.plan_id, "--reason", "crew on site") == 1
    assert "not possible now" in capsys.readouterr().err
    assert as_("ann", "approve", plan.plan_id, "--yes") == 1
    assert "you cannot approve it: the plan is declined" in capsys.readouterr().err


def test_who_may_not_and_what_is_not_there_is_said(as_: "Person", capsys: pytest.CaptureFixture[str]) -> None:
    assert as_("vic", "approve", PLAN, "--yes") == 1
    assert "it takes the role approver; yours is viewer" in capsys.readouterr().err
    assert as_("vic", "approve", PLAN, "--yes", "--key", "k-3") == 1  # the API refuses by itself
    assert "you may not do this" in capsys.readouterr().err
    assert as_("ann", "show", "plan-99") == 1
    assert "there is no plan plan-99" in capsys.readouterr().err


def test_no_login_a_stale_one_and_no_api_are_told_apart(
    api: LiveApi, as_: "Person", capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_("vic", "list") == 0
    monkeypatch.setenv(TOKEN, "stale")
    assert main(["plans", "list"]) == 2
    assert "log in again" in capsys.readouterr().err
    monkeypatch.delenv(TOKEN)
    assert main(["plans", "list"]) == 2
    assert "CELLWATT_TOKEN is not set" in capsys.readouterr().err
    monkeypatch.setenv(TOKEN, "any")
    monkeypatch.setenv(API_URL, f"http://127.0.0.1:{free_port(None)}")
    assert main(["plans", "list"]) == 2
    assert "the API does not answer" in capsys.readouterr().err
    monkeypatch.delenv(API_URL)
    assert main(["plans", "list", "--state-dir", "nowhere"]) == 2
    assert "no installation in nowhere" in capsys.readouterr().err


def test_a_password_logs_in_for_once_and_out_again(api: LiveApi) -> None:
    def sessions() -> int:
        with psycopg.connect(api.database.owner_dsn) as owner:
            row = owner.execute("SELECT count(*) FROM app_session WHERE name = 'vic'").fetchone()
        assert row is not None
        return int(row[0])

    before = sessions()
    assert typed(api, f"{PASSWORD}\n", "show", PLAN, "--user", "vic").returncode == 0
    assert sessions() == before
    wrong = typed(api, "guess\n", "show", PLAN, "--user", "vic")
    assert (wrong.returncode, "the password is wrong" in wrong.stderr) == (2, True)


def test_help_teaches_and_words_of_others_give_a_terminal_no_orders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["plans", "approve", "--help"])
    taught = capsys.readouterr().out
    assert all(
        word in taught for word in ("CELLWATT_TOKEN", "CELLWATT_API_URL", "--yes", "--key", "Exit status")
    )
    assert printable("calm\x1b[2J\nAPPROVED\u202e") == "calm [2J APPROVED"
