"""Incidents, users, tokens and the audit trail."""

import hashlib
import hmac
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.edge.safety.examples import NOW
from tests.ui.api.world import PASSWORD, World
from ui.api.schemas import NewUser
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
LONG = "a long enough password"


def incident(world: World, incident_id: str, *, minutes: int = 0, state: str = "open") -> None:
    history = [{"at": NOW.isoformat(), "who": "loop", "state": "open", "why": "found"}]
    world.sql(
        "INSERT INTO incident VALUES (%s, 'site-1', 'rectifier_module', %s, NULL, 0.9, 'warning', %s, %s, %s)",
        incident_id, NOW - timedelta(minutes=minutes), state, Jsonb({"missing_w": 512.0}), Jsonb(history),
        role=DatabaseRole.LOOP,
    )  # fmt: skip


async def say(world: World, who: str, incident_id: str, act: str, **body: Any) -> Any:
    return await world.ask(who, "POST", f"/v1/incidents/{incident_id}/{act}", body)


async def test_an_incident_is_acknowledged_assigned_and_closed(world: World) -> None:
    incident(world, "i-life")
    answer = await say(world, "olga", "i-life", "acknowledge", why="looking at it")
    assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")
    assert (await say(world, "olga", "i-life", "assign", assignee="bo")).json()["assignee"] == "bo"
    assert (await say(world, "olga", "i-life", "assign", assignee="nobody")).status_code == 422
    closed = (await say(world, "ann", "i-life", "close", why="module replaced")).json()
    assert (closed["state"], closed["until"], closed["assignee"]) == ("closed", "2026-03-10T11:50:00Z", "bo")
    assert [(one["who"], one["state"], one["why"]) for one in closed["history"]] == [
        ("loop", "open", "found"),
        ("olga", "acknowledged", "looking at it"),
        ("olga", "acknowledged", "assigned to bo"),
        ("ann", "closed", "module replaced"),
    ]
    assert (await say(world, "olga", "i-life", "acknowledge", why="once more")).status_code == 409
    assert [entry[1] for action in ("acknowledged", "assigned", "closed") for entry in world.audit(f"incident.{action}")] == [
        "olga", "olga", "ann",
    ]  # fmt: skip


async def test_a_persons_word_outlives_what_the_loop_read_before(world: World) -> None:
    incident(world, "i-race")
    read = world.sql(
        "SELECT state, history FROM incident WHERE incident_id = 'i-race'", role=DatabaseRole.LOOP
    )[0]
    await say(world, "olga", "i-race", "acknowledge", why="mine")
    found = [*read[1], {"at": NOW.isoformat(), "who": "loop", "state": "open", "why": "still there"}]
    world.sql(
        "UPDATE incident SET state = %s, history = %s, score = 0.95 WHERE incident_id = 'i-race'",
        read[0], Jsonb(found), role=DatabaseRole.LOOP,
    )  # fmt: skip
    shown = await world.get("/v1/incidents/i-race")
    assert (shown["state"], shown["score"]) == ("acknowledged", 0.95)
    assert sorted(one["why"] for one in shown["history"]) == ["found", "mine", "still there"]


async def test_incidents_in_pages_by_state(world: World) -> None:
    world.sql("DELETE FROM incident")
    for minutes in range(3):
        incident(world, f"i-{minutes}", minutes=minutes)
    incident(world, "i-old", minutes=9, state="closed")
    first = await world.get("/v1/incidents?limit=2")
    assert [one["incident_id"] for one in first["items"]] == ["i-0", "i-1"]
    second = await world.get(f"/v1/incidents?limit=2&cursor={first['next_cursor']}")
    assert [one["incident_id"] for one in second["items"]] == ["i-2"]
    closed = await world.get("/v1/incidents?state=closed")
    assert [one["incident_id"] for one in closed["items"]] == ["i-old"]
    assert (await world.get("/v1/incidents?site_id=site-2"))["items"] == []
    await world.look()
    assert (await world.get("/v1/fleet"))["counts"]["open_incidents"] == {"warning": 3}


