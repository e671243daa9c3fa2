"""Every page, drawn by Streamlit itself, against the real API."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from streamlit.testing.v1 import AppTest

import ui.console
from tests.edge.safety.examples import NOW
from tests.ui.api.world import PASSWORD
from tests.ui.console.conftest import CURVE_THREAD, INCIDENT, PLAN, THREAD, LiveApi
from tests.ui.console.examples import PAGES
from ui.console.api_client import ApiClient, open_http
from ui.console.desk import API_URL, shared_http
from ui.ops.ports import free_port
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database
APP = Path(ui.console.__path__[0]) / "app.py"


def _draw(http: "httpx.Client", name: str, password: str, page: str) -> None:
    """Log in and draw one page; Streamlit runs this function's text, so it imports what it needs."""
    from importlib import import_module

    from ui.console.api_client import log_in
    from ui.console.desk import seated, sit_down

    if seated() is None:
        sit_down(http, *log_in(http, name, password))
    desk = seated()
    assert desk is not None
    getattr(import_module(f"ui.console.views.{page}"), f"show_{page}")(desk)


def drawn(live_api: LiveApi, who: str, page: str, **query: str) -> AppTest:
    """Return a page as somebody sees it; no page may end in an exception."""
    test = AppTest.from_function(_draw, args=(live_api.http, who, PASSWORD, page), default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, [one.value for one in test.exception]
    return test


def popovers(test: AppTest) -> set[str]:
    """Return the labels of questions that open on a click."""
    return {str(getattr(one, "proto").popover.label) for one in test.get("popover")}  # noqa: B009 (no type says it)


def labels(test: AppTest) -> set[str]:
    return {one.label for one in test.button}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_draws_and_stop_for_all_is_there_for_who_may(live_api: LiveApi, page: str) -> None:
    test = drawn(live_api, "ada", page)
    assert "Stop for all" in labels(test)
    assert not test.error


def test_the_login_stands_before_everything(live_api: LiveApi, shared: None) -> None:
    test = AppTest.from_file(str(APP), default_timeout=30).run()
    assert labels(test) == {"Log in"}
    test.text_input[0].set_value("vic")
    test.text_input[1].set_value("wrong")
    test.button[0].click().run()
    assert "wrong" in test.error[0].value
    test.text_input[1].set_value(PASSWORD)
    test.button[0].click().run()
    assert not test.exception
    assert "Log out" in labels(test)
    assert "Stop for all" not in labels(test)
    assert test.metric[0].value == "2 of 2"


@pytest.fixture
def shared(live_api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(API_URL, live_api.url)
    yield
    shared_http(live_api.url).close()
    shared_http.clear()


def test_the_fleets_figures_by_hand(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "fleet")
    # Two sites: 1029 W each; 6656 Wh above the reserve each (tests.ui.api.test_fleet works it out).
    shown = {one.label: one.value for one in test.metric}
    assert shown["Load"] == "2.1 kW"
    assert shown["Spare energy"] == "13.3 kWh"
    assert shown["Below reserve"] == "0"


def test_a_site_shows_its_voltage_and_that_it_is_simulated(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "site", site="site-2")
    assert test.selectbox[0].value == "site-2"
    shown = {one.label: one.value for one in test.metric}
    assert shown["Backup"] == "9.00 h"
    assert shown["Must keep"] == "4.00 h"


def test_an_unknown_site_says_to_choose_one(live_api: LiveApi) -> None:
    assert "site-99" in drawn(live_api, "vic", "site", site="site-99").warning[0].value


@pytest.mark.parametrize(("who", "may"), [("vic", False), ("olga", False), ("ann", True)])
def test_only_an_approver_sees_approve_and_decline(live_api: LiveApi, who: str, may: bool) -> None:
    found = labels(drawn(live_api, who, "plans", plan=PLAN))
    assert ("Yes, approve" in found) == may
    assert ("Decline this plan" in found) == may


def test_a_conversation_shows_steps_answer_and_the_card_that_waits(live_api: LiveApi) -> None:
    test = drawn(live_api, "ann", "chat", thread=THREAD)
    assert next(one.label for one in test.expander) == "fleet state · 0.25 s"
    assert any("2 of 2 sites are online." in one.value for one in test.markdown)
    assert "Yes, approve" in labels(test)
    assert len(test.chat_input) == 1
    assert not drawn(live_api, "vic", "chat", thread=THREAD).chat_input


def test_a_question_opens_a_thread_that_holds_it(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "chat")
    test.chat_input[0].set_value("Which incidents are open?").run()
    assert not test.exception
    thread_id = test.query_params["thread"]
    found = live_api.client("vic").get(f"/v1/threads/{thread_id}")
    assert found["commands"][0]["body"]["text"] == "Which incidents are open?"
    assert found["commands"][0]["who"] == "olga"


def test_an_incident_is_taken_by_who_presses(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "incidents", incident=INCIDENT)
    assert any("measured w: **1800**" in one.value for one in test.markdown)
    next(one for one in test.button if one.label == "Assign to me").click().run()
    assert live_api.client("vic").get(f"/v1/incidents/{INCIDENT}")["assignee"] == "olga"
    assert "Assign to me" not in labels(drawn(live_api, "vic", "incidents", incident=INCIDENT))


def test_an_incident_is_given_to_anybody_whom_the_api_knows(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "incidents", incident=INCIDENT)
    next(one for one in test.text_input if one.label.startswith("To whom")).set_value("nobody-here")
    next(one for one in test.button if one.label == "Assign it").click().run()
    assert "there is no active user nobody-here" in test.error[0].value
    next(one for one in test.text_input if one.label.startswith("To whom")).set_value("bo")
    next(one for one in test.button if one.label == "Assign it").click().run()
    assert test.success[0].value == "It is bo's now."
    assert live_api.client("vic").get(f"/v1/incidents/{INCIDENT}")["assignee"] == "bo"


def test_forty_automated_cycles_hide_nobodys_conversation(live_api: LiveApi) -> None:
    later = NOW + timedelta(hours=1)
    with psycopg.connect(live_api.database.dsn(DatabaseRole.LOOP), autocommit=True) as loop:
        loop.execute(
            "INSERT INTO thread SELECT 'cycle-many-' || k, 'loop', 'Automated cycle', 'loop', %s + k * interval '1 second'"
            " FROM generate_series(1, 41) AS k",
            [later],
        )
    test = drawn(live_api, "vic", "chat")
    assert any("chat, " in one for one in test.selectbox[0].options)
    assert not any("automated, " in one for one in test.selectbox[0].options)
    test.toggle[0].set_value(True).run()
    assert sum("automated, " in one for one in test.selectbox[0].options) == 40


def test_an_admin_makes_a_token_that_is_shown_once_and_works(live_api: LiveApi) -> None:
    test = drawn(live_api, "ada", "settings")
    next(one for one in test.text_input if one.label.startswith("What it is for")).set_value(
        "intranet-reader"
    )
    next(one for one in test.selectbox if one.label == "What it may").set_value("viewer")
    next(one for one in test.button if one.label == "Make it").click().run()
    assert not test.exception
    secret = test.code[0].value
    assert ApiClient(http=live_api.http, token=secret).get("/v1/me")["role"] == "viewer"
    assert not test.run().code


def test_the_record_is_checked_for_who_asks(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "audit")
    next(one for one in test.button if one.label == "Check the hash chain").click().run()
    assert test.success[0].value.startswith("Sound: all ")
    assert "takes the role operator" in drawn(live_api, "vic", "audit").info[0].value


def test_an_admin_adds_a_user_and_others_see_no_such_tab(live_api: LiveApi) -> None:
    others = ["Messages", "Approval policy", "Model"]
    assert [one.label for one in drawn(live_api, "vic", "settings").tabs] == ["My account"]
    assert [one.label for one in drawn(live_api, "olga", "settings").tabs] == ["My account", *others]
    assert [one.label for one in drawn(live_api, "ann", "settings").tabs] == ["My account", "Modes", *others]
    test = drawn(live_api, "ada", "settings")
    form = {one.label: one for one in test.text_input}
    form["First password (at least 10 characters)"].set_value("a long first password")
    next(one for one in test.text_input if one.label == "Name").set_value("newcomer")
    next(one for one in test.button if one.label == "Add").click().run()
    users = {one["name"]: one["role"] for one in live_api.client("ada").items("/v1/users")}
    assert users["newcomer"] == "viewer"


def test_stop_for_all_is_explained_before_it_is_confirmed(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "quality")
    assert "Stop every site now" not in labels(test)
    next(one for one in test.button if one.label == "Stop for all").click().run()
    assert "Stop every site now" in labels(test)
    assert any("returns to float" in one.value for one in test.markdown)


def test_what_an_operator_takes_in_is_found_read_and_removed_by_an_admin(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "library")
    test.file_uploader[0].set_value(
        [
            (
                "mast-lights.md",
                b"# Mast lights\n\nThe obstruction light of mast 7 blinks amber.",
                "text/markdown",
            )
        ]
    ).run()
    next(one for one in test.button if one.label == "Take into the library").click().run()
    assert not test.exception
    assert list(test.dataframe[0].value["What became of it"]) == ["added"]
    test = drawn(live_api, "vic", "library")
    assert not test.get("file_uploader")
    test.text_input[0].set_value("which light of mast 7 blinks amber")
    next(one for one in test.button if one.label == "Search").click().run()
    assert any("obstruction light of mast 7" in one.value for one in test.markdown)
    reading = drawn(live_api, "vic", "library", document="mast-lights.md")
    assert any("blinks amber" in one.value for one in reading.markdown)
    assert "Remove it now" not in labels(reading)
    test = drawn(live_api, "ada", "library", document="mast-lights.md")
    next(one for one in test.button if one.label == "Remove it now").click().run()
    assert test.success[0].value == "Removed from the library."
    assert "mast-lights.md" not in {
        one["document_id"] for one in live_api.client("vic").items("/v1/knowledge/documents")
    }


def test_batteries_are_told_with_what_the_figures_are_worth(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "health")
    assert "nothing is claimed" in test.info[0].value
    listed = test.dataframe[-1].value
    assert list(listed["site_id"]) == ["site-1", "site-2"]
    assert list(listed["simulated"]) == [True, True]
    # Two sites are few: resistance is looked at without being asked for, and no load stepped.
    [ohms] = [one for one in test.toggle if one.label == "With resistance"]
    assert ohms.value
    assert list(listed["resistance_mohm"].isna()) == [True, True]
    site = drawn(live_api, "vic", "site", site="site-2")
    assert any(
        "This battery is simulated." in one.value and "nothing is claimed" in one.value
        for one in site.caption
    )
    shown = {one.label: one.value for one in site.metric}
    assert shown["Resistance"] == "–"
    assert shown["State of health"].startswith("100 % (")


def test_an_operator_reads_the_policy_in_force_and_which_planner_answers(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "settings")
    tiers = test.dataframe[-1].value
    assert list(tiers["tier"]) == ["by policy", "1 person", "2 persons"]
    assert list(tiers["most_kw"]) == [1.024, 8.192, 1000.0]
    assert list(tiers["which"]) == ["simulated sites only", "all sites", "all sites"]
    assert any("The policy planner answers alone" in one.value for one in test.markdown)
    assert {one.label: one.value for one in test.metric}["Tokens in 24 h"] == "0 of no limit"


def test_the_fleet_shows_what_is_expected_beside_what_is_wrong(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "fleet")
    found = [one.value for one in test.markdown]
    assert found.index("**Expected, if nobody acts**") < found.index("**Open incidents**")
    assert any(one.value == "Nothing is expected to go wrong." for one in test.success)


def test_what_a_tool_found_over_time_is_drawn_beside_the_answer(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "chat", thread=CURVE_THREAD)
    assert len(test.get("plotly_chart")) == 1
    assert any("A newer forecast has taken the place" in one.value for one in test.caption)


@pytest.mark.parametrize(("who", "may"), [("vic", False), ("olga", True), ("ann", True)])
def test_who_may_ask_may_ask_for_a_changed_plan(live_api: LiveApi, who: str, may: bool) -> None:
    assert ("Change" in labels(drawn(live_api, who, "plans", plan=PLAN))) == may
    assert bool(drawn(live_api, who, "chat", change=PLAN).text_area) == may


def test_a_changed_plan_is_asked_for_in_a_conversation_of_its_own(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "chat", change=PLAN)
    assert any(PLAN in one.value and "is now" in one.value for one in test.markdown)
    assert "for feeder-1 on " in str(test.text_area[0].value)
    test.text_area[0].set_value("Make a plan for feeder-1 this evening")
    next(one for one in test.button if one.label == "Send").click().run()
    assert not test.exception
    found = live_api.client("vic").get(f"/v1/threads/{test.query_params['thread']}")
    assert found["commands"][0]["body"]["text"] == "Make a plan for feeder-1 this evening"
    assert live_api.client("vic").get(f"/v1/plans/{PLAN}")["status"] == "validated"


def test_what_ingest_told_of_stands_on_the_page_of_data_quality(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "quality")
    assert any(one.value == "**What sites and ingest told of**" for one in test.markdown)
    assert any("no message that had to wait" in one.value for one in test.caption)


# All that a viewer may press or fill in; {} stands for what the data names.
VIEWER_MAY = (
    "Back to the list|Search|Read it whole|Change my password|Conversation|Audit trail|Open the chosen plan|New conversation",
    r"(?:critical|warning|info): .*",  # opens an incident
    r".*: .* at .* \((?:critical|warning|info)\)",  # opens what is expected
    r"[A-Z][a-z ]+, .*, sites: \d+",  # opens a plan
    r"Open site-\d+|Go to one of them|group .*",
)
VIEWER_FILLS_IN = {
    "Ask in your own words", "Old password", "New password (at least 10 characters)", "Site", "State", "Status", "Show", "Last",
    "Of", "Kind", "Conversation", "Site or feeder", "Within", "With resistance", "Time zone of all instants shown",
    "Go to one of them", "Show the automated cycles' conversations", "What this forecast is made of",
}  # fmt: skip
FILLED_IN = (
    "text_input",
    "text_area",
    "number_input",
    "selectbox",
    "multiselect",
    "toggle",
    "checkbox",
    "button_group",
)
WHOLE = (
    *((page, {}) for page in PAGES),
    ("plans", {"plan": PLAN}),
    ("incidents", {"incident": INCIDENT}),
    ("chat", {"thread": THREAD}),
)


@pytest.mark.parametrize(("page", "query"), WHOLE)
def test_a_viewer_sees_nothing_to_press_that_they_may_not(
    live_api: LiveApi, page: str, query: dict[str, str]
) -> None:
    test = drawn(live_api, "vic", page, **query)
    assert [one for one in labels(test) if not re.fullmatch("|".join(VIEWER_MAY), one)] == []
    assert popovers(test) == set()
    assert not test.error
    assert not test.chat_input
    assert not test.get("file_uploader")
    shown = {str(getattr(one, "label", "")) for kind in FILLED_IN for one in test.get(kind)}
    assert shown - VIEWER_FILLS_IN == set()


def test_the_list_of_what_a_viewer_may_press_leaves_out_what_others_may(live_api: LiveApi) -> None:
    plan = drawn(live_api, "ada", "plans", plan=PLAN)
    incident = drawn(live_api, "ada", "incidents", incident=INCIDENT)
    assert popovers(plan) >= {"Approve", "Decline"}
    assert popovers(incident) >= {"Assign", "Close"}
    seen = labels(plan) | labels(incident)
    others = {one for one in seen if not re.fullmatch("|".join(VIEWER_MAY), one)}
    assert {"Stop for all", "Yes, approve", "Decline this plan", "Change", "Close", "Assign it"} <= others


@pytest.mark.parametrize("page", PAGES)
def test_a_page_whose_api_is_away_says_what_to_do(page: str, nobody: httpx.Client) -> None:
    test = AppTest.from_function(_draw_without_api, args=(nobody, page), default_timeout=30).run()
    assert not test.exception, [one.value for one in test.exception]
    assert test.error, "nothing says that the API is away"
    assert "The API does not answer" in test.error[0].value
    assert "cellwatt status" in test.error[0].value


def _draw_without_api(http: "httpx.Client", page: str) -> None:
    """Draw one page for an admin whose API went away after the login."""
    from importlib import import_module

    from ui.console.desk import seated, sit_down

    sit_down(http, "gone", {"name": "ada", "role": "admin"})
    desk = seated()
    assert desk is not None
    getattr(import_module(f"ui.console.views.{page}"), f"show_{page}")(desk)


@pytest.fixture(scope="module")
def nobody() -> Iterator[httpx.Client]:
    with open_http(f"http://127.0.0.1:{free_port()}") as http:
        yield http
