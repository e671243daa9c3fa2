"""How soon a person sees something at the console: first useful content, and changing pages (simulated data).

A real Chromium against the real console and API over a filled database, all on the same cores as the browser. A page is
there when its own figures or rows are on the screen, not when its frame is. Lists of plans and incidents are long. The
health of a large fleet is looked at once in a quarter of an hour, with a bar that moves meanwhile: that first look is a
figure of its own, and the page counts among the others from then on.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ui.bench.api_world import PASSWORD, USER, api_world
from ui.bench.console_world import fill_lists
from ui.bench.harness import BenchmarkError
from ui.console import texts
from ui.ops.ports import free_port
from ui.settings import API_URL, CONSOLE_PORT, READY_FILE

if TYPE_CHECKING:
    from playwright.sync_api import Page

GOAL_FIRST_S, GOAL_SWITCH_S = 2.5, 1.5
_CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
_PATIENCE_MS = 60_000
_READY_WITHIN_S = 60.0
_PLANS, _INCIDENTS = 200, 300
# Page in the side bar -> what is on the screen once it is useful.
_PAGES = {
    texts.PAGE_PLANS: texts.PLANS_HINT,
    texts.PAGE_INCIDENTS: texts.INCIDENTS_HINT,
    texts.PAGE_QUALITY: texts.QUALITY_SITES,
    texts.PAGE_FORECASTS: texts.FORECASTS_ALL,
    texts.PAGE_HEALTH: texts.HEALTH_DUE,
    texts.PAGE_CHAT: texts.CHAT_SUGGESTIONS[0],
    texts.PAGE_AUDIT: texts.AUDIT_HINT,
    texts.PAGE_KNOWLEDGE: texts.KNOWLEDGE_NONE.split(".")[0],
    texts.PAGE_SETTINGS: texts.SETTINGS_ZONE,
    texts.PAGE_SITE: texts.SITE_BACKUP,
    texts.PAGE_FLEET: texts.FLEET_AVAILABLE,
}


def run(
    seed: int = 7,
    sites: int = 5_000,
    *,
    loads: int = 5,
    rounds: int = 3,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        seed: Of the simulated fleet.
        sites: On the fleet's page.
        loads: How often the first page is loaded anew.
        rounds: How often each page is opened from the side bar.
        progress: Told how far it is, 0..1.

    Raises:
        BenchmarkError: There is no Chromium.
    """
    if not _CHROMIUM.exists():
        raise BenchmarkError(
            "there is no chromium; `apt-get install chromium` (the benchmark opens the console in it)"
        )
    with api_world(seed, sites, readers=1, dense_sites=20) as world:
        fill_lists(world.owner_dsn, plans=_PLANS, incidents=min(_INCIDENTS, sites))
        progress(0.3)
        with _console(f"http://127.0.0.1:{world.port}") as address, _page() as page:
            page.goto(address)
            page.get_by_label("Name").fill(USER)
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            with page.expect_response(lambda one: one.url.endswith("/keep-login")):
                page.get_by_role("button", name="Log in").click()
            page.get_by_text(_PAGES[texts.PAGE_FLEET]).first.wait_for()
            first_s = [_timed(partial(_load, page, address)) for _ in range(loads)]
            progress(0.5)
            health_s = _timed(partial(_open, page, texts.PAGE_HEALTH))
            progress(0.6)
            switch_s = {name: [_timed(partial(_open, page, name)) for _ in range(rounds)] for name in _PAGES}
    worst = max(switch_s, key=lambda name: median(switch_s[name]))
    figures = {
        "console_sites_count": float(sites),
        "console_first_content_median_s": median(first_s),
        "console_first_content_worst_s": max(first_s),
        "console_health_first_look_s": health_s,
        "console_page_switch_median_s": median(one for each in switch_s.values() for one in each),
        "console_slowest_page_median_s": median(switch_s[worst]),
    }
    return {
        "figures": figures,
        "goals": {
            "console_first_content_median_s": {"op": "<", "value": GOAL_FIRST_S, "gating": True},
            "console_slowest_page_median_s": {"op": "<", "value": GOAL_SWITCH_S, "gating": True},
        },
        "used": [
            f"the slowest page: {worst}; pages: {', '.join(_PAGES)}",
            f"plans: {_PLANS}; open incidents: {min(_INCIDENTS, sites)}",
            *(f"{name}: median {median(found):.2f} s" for name, found in switch_s.items()),
        ],
    }


def _load(page: "Page", address: str) -> None:
    page.goto(address)
    page.get_by_test_id("stMetric").filter(has_text=texts.FLEET_AVAILABLE).wait_for()


def _open(page: "Page", name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()
    page.get_by_text(_PAGES[name]).first.wait_for()


def _timed(act: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


@contextmanager
def _console(api_url: str) -> Iterator[str]:
    """Run the console's process until the end of the block, and give its address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        ready = Path(home) / "ready"
        env = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": home,
            API_URL: api_url,
            CONSOLE_PORT: str(port),
            READY_FILE: str(ready),
        }
        with subprocess.Popen([sys.executable, "-m", "ui.cli", "console"], env=env) as process:
            try:
                give_up_s = time.monotonic() + _READY_WITHIN_S
                while not ready.exists():
                    if process.poll() is not None or time.monotonic() > give_up_s:
                        raise BenchmarkError("the console did not start")
                    time.sleep(0.05)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


@contextmanager
def _page() -> Iterator["Page"]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (a development dependency, of this benchmark only)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(_CHROMIUM), args=list(_FLAGS))
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.set_default_timeout(_PATIENCE_MS)
        yield page
        browser.close()