async def test_a_user_is_added_changed_and_closed(world: World) -> None:
    new = {"name": "eve", "password": LONG, "role": "viewer"}
    assert (await world.ask("ada", "POST", "/v1/users", new)).status_code == 201
    again = await world.ask("ada", "POST", "/v1/users", new)
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "name")
    login = {"name": "eve", "password": LONG}
    session = (await world.ask("", "POST", "/v1/session", login)).json()
    world.tokens["eve"] = session["token"]
    assert session["me"]["role"] == "viewer"
    changed = await world.ask("ada", "PATCH", "/v1/users/eve", {"role": "operator"})
    assert changed.json()["role"] == "operator"
    # A new role takes a new login, so that no open session keeps the old one.
    assert (await world.ask("eve", "GET", "/v1/me")).status_code == 401
    assert (await world.ask("ada", "PATCH", "/v1/users/eve", {"active": False})).status_code == 200
    assert (await world.ask("", "POST", "/v1/session", login)).status_code == 401
    assert (await world.ask("ada", "PATCH", "/v1/users/nobody", {"active": False})).status_code == 404
    assert [entry[:3] for entry in world.audit("user.added")] == [("cellwatt_api", "ada", "eve")]
    assert LONG not in str(world.sql("SELECT after FROM audit"))
    world.sql("DELETE FROM app_user WHERE name = 'eve'")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Ann"}, "name"),
        ({"name": "ann "}, "name"),
        ({"name": "policy"}, "name"),
        ({"name": "аnn"}, "name"),  # a Cyrillic a
        ({"password": "short"}, "password"),
        ({"role": "root"}, "role"),
        ({"admin": True}, "admin"),
    ],
)
async def test_a_user_that_would_pass_for_another_is_refused(
    world: World, change: dict[str, Any], field: str
) -> None:
    new = {"name": "mallory", "password": LONG, "role": "approver", **change}
    answer = await world.ask("ada", "POST", "/v1/users", new)
    assert answer.status_code in {409, 422}
    assert answer.json()["errors"][0]["field"] == field


async def test_somebody_always_can_administer(world: World) -> None:
    for change in ({"role": "viewer"}, {"active": False}):
        answer = await world.ask("ada", "PATCH", "/v1/users/ada", change)
        assert answer.status_code == 409
    assert (await world.ask("ada", "GET", "/v1/me")).json()["role"] == "admin"


async def test_an_admin_unlocks_an_account(world: World) -> None:
    wrong = {"name": "olga", "password": "wrong"}
    for _ in range(5):
        await world.ask("", "POST", "/v1/session", wrong)
    right = {"name": "olga", "password": PASSWORD}
    assert (await world.ask("", "POST", "/v1/session", right)).status_code == 401
    users = (await world.get("/v1/users", "ada"))["items"]
    assert next(one for one in users if one["name"] == "olga")["locked_until"] == "2026-11-24T09:15:00Z"
    assert (await world.ask("ada", "PATCH", "/v1/users/olga", {})).status_code == 200
    assert (await world.ask("", "POST", "/v1/session", right)).status_code == 201


async def test_a_token_is_shown_once_and_can_be_withdrawn(world: World) -> None:
    asked = {"label": "cabinet-1", "kind": "site", "site_id": "site-2", "expires_in_days": 1}
    key = {"Idempotency-Key": "k1"}
    made = (await world.ask("ada", "POST", "/v1/tokens", asked, headers=key)).json()
    repeated = (await world.ask("ada", "POST", "/v1/tokens", asked, headers=key)).json()
    assert repeated == {**made, "token": None}
    assert made["token"] not in str(world.sql("SELECT body FROM idempotency"))
    world.tokens["cabinet"] = made["token"]
    me = await world.get("/v1/me", "cabinet")
    assert (me["name"], me["kind"], me["role"], me["site_id"]) == (
        "token:cabinet-1",
        "site",
        "site",
        "site-2",
    )
    assert made["token"] not in (await world.ask("ada", "GET", "/v1/tokens")).text
    path = f"/v1/tokens/{made['about']['token_id']}"
    assert (await world.ask("ada", "DELETE", path)).status_code == 204
    assert (await world.ask("cabinet", "GET", "/v1/me")).status_code == 401
    assert (await world.ask("ada", "DELETE", path)).status_code == 404


