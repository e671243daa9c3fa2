"""The group of sites like one: which it is, and its typical day."""

from typing import Any

from ui.console.profile_view import group_of, profile_figure

GROUP: dict[str, Any] = {
    "label": 1, "medoid_site_id": "s-2", "profile": [0.5] * 24 + [1.5] * 24, "site_ids": ["s-1", "s-2"],
}  # fmt: skip
CLUSTERS = {"clusters": [{**GROUP, "label": 0, "site_ids": ["s-9"]}, GROUP]}


def test_a_site_is_found_in_its_group_alone() -> None:
    assert group_of(CLUSTERS, "s-2") is GROUP
    assert group_of(CLUSTERS, "s-3") is None


def test_the_typical_day_has_24_hours_of_each_kind() -> None:
    working, weekend = profile_figure(GROUP).data
    assert (working.name, list(working.y)) == ("working day", [0.5] * 24)
    assert (weekend.name, list(weekend.y), list(weekend.x)) == ("weekend", [1.5] * 24, list(range(24)))
