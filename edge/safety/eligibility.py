"""May this site take part in any plan now? The validator's own predicate: a planner proposes eligible sites only."""

from collections.abc import Callable
from datetime import datetime, timedelta

from edge.safety.limits import FleetState, Limits, OperatingMode
from edge.safety.verdict import Broken, Place, at_site, unmet
from telemetry.model.reading import Reading, SiteState, SiteStatus, Verdict
from telemetry.model.series import LOWER, MEDIAN, STEP, UPPER, Forecast, Quantity
from telemetry.model.site import DispatchPath, Site, SiteId, SiteMode

# Wider than any sound battery or bus reads, so that a broken sensor is told from a bad day.
PLAUSIBLE = {
    "soc_frac": (0.0, 1.0),
    "soh_frac": (0.05, 1.2),
    "battery_c": (-40.0, 80.0),
    "load_w": (0.0, 1e6),
    "bus_v": (36.0, 60.0),
}
# Measured where the site can measure them; believed only if they are sound.
OPTIONAL = {"aux_ac_w": (0.0, 1e6), "fuel_frac": (0.0, 1.0), "pv_w": (0.0, 1e6)}
LARGEST = 1e12  # W, Wh or h: nothing real comes near; keeps sums of finite numbers finite
WITHHOLDABLE = frozenset({"S7", "S8", "S17", "S18", "S19", "S20"})


def ineligible_reasons(
    site_id: SiteId,
    state: FleetState,
    limits: Limits,
    now: datetime,
    *,
    charge_only: bool = False,
    allow_shadow: bool = False,
) -> tuple[Broken, ...]:
    """Return every reason why a site may not take part in a plan; empty means it may.

    Args:
        site_id: The site.
        state: The live facts.
        limits: What the registry allows.
        now: The instant of the decision.
        charge_only: The site would only charge: an old calibration or capacity test (S19) or undeclared recharge terms (S6)
            do not stop that.
        allow_shadow: Judge a site in `shadow` as if it were `remote`; nothing judged so may be sent.
    """
    site = limits.sites.get(site_id)
    place = at_site(site_id)
    if site is None or site.site_id != site_id:
        return (unmet("S16", "unknown_site", place, "is not in the registry"),)
    reading, status = state.readings.get(site_id), state.statuses.get(site_id)
    broken = [
        *telemetry_reasons(site, reading, status, state, limits, now),
        *forecast_reasons(site, state, limits, now),
        *condition_reasons(site, reading, status, state, limits, now),
        *continuity_reasons(site, limits, now),
        *mode_reasons(site, status, now, allow_shadow=allow_shadow),
    ]
    if not charge_only:
        broken.extend(calibration_reasons(site, limits, now))
        broken.extend(recharge_reasons(site))
    return tuple(broken)


def is_young(at: datetime | None, now: datetime, max_age: timedelta) -> bool:
    """Return whether an instant is known, not in the future and not older than allowed."""
    return at is not None and at.utcoffset() is not None and timedelta(0) <= now - at <= max_age


def telemetry_reasons(
    site: Site,
    reading: Reading | None,
    status: SiteStatus | None,
    state: FleetState,
    limits: Limits,
    now: datetime,
) -> list[Broken]:
    """S7: a fresh, plausible reading of good quality from a controller that is online."""
    say = _teller("S7", at_site(site.site_id))
    broken: list[Broken] = []
    if reading is None or reading.site_id != site.site_id:
        broken.append(say("no_reading", "has sent no reading"))
    else:
        if not is_young(reading.at, now, limits.policy.max_reading_age):
            broken.append(say("stale_reading", f"its last reading is of {reading.at.isoformat()}"))
        broken.extend(say("implausible", f"{name} cannot be believed") for name in unsound_fields(reading))
    score = state.quality_score.get(site.site_id)
    if score is None or not limits.policy.min_quality_score <= score <= 1.0:
        broken.append(say("quality", f"the quality score of its readings is {score}"))
    if status is None or status.site_id != site.site_id or not status.online:
        broken.append(say("offline", "its controller is not online"))
    elif not is_young(status.at, now, limits.policy.max_status_age):
        broken.append(say("stale_status", f"its controller last spoke at {status.at.isoformat()}"))
    return broken