async def test_a_token_ends_by_itself(world: World) -> None:
    asked = {"label": "short", "kind": "service", "role": "operator", "expires_in_days": 1}
    world.tokens["short"] = (await world.ask("ada", "POST", "/v1/tokens", asked)).json()["token"]
    world.wall.at += timedelta(days=1) - timedelta(seconds=1)
    assert (await world.ask("short", "GET", "/v1/me")).status_code == 200
    world.wall.at += timedelta(seconds=1)
    assert (await world.ask("short", "GET", "/v1/me")).status_code == 401


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"kind": "site"}, "site_id"),
        ({"kind": "site", "site_id": "site-9"}, "site_id"),
        ({"kind": "site", "site_id": "site-1", "role": "operator"}, "role"),
        ({"kind": "service", "site_id": "site-1"}, "site_id"),
        ({"kind": "service", "role": "approver"}, "role"),
    ],
)
async def test_a_token_that_reaches_too_far_is_refused(
    world: World, asked: dict[str, Any], field: str
) -> None:
    answer = await world.ask("ada", "POST", "/v1/tokens", {"label": "x", **asked})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_the_audit_trail_is_listed_and_checked(world: World) -> None:
    await world.ask("ann", "PUT", "/v1/mode", {"mode": "storm", "reason": "gale warning"})
    line = (await world.get("/v1/audit?limit=1", "olga"))["items"][0]
    assert (line["who"], line["role"], line["action"], line["before"]) == (
        "ann", "cellwatt_api", "mode.changed", {"mode": "normal"},
    )  # fmt: skip
    assert line["after"] == {"mode": "storm", "reason": "gale warning"}
    check = await world.get("/v1/audit/verify", "olga")
    assert (check["sound"], check["entries"], check["faults"]) == (True, line["seq"], [])
    older = await world.get(
        f"/v1/audit?limit=1&cursor={(await world.get('/v1/audit?limit=1', 'olga'))['next_cursor']}", "olga"
    )
    assert older["items"][0]["seq"] == line["seq"] - 1


async def test_a_forged_entry_is_found(world: World) -> None:
    world.sql("ALTER TABLE audit DISABLE TRIGGER audit_append_only")
    world.sql("UPDATE audit SET who = 'nobody' WHERE seq = 2")
    try:
        check = await world.get("/v1/audit/verify", "olga")
        assert (check["sound"], [(one["kind"], one["seq"]) for one in check["faults"]]) == (
            False,
            [("edited", 2)],
        )
    finally:
        world.sql("ALTER TABLE audit ENABLE TRIGGER audit_append_only")


async def test_no_fast_hash_of_a_password_lies_at_rest(world: World) -> None:
    new = {"name": "zoe", "password": LONG, "role": "viewer"}
    key = {"Idempotency-Key": "first-password"}
    assert (await world.ask("ada", "POST", "/v1/users", new, headers=key)).status_code == 201
    ((kept,),) = world.sql("SELECT body ->> 'digest' FROM idempotency WHERE key = 'first-password'")
    # What somebody with the table alone could try: every password in a body like this one.
    body = NewUser.model_validate(new).model_dump_json().encode()
    assert kept != hashlib.sha256(body).hexdigest()
    # The world's secret is 32 zero bytes; with it the same body is known again.
    assert kept == hmac.new(bytes(32), b"idempotency " + body, hashlib.sha256).hexdigest()
    again = await world.ask("ada", "POST", "/v1/users", new, headers=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    other = {**new, "password": LONG + "!"}
    assert (await world.ask("ada", "POST", "/v1/users", other, headers=key)).status_code == 422
    world.sql("DELETE FROM app_user WHERE name = 'zoe'")
