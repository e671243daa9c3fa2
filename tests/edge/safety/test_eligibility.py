"""Each reason that keeps a site out, from both sides of its limit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf, nan, nextafter
from typing import Any

import pytest

from edge.safety.eligibility import (
    PLAUSIBLE,
    forecast_serves,
    ineligible_reasons,
    is_young,
    on_quarter,
    unsound_fields,
)
from edge.safety.limits import FleetState, IslandProof, Limits, OperatingMode, Policy
from telemetry.model.reading import FieldQuality, SiteState, Verdict
from telemetry.model.series import Quantity
from telemetry.model.site import DispatchPath, Inverter, SiteId, SiteMode
from tests.edge.safety.examples import (
    BUS,
    INVERTER,
    NOW,
    SITE,
    START,
    a_forecast,
    a_reading,
    a_site,
    limits_of,
    state_of,
    with_battery,
    with_reading,
    with_site,
    with_status,
)

STATE, LIMITS = state_of(), limits_of()
US = timedelta(microseconds=1)


def reasons(
    state: FleetState = STATE, limits: Limits = LIMITS, now: datetime = NOW, *, charge_only: bool = False
) -> set[str]:
    return {
        f"{one.rule} {one.name}"
        for one in ineligible_reasons(SITE, state, limits, now, charge_only=charge_only)
    }


def test_the_example_may_take_part() -> None:
    assert reasons() == set()


def test_a_reason_names_rule_place_and_words() -> None:
    (reason,) = ineligible_reasons(SITE, with_status(STATE, local_lock=True), LIMITS, NOW)
    assert (reason.rule, reason.scope, reason.where, reason.by, reason.unit) == ("S20", "site", SITE, 1.0, "")
    assert reason.message == "site site-1: is under local control, or nobody knows that it is not"


def test_a_site_that_is_not_in_the_registry_is_unknown() -> None:
    assert reasons(limits=replace(LIMITS, sites={SiteId("other"): a_site("other")})) == {"S16 unknown_site"}
    assert reasons(limits=replace(LIMITS, sites={SITE: a_site("other")})) == {"S16 unknown_site"}


READINGS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("age at limit", {"at": NOW - timedelta(minutes=2)}, set()),
    ("too old", {"at": NOW - timedelta(minutes=2) - US}, {"S7 stale_reading"}),
    ("now", {"at": NOW}, set()),
    ("of the future", {"at": NOW + US}, {"S7 stale_reading"}),
    ("of another site", {"site_id": SiteId("other")}, {"S7 no_reading"}),
    ("mains unknown", {"mains_ok": None}, {"S7 implausible", "S8 mains", "S18 island"}),
    ("mains absent", {"mains_ok": False}, {"S8 mains", "S18 island"}),
    ("alarm", {"alarms": ("battery_fuse",)}, {"S8 alarm"}),
    (
        "load suspect",
        {"quality": {"load_w": FieldQuality(verdict=Verdict.SUSPECT, reason="x")}},
        {"S7 implausible"},
    ),
    (
        "mains bad",
        {"quality": {"mains_ok": FieldQuality(verdict=Verdict.BAD, reason="x")}},
        {"S7 implausible"},
    ),
    ("ambient bad", {"quality": {"ambient_c": FieldQuality(verdict=Verdict.BAD, reason="x")}}, set()),
    ("aux unmeasured", {"aux_ac_w": None}, set()),
    ("aux absurd", {"aux_ac_w": -1.0}, {"S7 implausible"}),
    ("aux NaN", {"aux_ac_w": nan}, {"S7 implausible"}),
    ("fuel absurd", {"fuel_frac": 1.01}, {"S7 implausible"}),
    ("fuel full", {"fuel_frac": 1.0}, set()),
    ("fuel empty", {"fuel_frac": 0.0}, set()),
    (
        "PV bad",
        {"pv_w": 10.0, "quality": {"pv_w": FieldQuality(verdict=Verdict.BAD, reason="x")}},
        {"S7 implausible"},
    ),
    ("no band", {"battery_c": 60.0}, {"S8 temperature"}),
    ("last band", {"battery_c": nextafter(60.0, 0.0)}, set()),
    ("first band", {"battery_c": -20.0}, set()),
    ("below all bands", {"battery_c": nextafter(-20.0, -inf)}, {"S8 temperature"}),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in READINGS], ids=[row[0] for row in READINGS]
)
def test_readings(changes: dict[str, Any], expected: set[str]) -> None:
    assert reasons(with_reading(STATE, **changes)) == expected


@pytest.mark.parametrize("name", sorted(PLAUSIBLE))
def test_a_needed_field_is_believed_within_its_range_only(name: str) -> None:
    least, most = PLAUSIBLE[name]
    for value, sound in [
        (least, True),
        (most, True),
        (nextafter(least, -inf), False),
        (nextafter(most, inf), False),
        (nan, False),
        (inf, False),
        (None, False),
    ]:
        changes: dict[str, Any] = {name: value}
        assert (unsound_fields(replace(a_reading(), **changes)) == []) is sound, value


def test_an_absent_reading_or_status_counts_against_the_site() -> None:
    assert reasons(replace(STATE, readings={})) == {"S7 no_reading"}
    assert reasons(replace(STATE, statuses={})) == {"S7 offline", "S20 local_lock"}


STATUSES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("age at limit", {"at": NOW - timedelta(minutes=5)}, set()),
    ("too old", {"at": NOW - timedelta(minutes=5) - US}, {"S7 stale_status"}),
    ("of the future", {"at": NOW + US}, {"S7 stale_status"}),
    ("of another site", {"site_id": SiteId("other")}, {"S7 offline"}),
    ("offline", {"online": False}, {"S7 offline"}),
    ("locked", {"local_lock": True}, {"S20 local_lock"}),
    ("float", {"state": SiteState.FLOAT}, set()),
    ("dispatch", {"state": SiteState.DISPATCH}, set()),
    ("recharge", {"state": SiteState.RECHARGE}, set()),
    ("outage", {"state": SiteState.OUTAGE}, {"S8 state"}),
    ("recovery", {"state": SiteState.RECOVERY}, {"S8 state"}),
    ("fault", {"state": SiteState.FAULT}, {"S8 state"}),
    ("says offline", {"state": SiteState.OFFLINE}, {"S8 state"}),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in STATUSES], ids=[row[0] for row in STATUSES]
)
def test_statuses(changes: dict[str, Any], expected: set[str]) -> None:
    assert reasons(with_status(STATE, **changes)) == expected


@pytest.mark.parametrize(
    ("score", "good"),
    [
        (0.9, True),
        (nextafter(0.9, 0.0), False),
        (1.0, True),
        (nextafter(1.0, 2.0), False),
        (nan, False),
        (None, False),
    ],
)
def test_quality_score(score: float | None, good: bool) -> None:
    scores = {} if score is None else {SITE: score}
    assert reasons(replace(STATE, quality_score=scores)) == (set() if good else {"S7 quality"})


def _state_with_load(**changes: Any) -> FleetState:
    return replace(STATE, load={SITE: replace(a_forecast(), **changes)})


FORECASTS: list[tuple[str, dict[str, Any], bool]] = [
    ("age at limit", {"made_at": NOW - timedelta(hours=6)}, True),
    ("too old", {"made_at": NOW - timedelta(hours=6) - US}, False),
    ("of the future", {"made_at": NOW + US}, False),
    ("of another site", {"subject_id": "other"}, False),
    ("of PV", {"quantity": Quantity.PV_W}, False),
    ("begun long ago", {"start": START - timedelta(hours=5)}, True),
    ("begins too late", {"start": START + timedelta(minutes=15)}, False),
    ("off the grid", {"start": START - timedelta(minutes=1)}, False),
]


@pytest.mark.parametrize(
    ("changes", "good"), [row[1:] for row in FORECASTS], ids=[row[0] for row in FORECASTS]
)
def test_load_forecast(changes: dict[str, Any], good: bool) -> None:
    assert reasons(_state_with_load(**changes)) == (set() if good else {"S7 load_forecast"})


def test_a_forecast_begins_within_a_step_of_now() -> None:
    quarter = timedelta(minutes=15)
    at_start = START - quarter
    assert not forecast_serves(a_forecast(), SITE, Quantity.LOAD_W, at_start, timedelta(hours=6))
    assert forecast_serves(a_forecast(), SITE, Quantity.LOAD_W, at_start + US, timedelta(hours=6))


@pytest.mark.parametrize("row", [0, 4, 8])
@pytest.mark.parametrize("field", ["values_w", "cumulative_wh"])
@pytest.mark.parametrize(
    ("value", "good"),
    [(1e12, True), (nextafter(1e12, inf), False), (-1e12, True), (nextafter(-1e12, -inf), False)],
)
def test_a_forecast_of_absurd_size_does_not_serve(row: int, field: str, value: float, good: bool) -> None:
    rows = list(getattr(a_forecast(), field))
    rows[row] = (value, *rows[row][1:])
    changes: dict[str, Any] = {field: tuple(rows)}
    forecast = replace(a_forecast(), **changes)
    assert forecast_serves(forecast, SITE, Quantity.LOAD_W, NOW, timedelta(hours=6)) is good


def test_pv_forecast_is_needed_where_there_are_panels() -> None:
    limits = with_site(LIMITS, pv_rated_w=512.0)
    assert reasons(replace(STATE, load={})) == {"S7 load_forecast"}
    assert reasons(limits=limits) == {"S7 pv_forecast"}
    pv = {SITE: a_forecast(quantity=Quantity.PV_W)}
    assert reasons(replace(STATE, pv=pv), limits) == set()


def test_harmless_alarms_are_named_by_the_policy() -> None:
    policy = Policy(harmless_alarms=frozenset({"door"}))
    assert reasons(with_reading(STATE, alarms=("door",)), replace(LIMITS, policy=policy)) == set()
    assert reasons(with_reading(STATE, alarms=("door", "fuse")), replace(LIMITS, policy=policy)) == {
        "S8 alarm"
    }


SITES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("proof at limit", {"bus": replace(BUS, continuity_proven_at=NOW - timedelta(days=365))}, set()),
    (
        "proof too old",
        {"bus": replace(BUS, continuity_proven_at=NOW - timedelta(days=365) - US)},
        {"S17 continuity"},
    ),
    ("never proven", {"bus": replace(BUS, continuity_proven_at=None)}, {"S17 continuity"}),
    ("no revert", {"bus": replace(BUS, device_reverts=False)}, {"S17 revert"}),
    ("backstop least", {"bus": replace(BUS, backstop_v=40.0)}, set()),
    ("backstop too low", {"bus": replace(BUS, backstop_v=nextafter(40.0, 0.0))}, {"S17 bus_voltage"}),
    ("backstop at float", {"bus": replace(BUS, backstop_v=54.0)}, {"S17 bus_voltage"}),
    ("backstop just below float", {"bus": replace(BUS, backstop_v=nextafter(54.0, 0.0))}, set()),
    ("float most", {"bus": replace(BUS, float_v=60.0)}, set()),
    ("float too high", {"bus": replace(BUS, float_v=nextafter(60.0, inf))}, {"S17 bus_voltage"}),
    ("float NaN", {"bus": replace(BUS, float_v=nan)}, {"S17 bus_voltage"}),
    ("no path", {"dispatch_path": DispatchPath.NONE}, {"S17 no_path"}),
    ("proxy", {"dispatch_path": DispatchPath.PROXY}, set()),
    ("shadow", {"mode": SiteMode.SHADOW}, {"S20 mode"}),
    ("monitor", {"mode": SiteMode.MONITOR}, {"S20 mode"}),
    ("not commissioned", {"commissioned_at": None}, {"S20 commissioning"}),
    ("commissioned now", {"commissioned_at": NOW}, set()),
    ("commissioned tomorrow", {"commissioned_at": NOW + US}, {"S20 commissioning"}),
    ("maintenance", {"maintenance": "fan"}, {"S20 maintenance"}),
]


@pytest.mark.parametrize(("changes", "expected"), [row[1:] for row in SITES], ids=[row[0] for row in SITES])
def test_sites(changes: dict[str, Any], expected: set[str]) -> None:
    assert reasons(limits=with_site(LIMITS, **changes)) == expected


BATTERIES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("calibrated at limit", {"calibrated_at": NOW - timedelta(days=90)}, set()),
    ("calibrated too long ago", {"calibrated_at": NOW - timedelta(days=90) - US}, {"S19 calibration"}),
    ("never calibrated", {"calibrated_at": None}, {"S19 calibration"}),
    ("tested at limit", {"capacity_tested_at": NOW - timedelta(days=365)}, set()),
    ("tested too long ago", {"capacity_tested_at": NOW - timedelta(days=365) - US}, {"S19 capacity_test"}),
    ("never tested", {"capacity_tested_at": None}, {"S19 capacity_test"}),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in BATTERIES], ids=[row[0] for row in BATTERIES]
)
def test_an_old_calibration_stops_discharge_but_not_charge(
    changes: dict[str, Any], expected: set[str]
) -> None:
    limits = with_battery(LIMITS, **changes)
    assert reasons(limits=limits) == expected
    assert reasons(limits=limits, charge_only=True) == set()


def test_shadow_is_judged_only_when_asked_for() -> None:
    for mode, allowed in [(SiteMode.SHADOW, True), (SiteMode.MONITOR, False), (SiteMode.REMOTE, True)]:
        limits = with_site(LIMITS, mode=mode)
        found = ineligible_reasons(SITE, STATE, limits, NOW, allow_shadow=True)
        assert (found == ()) is allowed
    shadow = with_site(LIMITS, mode=SiteMode.SHADOW, commissioned_at=None)
    assert ineligible_reasons(SITE, STATE, shadow, NOW, allow_shadow=True) == ()


ISLAND = replace(INVERTER, transfer_switch_interlocked=True, agreement_expires_at=NOW + timedelta(days=9))
PROOF = IslandProof(
    read_at=NOW,
    contact_open=True,
    switching_authority="DSO desk 4",
    authority_expires_at=NOW + timedelta(hours=1),
)
GAPS: list[tuple[str, Callable[[], tuple[Inverter | None, IslandProof | None, OperatingMode]], str]] = [
    ("mode", lambda: (ISLAND, PROOF, OperatingMode.STORM), "no emergency in force"),
    ("inverter", lambda: (None, PROOF, OperatingMode.EMERGENCY), "no certified inverter"),
    (
        "certificate",
        lambda: (replace(ISLAND, certificate=None), PROOF, OperatingMode.EMERGENCY),
        "no certified inverter",
    ),
    (
        "switch",
        lambda: (replace(ISLAND, transfer_switch_interlocked=False), PROOF, OperatingMode.EMERGENCY),
        "no interlocked transfer switch",
    ),
    (
        "agreement",
        lambda: (replace(ISLAND, agreement_expires_at=None), PROOF, OperatingMode.EMERGENCY),
        "no connection agreement in force",
    ),
    (
        "agreement over",
        lambda: (replace(ISLAND, agreement_expires_at=NOW), PROOF, OperatingMode.EMERGENCY),
        "no connection agreement in force",
    ),
    (
        "closed",
        lambda: (ISLAND, replace(PROOF, contact_open=False), OperatingMode.EMERGENCY),
        "not read back open",
    ),
    (
        "stale",
        lambda: (ISLAND, replace(PROOF, read_at=NOW - timedelta(minutes=2) - US), OperatingMode.EMERGENCY),
        "no fresh read-back",
    ),
    (
        "nobody",
        lambda: (ISLAND, replace(PROOF, switching_authority=""), OperatingMode.EMERGENCY),
        "no switching authority",
    ),
    (
        "authority over",
        lambda: (ISLAND, replace(PROOF, authority_expires_at=NOW), OperatingMode.EMERGENCY),
        "no switching authority",
    ),
    ("no proof", lambda: (ISLAND, None, OperatingMode.EMERGENCY), "not read back open"),
]


@pytest.mark.parametrize(("make", "words"), [row[1:] for row in GAPS], ids=[row[0] for row in GAPS])
def test_without_mains_anything_missing_refuses_export(
    make: Callable[[], tuple[Inverter | None, IslandProof | None, OperatingMode]], words: str
) -> None:
    inverter, proof, mode = make()
    state = replace(
        with_reading(STATE, mains_ok=False), mode=mode, islands={} if proof is None else {SITE: proof}
    )
    state = with_status(state, state=SiteState.OUTAGE)
    found = ineligible_reasons(SITE, state, with_site(LIMITS, inverter=inverter), NOW)
    assert {f"{one.rule} {one.name}" for one in found} == {"S8 mains", "S18 island", "S8 state"}
    assert any(words in one.message for one in found)


def test_without_mains_everything_on_record_lets_the_site_help() -> None:
    state = replace(with_reading(STATE, mains_ok=False), mode=OperatingMode.EMERGENCY, islands={SITE: PROOF})
    limits = with_site(LIMITS, inverter=ISLAND)
    assert reasons(with_status(state, state=SiteState.OUTAGE), limits) == set()
    assert reasons(with_status(state, state=SiteState.RECOVERY), limits) == {"S8 state"}
    # With mains present the same papers do not excuse an outage.
    assert reasons(with_status(replace(state, readings=STATE.readings), state=SiteState.OUTAGE), limits) == {
        "S8 state"
    }


def test_ages_and_the_grid() -> None:
    minute = timedelta(minutes=1)
    assert is_young(NOW - minute, NOW, minute)
    assert not is_young(NOW.replace(tzinfo=None), NOW, minute)
    assert on_quarter(START)
    assert not on_quarter(START + US)
    assert not on_quarter(START.replace(tzinfo=None))