def unsound_fields(reading: Reading) -> list[str]:
    """Return the fields that a verdict needs and cannot believe: absent, implausible or of doubtful quality."""
    unsound = [name for name, (least, most) in PLAUSIBLE.items() if not _sound(reading, name, least, most)]
    unsound += [
        name
        for name, (least, most) in OPTIONAL.items()
        if getattr(reading, name) is not None and not _sound(reading, name, least, most)
    ]
    if reading.mains_ok is None or reading.verdict("mains_ok") is not Verdict.GOOD:
        unsound.append("mains_ok")
    return unsound


def _sound(reading: Reading, name: str, least: float, most: float) -> bool:
    value: float | None = getattr(reading, name)
    return value is not None and least <= value <= most and reading.verdict(name) is Verdict.GOOD


def forecast_reasons(site: Site, state: FleetState, limits: Limits, now: datetime) -> list[Broken]:
    """S7: a fresh forecast of the site's load, and of its PV where it has panels."""
    say = _teller("S7", at_site(site.site_id))
    max_age = limits.policy.max_forecast_age
    broken: list[Broken] = []
    load = state.load.get(site.site_id)
    if not forecast_serves(load, site.site_id, Quantity.LOAD_W, now, max_age):
        broken.append(say("load_forecast", "has no fresh load forecast"))
    if site.pv_rated_w > 0.0:
        pv = state.pv.get(site.site_id)
        if not forecast_serves(pv, site.site_id, Quantity.PV_W, now, max_age):
            broken.append(say("pv_forecast", "has no fresh PV forecast"))
    return broken


def forecast_serves(
    forecast: Forecast | None, subject_id: str, quantity: Quantity, now: datetime, max_age: timedelta
) -> bool:
    """Return whether a forecast is of this subject and quantity, fresh, begun and on the quarter-hour grid."""
    return (
        forecast is not None
        and forecast.subject_id == subject_id
        and forecast.quantity is quantity
        and is_young(forecast.made_at, now, max_age)
        and forecast.start < now + STEP
        and on_quarter(forecast.start)
        and all(min(row) >= -LARGEST and max(row) <= LARGEST for row in _rows_used(forecast))
    )


def _rows_used(forecast: Forecast) -> list[tuple[float, ...]]:
    levels = (LOWER, MEDIAN, UPPER)
    return [row(level) for level in levels for row in (forecast.quantile_w, forecast.energy_wh)]


def on_quarter(at: datetime) -> bool:
    """Return whether an aware instant lies on a whole quarter of an hour (UTC)."""
    return at.utcoffset() is not None and at.timestamp() % STEP.total_seconds() == 0.0


def condition_reasons(
    site: Site,
    reading: Reading | None,
    status: SiteStatus | None,
    state: FleetState,
    limits: Limits,
    now: datetime,
) -> list[Broken]:
    """S8: no active alarm, mains present, not in outage, recovery or fault; S18 where the mains is absent."""
    say = _teller("S8", at_site(site.site_id))
    broken: list[Broken] = []
    alarms = () if reading is None else reading.alarms
    active = sorted(set(alarms) - limits.policy.harmless_alarms)
    if active:
        broken.append(say("alarm", f"active alarms: {', '.join(active)}"))
    at_work = {SiteState.FLOAT, SiteState.DISPATCH, SiteState.RECHARGE}
    if reading is not None and reading.mains_ok is not True:
        missing = island_gaps(site, state, limits, now)
        if missing:
            broken.append(say("mains", "its mains is absent"))
            broken.append(
                unmet(
                    "S18", "island", at_site(site.site_id), f"no export without mains: {', '.join(missing)}"
                )
            )
        else:
            at_work.add(SiteState.OUTAGE)
    if status is not None and status.state not in at_work:
        broken.append(say("state", f"is in {status.state}"))
    battery_c = None if reading is None else reading.battery_c
    if battery_c is not None and site.battery.band_at(battery_c) is None:
        broken.append(say("temperature", f"its battery may not be used at {battery_c} degC"))
    return broken


