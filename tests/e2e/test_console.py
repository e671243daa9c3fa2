"""An operator's evening at the console: a real browser, the whole installation, a scripted model (simulated sites).

The tests are one story and run in their order. Each step asserts what is on the screen and takes a picture; with
CELLWATT_SCREENSHOTS=DIR the pictures stay there.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from psycopg.types.json import Jsonb

from telemetry.model.clock import change_speed
from tests.e2e.conftest import Scenario
from tests.e2e.running import Operator, Up
from tests.e2e.scripted_model import NAME, scripted_model
from tests.services import service_absent
from tests.ui.console.examples import PAGES
from tests.ui.console.test_browser import CHROMIUM, FLAGS, PHONE
from ui.ops.runtime import Installation, Runtime
from ui.ops.secrets import StateDirectory

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
PATIENCE_MS = 60_000
PASSWORD = "a long enough password"
DESK, HAND = ViewportSize(width=1360, height=900), ViewportSize(width=390, height=844)
INCIDENT = "incident-e2e"
# What axe finds in elements that Streamlit draws itself: rule -> where. Nothing of ours stands there.
FRAMEWORK = {"list": "stSidebarNav", "listitem": "stSidebarNav"}


@dataclass
class Evening:
    """One installation, one browser, and what the steps leave to each other."""

    up: Up
    browser: Browser
    console: str
    shots: Path
    admin: Operator
    pages: dict[str, Page] = field(default_factory=dict)
    plan_id: str = ""

    def page_of(self, name: str, *, phone: bool = False) -> Page:
        """Return somebody's browser tab, logged in."""
        key = f"{name} {phone}"
        if key not in self.pages:
            context = self.browser.new_context(
                viewport=HAND if phone else DESK, user_agent=PHONE if phone else None
            )
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(self.console)
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            # The login outlives a link only once the browser has been given it to keep.
            with page.expect_response(lambda one: one.url.endswith("/keep-login"), timeout=PATIENCE_MS):
                page.get_by_role("button", name="Log in").click()
            expect(page.get_by_test_id("stSidebarNav")).to_be_attached(timeout=PATIENCE_MS)
            self.pages[key] = page
        return self.pages[key]

    @contextmanager
    def faster(self) -> Iterator[None]:
        """Let the installation's clock run at thirty times its pace for a while."""
        state = StateDirectory(self.up.state_dir)
        clock_file = Installation(state=state, runtime=Runtime.load(state)).clock_file
        change_speed(clock_file, 30.0)
        try:
            yield
        finally:
            change_speed(clock_file, 1.0)

    def shot(self, page: Page, name: str) -> None:
        """Take a picture of what is on the screen."""
        page.screenshot(path=self.shots / f"{name}.png")

    def until_said(self, thread_id: str, kind: str) -> dict[str, object]:
        """Wait until a thread tells an event of a kind; return its body."""
        found = self.admin.until(
            f"/v1/threads/{thread_id}/events",
            lambda answer: any(one["kind"] in {kind, "error"} for one in answer["events"]),
        )
        body: dict[str, object] = next(one["body"] for one in found["events"] if one["kind"] == kind)
        return body


