"""The map of roads and coasts: off unless an installation names it, in a browser only then asking another server."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.ui.console.conftest import LiveApi
from tests.ui.console.running import start
from tests.ui.console.test_browser import PATIENCE_MS, browser, logged_in
from tests.ui.console.test_pages import drawn
from tests.ui.ops.waiting import wait_for
from ui.console.deck_map import STYLE, deck_of, dots, map_style, view_of
from ui.ops.ports import free_port
from ui.settings import API_URL

__all__ = ["browser"]
SITE: dict[str, Any] = {
    "site_id": "a", "name": "A", "longitude": 10.0, "latitude": 60.0, "state": "float", "online": True, "mode": "shadow",
    "soc_frac": 0.5, "autonomy_h": 4.0, "margin_h": 1.0, "simulated": True,
}  # fmt: skip


def test_a_style_is_an_address_and_nothing_else_is_one() -> None:
    assert map_style({STYLE: " https://tiles.example/style.json "}) == "https://tiles.example/style.json"
    assert [map_style(env) for env in ({}, {STYLE: ""}, {STYLE: "javascript:x"}, {STYLE: "light"})] == [
        ""
    ] * 4


def test_who_is_in_trouble_differs_in_colour_and_in_size() -> None:
    well, gone = dots([SITE, {**SITE, "site_id": "b", "online": False}])
    assert (well["radius_px"], gone["radius_px"]) == (7, 11)
    assert well["colour"] != gone["colour"]
    assert all(0 <= part <= 255 for part in well["colour"])
    assert well["hover"].startswith("<b>a</b> A")


def test_a_name_is_text_in_what_a_site_says_when_pointed_at() -> None:
    [named] = dots([{**SITE, "name": "<img src=x onerror=alert(1)>"}])
    assert named["hover"].startswith("<b>a</b> &lt;img src=x onerror=alert(1)&gt;<br>")


def test_a_view_holds_all_sites_and_comes_no_closer_than_a_town() -> None:
    assert view_of([SITE])["zoom"] == 12.0
    # 15 degrees with half as much margin: 22.5, a sixteenth of the whole turn.
    wide = view_of([SITE, {**SITE, "longitude": 25.0, "latitude": 50.0}])
    assert wide == {"longitude": 17.5, "latitude": 55.0, "zoom": 4.0}


def test_the_deck_is_what_it_is_drawn_from() -> None:
    found = json.loads(deck_of([SITE], "https://tiles.example/style.json").to_json())
    assert found["mapStyle"] == "https://tiles.example/style.json"
    [layer] = found["layers"]
    assert [one["site_id"] for one in layer["data"]] == ["a"]
    assert (layer["radiusUnits"], layer["getRadius"]) == ("pixels", "@@=radius_px")


@pytest.mark.database
def test_a_page_without_a_style_has_the_plain_ground(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "fleet")
    assert any("no map tiles are fetched" in one.value for one in test.caption)
    assert not test.get("deck_gl_json_chart")


@pytest.fixture
def no_map() -> Iterator[tuple[str, list[str]]]:
    """Serve a map's address where no map is to be had, and tell what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Stay quiet."""

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/style.json", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.database
@pytest.mark.browser
def test_with_a_style_its_server_is_asked_and_where_no_map_comes_a_site_still_opens_by_its_dot(
    live_api: LiveApi, browser: Browser, no_map: tuple[str, list[str]], tmp_path: Path
) -> None:
    style, asked = no_map
    port = free_port()
    process = start(tmp_path, port, **{API_URL: live_api.url, STYLE: style})
    try:
        assert wait_for((tmp_path / "ready").exists, within_s=40.0), "the console did not come up"
        with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
            page = logged_in(context, f"http://127.0.0.1:{port}", "vic", [])
            chart = page.get_by_test_id("stDeckGlJsonChart")
            expect(chart).to_be_visible(timeout=PATIENCE_MS)
            expect(page.get_by_text("what is in trouble is larger")).to_be_visible(timeout=PATIENCE_MS)
            # Both sites stand at one place, so in the middle of the picture; it takes a moment until dots can be hit.
            for _ in range(6):
                with contextlib.suppress(Error):
                    chart.click(force=True, timeout=2_000)
                    page.wait_for_url("**/site?site=site-*", timeout=10_000)
                    break
            assert "/site?site=site-" in page.url
        assert "/style.json" in asked
    finally:
        process.terminate()
        process.communicate(timeout=15)
