"""The approval page in a real browser at 390 px: what a form handler alone cannot show, such as what a browser sends."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.services import service_absent
from tests.ui.api.world import PASSWORD, World, one_person_plan
from ui.processes.api import listening, serve

pytestmark = [pytest.mark.database, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
SOON = 30.0


async def approve(page: Page, url: str) -> None:
    await page.goto(f"{url}/m")
    await page.fill("#name", "ann")
    await page.fill("#password", PASSWORD)
    await page.click("text=Log in >> nth=-1")
    await page.click("a.card")
    await page.click("text=Approve …")
    await page.click("button:text('Approve')")
    # The box is not ticked: the browser itself keeps the form back.
    assert "recorded" not in await page.content()
    await page.check("input[name=seen]")
    await page.click("button:text('Approve')")
    await page.wait_for_selector("text=Your yes is recorded.")


async def test_a_thumb_approves_at_390_px(own_world: World, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        service_absent("there is no chromium")
    await own_world.plan(one_person_plan("m-browser"))
    ready = asyncio.Event()
    with listening(0) as listener:
        serving = asyncio.create_task(serve(own_world.services, listener, ready.set))
        await asyncio.wait_for(ready.wait(), SOON)
        try:
            async with asyncio.timeout(SOON), async_playwright() as playwright:
                # A profile of its own, since nothing is installed from a private window.
                browser = await playwright.chromium.launch_persistent_context(
                    tmp_path / "profile",
                    executable_path=chromium,
                    args=["--no-sandbox"],
                    viewport={"width": 390, "height": 844},
                )
                page = await browser.new_page()
                told: list[str] = []
                page.on(
                    "console", lambda message: told.append(message.text) if message.type == "error" else None
                )
                await approve(page, f"http://127.0.0.1:{listener.getsockname()[1]}")
                assert await page.evaluate("document.documentElement.scrollWidth") == 390
                small = "[...document.querySelectorAll('button, summary')].filter(e => e.offsetHeight && e.offsetHeight < 44).length"
                assert await page.evaluate(small) == 0
                assert told == []
                devtools = await browser.new_cdp_session(page)
                found = await devtools.send("Page.getAppManifest")
                assert (found["url"].endswith("/m/manifest.webmanifest"), found["errors"]) == (True, [])
                assert (await devtools.send("Page.getInstallabilityErrors"))["installabilityErrors"] == []
                await browser.close()
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
    assert own_world.sql("SELECT approver FROM approval WHERE plan_id = 'm-browser'") == [("ann",)]