@pytest.fixture(scope="module")
def evening(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    if not CHROMIUM.exists():
        service_absent("there is no chromium; apt-get install chromium")
    with ExitStack() as stack:
        model = stack.enter_context(scripted_model())
        up = Up(scenario.state_dir, OPENAI_BASE_URL=model.base_url, OPENAI_MODEL=NAME)
        stack.callback(up.wait_gone)
        stack.callback(up.process.wait)
        stack.callback(up.process.terminate)
        up.wait_ready()
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        stack.callback(browser.close)
        admin = Operator(scenario.state_dir)
        stack.callback(admin.http.close)
        for name, role in (("vera", "viewer"), ("ann", "approver")):
            admin.post("/v1/users", {"name": name, "password": PASSWORD, "role": role})
        shots = Path(os.environ.get("CELLWATT_SCREENSHOTS", "") or tmp_path_factory.mktemp("shots"))
        shots.mkdir(parents=True, exist_ok=True)
        runtime = Runtime.load(StateDirectory(scenario.state_dir))
        with psycopg.connect(runtime.owner_dsn, autocommit=True) as owner:
            owner.execute(
                "INSERT INTO incident VALUES (%s, 'cbs-0003', 'load', %s, NULL, 4.5, 'warning', 'open', %s, '[]')",
                [
                    INCIDENT,
                    _now(admin) - timedelta(hours=1),
                    Jsonb({"expected_w": 1000.0, "measured_w": 1800.0}),
                ],
            )
        yield Evening(up=up, browser=browser, console=runtime.console_url, shots=shots, admin=admin)


def _now(admin: Operator) -> datetime:
    return datetime.fromisoformat(admin.get("/v1/fleet")["at"])


def test_somebody_logs_in_and_watches_the_fleet_live(evening: Evening) -> None:
    page = evening.page_of("vera")
    expect(page.get_by_text("24 of 24").first).to_be_visible(timeout=PATIENCE_MS)
    age = page.get_by_text(re.compile("^Fleet at "))
    load = page.get_by_test_id("stMetric").filter(has_text="Load").get_by_test_id("stMetricValue")
    before, first = age.inner_text(), load.inner_text()
    # Told to the minute and to a tenth of a kilowatt: at speed 1 either may stay the same for a minute.
    with evening.faster():
        expect(age).not_to_have_text(before, timeout=PATIENCE_MS)
        expect(load).not_to_have_text(first, timeout=PATIENCE_MS)
    assert page.get_by_text("Stop for all").count() == 0
    evening.shot(page, "fleet")


def test_the_chat_answers_with_what_the_tools_found(evening: Evening) -> None:
    page = evening.page_of("ann")
    _say(page, evening.console, "How many sites are online?")
    expect(page.get_by_text("24 sites are online.").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text(f"language model {NAME}").first).to_be_visible(timeout=PATIENCE_MS)
    evening.shot(page, "chat-answer")


def test_a_request_becomes_a_card_that_an_approver_says_yes_to(evening: Evening) -> None:
    page = evening.page_of("ann")
    start = _quarter(_now(evening.admin) + timedelta(minutes=15))
    _say(page, evening.console, f"Please relieve feeder-4 by 4 kW from {start.isoformat()} for 60 min")
    card = page.get_by_test_id("stVerticalBlock").filter(has_text="Discharges up to").last
    expect(card.get_by_text("validated", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    plan_id = card.get_by_text(re.compile("^plan-chat-")).inner_text()
    evening.shot(page, "chat-plan-card")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("button", name="Yes, approve").click()
    expect(page.get_by_text("Approved. The agent goes on")).to_be_visible(timeout=PATIENCE_MS)
    evening.plan_id = plan_id
    evening.shot(page, "approved")


def test_acknowledgements_arrive_while_somebody_watches(evening: Evening) -> None:
    page = evening.page_of("vera")
    page.goto(f"{evening.console}/plans?plan={evening.plan_id}")
    expect(page.get_by_text("dispatched", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    sites = evening.admin.get(f"/v1/plans/{evening.plan_id}")["sites"]
    expect(page.get_by_text(f"{sites} accepted", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    assert (
        page.get_by_role("button", name="Abort").count() == 0
    )  # a viewer sees no button that they may not press
    evening.shot(page, "acknowledged")


def test_an_incident_is_acknowledged(evening: Evening) -> None:
    page = evening.page_of("ann")
    page.goto(f"{evening.console}/incidents?incident={INCIDENT}")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    page.get_by_label("Reason (kept in the audit trail)").fill("crew informed")
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("acknowledged", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    assert evening.admin.get(f"/v1/incidents/{INCIDENT}")["history"][-1]["who"] == "ann"
    evening.shot(page, "incident")


def test_a_running_plan_is_aborted_with_a_reason(evening: Evening) -> None:
    page = evening.page_of("ann")
    page.goto(f"{evening.console}/plans?plan={evening.plan_id}")
    page.get_by_role("button", name="Abort this plan").click()
    page.get_by_label("Reason (kept in the audit trail)").fill("works on the feeder")
    page.get_by_role("button", name="Abort now").click()
    expect(page.get_by_text("aborted", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    evening.shot(page, "aborted")


def test_a_document_is_uploaded_and_found(evening: Evening) -> None:
    page = evening.page_of("ann")
    page.goto(f"{evening.console}/library")
    page.get_by_text("Add documents").click()
    text = b"# Mast lights\n\nThe obstruction light of mast 7 blinks amber when its battery is low."
    page.get_by_test_id("stFileUploader").locator("input[type=file]").set_input_files(
        {"name": "mast-lights.md", "mimeType": "text/markdown", "buffer": text}
    )
    page.get_by_role("button", name="Take into the library").click()
    finder = evening.page_of("vera")
    finder.goto(f"{evening.console}/library")
    evening.admin.until(
        "/v1/knowledge/search?q=amber%20obstruction%20light",
        lambda answer: any(one["document_id"] == "mast-lights.md" for one in answer["found"]),
    )
    finder.get_by_label("Ask in your own words").fill("Which light of mast 7 blinks amber?")
    finder.get_by_test_id("stForm").get_by_role("button", name="Search").click()
    expect(finder.get_by_text("The obstruction light of mast 7 blinks amber").first).to_be_visible(
        timeout=PATIENCE_MS
    )
    evening.shot(finder, "knowledge")


def test_a_thumb_approves_at_390_pixels(evening: Evening) -> None:
    thread = evening.admin.post("/v1/threads", {"title": "late relief"})["thread_id"]
    start = _quarter(_now(evening.admin) + timedelta(minutes=15))
    text = f"Please relieve feeder-3 by 3 kW from {start.isoformat()} for 45 min"
    evening.admin.post(f"/v1/threads/{thread}/messages", {"text": text})
    asked = evening.until_said(thread, "interrupt")
    page = evening.page_of("ann", phone=True)
    page.goto(f"{evening.console}/plans?plan={asked['plan_id']}")
    expect(page.get_by_text("Discharges up to").first).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= HAND["width"]
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("button", name="Yes, approve").click()
    evening.admin.until(f"/v1/plans/{asked['plan_id']}", lambda plan: plan["status"] == "dispatched")
    # Twice for a moment, while the old drawing gives way to the new one.
    expect(page.get_by_text("dispatched", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    evening.shot(page, "phone-approved")


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_accessibility_fault_of_ours(evening: Evening, name: str) -> None:
    page = evening.page_of("ann")
    page.goto(f"{evening.console}/{name}")
    expect(page.get_by_role("button", name="Stop for all")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("[data-test-script-state=notRunning]").wait_for()
    found = Axe().run(page).response["violations"]
    serious = [
        f"{one['id']}: {node['target'][0]} {node['html'][:160]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
        if not _lies_in(page, node["target"][0], FRAMEWORK.get(one["id"], ""))
    ]
    assert serious == [], "\n".join(serious)


def test_everybody_sees_a_stop_and_an_approver_clears_it(evening: Evening) -> None:
    page, other = evening.page_of("ann"), evening.page_of("vera")
    other.goto(f"{evening.console}/fleet")
    page.goto(f"{evening.console}/fleet")
    page.get_by_role("button", name="Stop for all").click()
    page.get_by_label("Reason (kept in the audit trail)").fill("smoke at site 1")
    page.get_by_role("button", name="Stop every site now").click()
    for screen in (page, other):
        expect(screen.get_by_text("A stop for all is in force.")).to_be_visible(timeout=PATIENCE_MS)
    evening.shot(other, "stopped")
    page.get_by_role("button", name="Clear the stop").click()
    page.get_by_label("Reason (kept in the audit trail)").fill("false alarm")
    page.get_by_role("button", name="Clear the stop now").click()
    expect(other.get_by_text("A stop for all is in force.")).to_have_count(0, timeout=PATIENCE_MS)


def _lies_in(page: Page, target: str, test_id: str) -> bool:
    """Return whether what axe names is, or lies in, an element of Streamlit's."""
    if not test_id:
        return False
    place = "([target, id]) => document.querySelector(target)?.closest(`[data-testid=${id}]`) !== null"
    return bool(page.evaluate(place, [target, test_id]))


def _say(page: Page, console: str, text: str) -> None:
    page.goto(f"{console}/chat")
    page.get_by_placeholder("Ask about sites").fill(text)
    page.keyboard.press("Enter")


def _quarter(at: datetime) -> datetime:
    """Return the next full quarter of an hour."""
    start = at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
    return start + timedelta(minutes=15)
