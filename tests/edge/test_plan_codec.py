"""A plan's document: exact both ways through PostgreSQL's JSON spelling, and strict."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.plan import GridReserve, PlanId, PlanStatus, SitePlan
from edge.plan_codec import PlanDocError, plan_from_doc, plan_to_doc, record_of
from telemetry.model.site import SiteId
from tests.edge.safety.examples import a_plan, schedule_of

RESERVE = GridReserve(
    product="FCR-D up",
    up_w=1.0,
    down_w=0.0,
    droop_hz=0.1,
    dead_band_hz=0.01,
    activation_s=30.0,
    energy_wh=500.0,
)
PLAN = replace(
    a_plan(schedule_of("site-1", (2, -512.0), (2, 0.1 + 0.2))),
    supersedes=PlanId("plan-0"),
    provenance={"solver": "highs", "note": "Größe ✓"},
)


def through_json(doc: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(doc))
    return read


def test_a_plan_comes_back_as_it_was() -> None:
    plan = replace(PLAN, sites=(*PLAN.sites, SitePlan(site_id=SiteId("site-2"), grid_reserve=RESERVE)))
    assert plan_from_doc(through_json(plan_to_doc(plan))) == plan
    assert plan_from_doc(plan_to_doc(plan), PlanStatus.DISPATCHED).status is PlanStatus.DISPATCHED


@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
        min_size=1,
        max_size=8,
    )
)
def test_every_double_survives(row: list[float]) -> None:
    plan = replace(PLAN, sites=(SitePlan(site_id=SiteId("site-1"), schedule_w=tuple(row)),))
    again = plan_from_doc(through_json(plan_to_doc(plan)))
    assert again.sites[0].schedule_w == tuple(row)


def test_the_digest_survives_what_jsonb_does_to_numbers() -> None:
    """jsonb drops the sign of zero and writes 1e22 with all its digits; whole numbers come back as integers."""
    odd = replace(PLAN.envelope, total_max_w=-0.0, total_min_w=-1e22, reserve_h=4)
    plan = replace(PLAN, envelope=odd)
    doc = plan_to_doc(plan)
    assert '"total_max_w": 0.0' in json.dumps(doc)
    doc["envelope"]["total_min_w"] = -10000000000000000000000
    doc["envelope"]["reserve_h"] = 4
    assert plan_from_doc(doc).envelope.digest() == odd.digest()
    assert odd.digest() == replace(odd, total_max_w=0.0, reserve_h=4.0).digest()


def test_instants_are_written_in_utc() -> None:
    oslo = timezone(timedelta(hours=1))
    plan = replace(PLAN, created_at=datetime(2026, 3, 10, 12, 49, tzinfo=oslo))
    assert plan_to_doc(plan)["created_at"] == "2026-03-10T11:49:00+00:00"
    assert plan_from_doc(plan_to_doc(plan)).created_at == datetime(2026, 3, 10, 11, 49, tzinfo=UTC)


def changed(path: list[str | int], value: object) -> dict[str, Any]:
    doc = through_json(plan_to_doc(PLAN))
    place: Any = doc
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return doc


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["surprise"], 1, "unknown key $.surprise"),
        (["envelope", "objective", "texts"], "", "unknown key $.envelope.objective.texts"),
        (["provenance"], ..., "missing key $.provenance"),
        (["plan_id"], ..., "plan_id"),
        (["bound"], "1.0", "bound"),
        (["bound"], True, "bound"),
        (["sites", 0, "schedule_w", 1], None, "schedule_w"),
        (["sites", 0, "schedule_w", 1], "NaN", "schedule_w"),
        (["objective", "kind"], "world_peace", "kind"),
        (["window_start"], "2026-03-10T12:00:00", "not aware"),
        (["window_start"], "2026-03-10T13:00:00+01:00", "$.window_start"),
        (["window_start"], 1773144000, "window_start"),
        (["status"], "sent", "status"),
    ],
)
def test_anything_else_is_refused(path: list[str | int], value: object, message: str) -> None:
    with pytest.raises(PlanDocError) as caught:
        plan_from_doc(changed(path, value))
    assert message in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_plan_with_a_number_that_is_none_has_no_document(number: float) -> None:
    with pytest.raises(PlanDocError):
        plan_to_doc(replace(PLAN, bound=number))


@pytest.mark.parametrize("text", ["nul \0 byte", "half \ud800 a letter"])
def test_a_text_that_no_database_can_store_has_no_document(text: str) -> None:
    with pytest.raises(PlanDocError):
        plan_to_doc(replace(PLAN, objective=replace(PLAN.objective, text=text)))
    assert record_of({"why": text})["why"] in {"nul ? byte", "half ? a letter"}


def test_a_record_names_what_is_not_finite() -> None:
    assert record_of({"by": float("inf"), "gap": timedelta(minutes=1)}) == {"by": "inf", "gap": "PT60S"}