def island_gaps(site: Site, state: FleetState, limits: Limits, now: datetime) -> list[str]:
    """S18: return what is missing before a site may export with its mains absent (DOMAIN.md section 4)."""
    proof = state.islands.get(site.site_id)
    inverter = site.inverter
    gaps: list[str] = []
    if state.mode is not OperatingMode.EMERGENCY:
        gaps.append("no emergency in force")
    if inverter is None or not inverter.certificate:
        gaps.append("no certified inverter")
    if inverter is None or not inverter.transfer_switch_interlocked:
        gaps.append("no interlocked transfer switch")
    if inverter is None or inverter.agreement_expires_at is None or not now < inverter.agreement_expires_at:
        gaps.append("no connection agreement in force")
    if proof is None or not proof.contact_open:
        gaps.append("the switch is not read back open")
    if proof is None or not is_young(proof.read_at, now, limits.policy.max_reading_age):
        gaps.append("no fresh read-back of the switch")
    if proof is None or not proof.switching_authority or not now < proof.authority_expires_at:
        gaps.append("no switching authority in force")
    return gaps


def continuity_reasons(site: Site, limits: Limits, now: datetime) -> list[Broken]:
    """S17: the bus stays fed whatever the battery does: declared, proven, and undone by the device itself."""
    say = _teller("S17", at_site(site.site_id))
    broken: list[Broken] = []
    if not is_young(site.bus.continuity_proven_at, now, limits.policy.max_proof_age):
        broken.append(say("continuity", "nobody has lately proven that the backstop carries the whole load"))
    if not site.bus.device_reverts:
        broken.append(say("revert", "its device does not return to float by itself"))
    if not 40.0 <= site.bus.backstop_v < site.bus.float_v <= 60.0:
        broken.append(say("bus_voltage", "backstop and float voltage make no sense"))
    if site.dispatch_path is DispatchPath.NONE:
        broken.append(say("no_path", "nobody writes its setpoints"))
    return broken


def calibration_reasons(site: Site, limits: Limits, now: datetime) -> list[Broken]:
    """S19: without a young full-charge calibration and capacity test a battery is for backup only."""
    say = _teller("S19", at_site(site.site_id))
    broken: list[Broken] = []
    if not is_young(site.battery.calibrated_at, now, limits.policy.max_calibration_age):
        broken.append(say("calibration", "its SoC has had no lately calibrated full charge: backup only"))
    if not is_young(site.battery.capacity_tested_at, now, limits.policy.max_capacity_test_age):
        broken.append(say("capacity_test", "its battery has had no recent capacity test: backup only"))
    return broken


def recharge_reasons(site: Site) -> list[Broken]:
    """S6: how the battery is filled again must be declared, or nothing drawn from it is known to come back."""
    if site.recharge is not None:
        return []
    return [unmet("S6", "recharge_terms", at_site(site.site_id), "nobody has declared how it recharges")]


def mode_reasons(site: Site, status: SiteStatus | None, now: datetime, *, allow_shadow: bool) -> list[Broken]:
    """S20: commissioned, in mode `remote`, nobody working at the site."""
    say = _teller("S20", at_site(site.site_id))
    broken: list[Broken] = []
    if not (site.mode is SiteMode.REMOTE or (allow_shadow and site.mode is SiteMode.SHADOW)):
        broken.append(say("mode", f"is in mode {site.mode}, not remote"))
    if site.mode is SiteMode.REMOTE and not (
        site.commissioned_at is not None and site.commissioned_at <= now
    ):
        broken.append(say("commissioning", "has no commissioning test on record"))
    if status is None or status.local_lock:
        broken.append(say("local_lock", "is under local control, or nobody knows that it is not"))
    if site.maintenance:
        broken.append(say("maintenance", f"maintenance: {site.maintenance}"))
    return broken


def _teller(rule: str, place: Place) -> Callable[[str, str], Broken]:
    return lambda name, message: unmet(rule, name, place, message)
