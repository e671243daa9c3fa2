"""People at the console, in a real browser, against the real API: a viewer, an admin, an approver on a phone, by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.services import service_absent
from tests.ui.api.world import PASSWORD
from tests.ui.console.conftest import (
    INCIDENT,
    KEYS_PLAN,
    PHONE_PLAN,
    PHONE_THREAD,
    PLAN,
    THREAD,
    LiveApi,
)
from tests.ui.console.examples import PAGES
from tests.ui.console.running import start
from tests.ui.ops.waiting import wait_for
from ui.console.kept_login import COOKIE
from ui.ops.ports import free_port
from ui.settings import API_URL

pytestmark = [pytest.mark.database, pytest.mark.browser]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
PATIENCE_MS = 60_000
HAND_PX, THUMB_PX = 390, 44
ADDRESSES = (*PAGES, f"plans?plan={PLAN}", f"incidents?incident={INCIDENT}", f"chat?thread={THREAD}")
# What is pressed and drawn by Streamlit alone, without a setting of ours: toolbars of tables, the small "?", a list's arrow.
FRAMEWORK = (
    "[data-testid=stElementToolbar]",
    "[data-testid=stTooltipHoverTarget]",
    "[data-testid=stMainMenuButton]",
    "[data-testid=stSelectbox]",
    "[data-testid=stMultiSelect]",
    "[data-testid=stTextInputRootElement]",
    "[data-testid=stTabsScrollRight]",
    "[data-testid=stTabsScrollLeft]",
    "[data-testid=stNumberInput]",
    "[data-testid=stChatInputSubmitButton]",
    ".modebar-container",  # of Plotly
    "[data-testid=stToolbar]",
    "[aria-label=Dismiss]",  # for screen readers only
    "[role=dialog] > button",  # closes a dialog; Escape and its backdrop do so as well
)
# Label and height of what a person presses and sees, px; the sidebar lies closed at the left until its button is pressed.
_PRESSED = """framework => [...document.querySelectorAll('button, summary, [role=tab], a.sign-in')]
    .filter(one => !one.closest(framework) && one.checkVisibility({visibilityProperty: true}))
    .filter(one => one.getBoundingClientRect().right > 0 && one.getBoundingClientRect().height > 0)
    .map(one => [one.innerText || one.ariaLabel || one.outerHTML, one.parentElement.closest("[data-testid]").dataset.testid, one.getBoundingClientRect().height])"""


@pytest.fixture(scope="module")
def console(live_api: LiveApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("console"), free_port()
    process = start(folder, port, **{API_URL: live_api.url})
    try:
        assert wait_for((folder / "ready").exists, within_s=40.0), "the console did not come up"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=15)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        service_absent("there is no chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def visits() -> list[str]:
    """Every address that a page has asked for."""
    return []


def logged_in(context: BrowserContext, address: str, name: str, visits: list[str]) -> Page:
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("request", lambda request: visits.append(request.url))
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_test_id("stSidebarNav")).to_be_attached(timeout=PATIENCE_MS)
    return page


# What has the focus, where it is something to press or to write into, by its label.
_FOCUSED = """(() => { const one = document.activeElement;
    return !one.matches('button, input') ? '' :
        [one.innerText, one.ariaLabel, ...[...(one.labels || [])].map(each => each.innerText)].join(' ') })()"""


def unfit_for_a_thumb(page: Page) -> list[object]:
    """Return what is too wide for the hand or too low for the thumb."""
    width = page.evaluate("document.documentElement.scrollWidth")
    pressed = page.evaluate(_PRESSED, ", ".join(FRAMEWORK))
    assert pressed, "nothing to press: the page is not there"
    return [one for one in pressed if one[2] < THUMB_PX] + ([width] if width > HAND_PX else [])


def drawn(page: Page) -> None:
    """Wait until Streamlit has drawn the page."""
    page.locator("[data-test-script-state=notRunning]").wait_for()


@pytest.fixture(scope="module")
def hand(console: str, browser: Browser) -> Iterator[Page]:
    """An admin's phone that likes the dark, one session for all pages."""
    with browser.new_context(
        viewport={"width": HAND_PX, "height": 844}, user_agent=PHONE, color_scheme="dark"
    ) as context:
        page = context.new_page()
        page.goto(console)
        expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=PATIENCE_MS)
        assert unfit_for_a_thumb(page) == []
        page.close()
        yield logged_in(context, console, "ada", [])


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_fits_hand_and_thumb_and_is_legible_in_the_dark(
    console: str, hand: Page, address: str
) -> None:
    hand.goto(f"{console}/{address}")
    expect(hand.get_by_role("button", name="Stop for all")).to_be_visible(timeout=PATIENCE_MS)
    drawn(hand)
    expect(hand.get_by_test_id("stException")).to_have_count(0)
    assert unfit_for_a_thumb(hand) == []
    assert hand.evaluate("getComputedStyle(document.querySelector('.stApp')).colorScheme") == "dark"
    found = Axe().run(hand, options={"runOnly": ["color-contrast"]}).response["violations"]
    faint = [f"{node['html'][:160]}: {node['any'][0]['message']}" for one in found for node in one["nodes"]]
    assert faint == []


