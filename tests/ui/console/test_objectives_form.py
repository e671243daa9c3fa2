"""Standing objectives on the page of plans: said in words, shown as they were read, ended; a viewer only reads."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.edge.safety.examples import NOW
from tests.ui.console.conftest import LiveApi
from tests.ui.console.test_pages import drawn, labels
from ui.console.views.objectives import in_force

pytestmark = pytest.mark.database


def said(test: Any, words: str) -> None:
    """Type an objective and press the button."""
    next(one for one in test.text_input if one.label.startswith("Say it in words")).set_value(words)
    next(one for one in test.button if one.label == "Keep this").click().run()
    assert not test.exception


def test_an_operator_says_ends_and_mends_an_objective_and_a_viewer_only_reads(live_api: LiveApi) -> None:
    test = drawn(live_api, "olga", "plans")
    assert "End it" not in labels(test)
    said(test, "be nice to the batteries")
    assert "never use site-1" in test.error[0].value  # what would be understood
    [typed] = [one for one in test.text_input if one.label.startswith("Say it in words")]
    assert typed.value == "be nice to the batteries"
    assert live_api.client("vic").items("/v1/objectives") == []
    said(test, "Never use site-1 until 2026-12-24")
    # The sites are in Oslo: their 24th begins at 23:00 UTC of the 23rd; without a browser instants are shown in UTC.
    assert test.success[0].value == "Kept, read as: leaves out site-1, until 23 Dec 23:00 UTC."
    [kept] = live_api.client("vic").items("/v1/objectives")
    assert (kept["who"], kept["exclude_site_ids"]) == ("olga", ["site-1"])
    seen = drawn(live_api, "vic", "plans")
    assert any(one.value == "“Never use site-1 until 2026-12-24”" for one in seen.markdown)
    assert any(
        one.value == "read as: leaves out site-1, until 23 Dec 23:00 UTC (olga, 10 Mar 11:50 UTC)"
        for one in seen.caption
    )
    assert not {"End it", "Keep this"} & labels(seen)
    assert not [one for one in seen.text_input if one.label.startswith("Say it in words")]
    test = drawn(live_api, "ann", "plans")
    next(one for one in test.button if one.label == "End it").click().run()
    assert test.success[0].value == "Ended; the automated loop keeps to it no longer."
    assert live_api.client("vic").items("/v1/objectives") == []
    assert any(one.value == "None is in force." for one in test.caption)


@pytest.mark.parametrize(
    ("until", "holds"),
    [(None, True), ("2026-03-10T11:50:01+00:00", True), ("2026-03-10T11:50:00+00:00", False)],
)
def test_an_objective_is_in_force_until_its_instant(until: str | None, holds: bool) -> None:
    assert datetime(2026, 3, 10, 11, 50, tzinfo=UTC) == NOW
    assert in_force({"until": until}, NOW) == holds