def test_questions_that_open_fit_the_thumb_too(console: str, hand: Page) -> None:
    hand.goto(f"{console}/plans?plan={PLAN}")
    hand.get_by_role("button", name="Approve", exact=True).click()
    expect(hand.get_by_role("button", name="Yes, approve")).to_be_visible(timeout=PATIENCE_MS)
    assert unfit_for_a_thumb(hand) == []
    hand.goto(f"{console}/audit")
    hand.get_by_role("button", name="Stop for all").click()
    expect(hand.get_by_role("button", name="Stop every site now")).to_be_visible(timeout=PATIENCE_MS)
    assert unfit_for_a_thumb(hand) == []


def tab_to(page: Page, label: str, most: int = 120) -> None:
    """Press Tab until something with this label has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if label in page.evaluate(_FOCUSED):
            return
    raise AssertionError(f"no Tab reaches {label!r}")


def test_the_keyboard_alone_logs_in_reaches_the_stop_and_approves(
    console: str, browser: Browser, live_api: LiveApi
) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{console}/plans?plan={KEYS_PLAN}")
        expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=PATIENCE_MS)
        tab_to(page, "Name")
        page.keyboard.type("ann")
        tab_to(page, "Password")
        page.keyboard.type(PASSWORD)
        tab_to(page, "Log in")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Discharges up to").first).to_be_visible(timeout=PATIENCE_MS)
        tab_to(page, "Stop for all")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Stop every site now")).to_be_visible(timeout=PATIENCE_MS)
        tab_to(page, "Reason (kept in the audit trail)", most=5)
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Stop every site now")).to_have_count(0, timeout=PATIENCE_MS)
        tab_to(page, "Approve")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Yes, approve")).to_be_visible(timeout=PATIENCE_MS)
        tab_to(page, "Yes, approve")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Approved. The agent goes on")).to_be_visible(timeout=PATIENCE_MS)
    plan = live_api.client("vic").get(f"/v1/plans/{KEYS_PLAN}")
    assert [(one["approver"], one["counts"]) for one in plan["approvals"]] == [("ann", True)]


def test_a_viewer_sees_the_fleet_and_no_stop_an_admin_stops_only_with_a_reason(
    console: str, browser: Browser, visits: list[str]
) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = logged_in(context, console, "vic", visits)
        expect(page.get_by_text("2 of 2").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Feeders: import against limit")).to_be_visible(timeout=PATIENCE_MS)
        assert page.get_by_text("Stop for all").count() == 0
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = logged_in(context, f"{console}/quality", "ada", visits)
        page.get_by_role("button", name="Stop for all").click()
        page.get_by_role("button", name="Stop every site now").click()
        expect(page.get_by_text("Give a reason of at least three letters.")).to_be_visible(
            timeout=PATIENCE_MS
        )
        page.get_by_label("Reason (kept in the audit trail)").fill("smoke at site 1")
        page.get_by_role("button", name="Stop every site now").click()
        # No control process runs here: the console must say so, and not that the fleet is stopped.
        expect(page.get_by_text("the control process has not answered yet")).to_be_visible(
            timeout=PATIENCE_MS
        )
    assert {one.split("/")[2] for one in visits if one.startswith("http")} == {console.split("/")[2]}


def test_a_reload_and_a_link_keep_the_login_and_a_log_out_ends_it(
    console: str, browser: Browser, visits: list[str]
) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        with context.expect_event(
            "response", lambda one: one.url.endswith("/keep-login"), timeout=PATIENCE_MS
        ):
            page = logged_in(context, console, "vic", visits)
        [kept] = [one for one in context.cookies() if one["name"] == COOKIE]
        assert (kept["httpOnly"], kept["sameSite"]) == (True, "Strict")
        page.reload()
        expect(page.get_by_text("2 of 2").first).to_be_visible(timeout=PATIENCE_MS)
        other = context.new_page()
        other.goto(f"{console}/quality")
        expect(other.get_by_text("How far can I believe what I see?")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=PATIENCE_MS)
        page.reload()
        expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=PATIENCE_MS)


def test_an_approver_says_yes_on_a_phone(
    console: str, browser: Browser, live_api: LiveApi, visits: list[str]
) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, user_agent=PHONE) as context:
        page = logged_in(context, f"{console}/chat?thread={PHONE_THREAD}", "ann", visits)
        expect(page.get_by_text("2 of 2 sites are online.")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Discharges up to 1.5 kW (negative setpoints)").first).to_be_visible(
            timeout=PATIENCE_MS
        )
        page.get_by_role("button", name="Approve", exact=True).click()
        page.wait_for_timeout(6_000)  # longer than the page's own pace: the question stays open, of this plan
        page.get_by_role("button", name="Yes, approve").click()
        done = page.get_by_text("Approved. The agent goes on")
        expect(done).to_be_visible(timeout=PATIENCE_MS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    plan = live_api.client("vic").get(f"/v1/plans/{PHONE_PLAN}")
    assert [(one["approver"], one["counts"]) for one in plan["approvals"]] == [("ann", True)]
