"""One site simulated under a plan, from live state, with the trusted core's own battery."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import add, sub

from edge.safety.battery import Pack, pack_from
from edge.safety.case import Case, Commitment, Power, committed_wh, discharged_wh, draws
from edge.safety.eligibility import forecast_serves, is_young, unsound_fields
from edge.safety.outlook import Outlook, Supply, outlook_of
from telemetry.model.reading import Reading
from telemetry.model.series import STEP_H, Forecast, Quantity
from telemetry.model.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One site simulated under a plan; index 0 is the plan's first instant or step.

    Attributes:
        site: The site.
        pack: Its battery as it stands.
        outlook: Its load, PV and autonomy floor.
        power: What the plan asks.
        level_wh: Backup surely left at each instant of the window, other plans' draw not counted.
        committed_wh: What other live plans draw before each instant up to the horizon.
        due_wh: What `level_wh` must not fall below at each instant up to the horizon.
        charge_cap_w: What the site can take at each step up to the horizon; below zero: not even its own load.
        commitments: What other live plans ask.
        aux_ac_w: AC auxiliaries, W.
    """

    site: Site
    pack: Pack
    outlook: Outlook
    power: Power
    level_wh: Sequence[float]
    committed_wh: Sequence[float]
    due_wh: Sequence[float]
    charge_cap_w: Sequence[float]
    commitments: tuple[Commitment, ...]
    aux_ac_w: float

    @property
    def left_wh(self) -> list[float]:
        """Backup surely left at each instant of the window, Wh above the disconnect."""
        return list(map(sub, self.level_wh, self.committed_wh))


def due_row(floor_wh: Sequence[float], gone_wh: Sequence[float], idle_wh: float) -> list[float]:
    """Return what a site's level must not fall below, at each instant up to the horizon, whatever it does then, Wh.

    The autonomy floor with what other plans draw; where it exceeds, here or a step away, what the site would hold
    without the plan, just that: the plan must not make it worse. A step away, because within a step the floor may
    cross that level while the battery is still below it.
    """
    floor = list(map(add, floor_wh, gone_wh))
    highest = map(max, floor, [*floor[1:], floor[-1]], [floor[0], *floor[:-1]])
    return [need if high <= idle_wh else idle_wh for need, high in zip(floor, highest, strict=True)]


def charge_caps_w(site: Site, max_charge_w: float, outlook: Outlook, aux_ac_w: float) -> list[float]:
    """Return what the site can put into its battery at each step, W; may be below zero at a peak of its own load.

    Source:
        Headroom of the rectifiers with one module failed, battery limit, AC connection (DOMAIN.md section 1).
    """
    return list(map(min, repeat(max_charge_w), shelf_room_w(site, outlook.net_upper_w, aux_ac_w)))


def shelf_room_w(site: Site, net_w: Sequence[float], aux_ac_w: float) -> list[float]:
    """Return what the rectifiers with one module failed and the connection leave beside the site's own load, W by step."""
    shelf_w = min(
        site.rectifiers.secure_w, (site.grid_import_limit_w - aux_ac_w) * site.rectifiers.efficiency
    )
    return [shelf_w - net for net in net_w]


def level_rows(pack: Pack, power: Power, outlook: Outlook, *, coarse: bool) -> list[float]:
    """Return the backup surely left at each instant of the window, Wh.

    With a coarse controller (S17) the battery carries the whole load when it discharges, whatever the setpoint says.
    """
    if power.reserve_wh is not None:
        return [pack.backup_wh - discharged_wh(power)] * (len(power.low_w) + 1)
    levels, level = [pack.backup_wh], pack.backup_wh
    credit = pack.credit_frac if power.scheduled else 0.0
    if coarse:
        low = [
            min(w, -net) if w < 0.0 else w for w, net in zip(power.low_w, outlook.net_upper_w, strict=False)
        ]
    else:
        low = list(power.low_w)
    for w in low:
        level += (min(0.0, w) + max(0.0, w) * credit) * STEP_H
        levels.append(level)
    return levels


def track_of(site: Site, case: Case, power: Power) -> Track | None:
    """Return the site simulated under the power, or None where its state is not known well enough to simulate it."""
    reading = case.state.readings.get(site.site_id)
    pack = pack_of(site, reading)
    if pack is None or reading is None:
        return None
    aux_ac_w = 0.0 if reading.aux_ac_w is None else reading.aux_ac_w
    outlook = outlook_for(site, reading, case)
    commitments = case.commitments.get(site.site_id, ())
    gone_wh = committed_wh(draws(commitments), case.horizon)
    coarse = not site.bus.voltage_step_v <= case.limits.policy.fine_voltage_step_v
    return Track(
        site=site,
        pack=pack,
        outlook=outlook,
        power=power,
        level_wh=level_rows(pack, power, outlook, coarse=coarse),
        committed_wh=gone_wh,
        due_wh=due_row(outlook.floor_wh, gone_wh, pack.backup_wh),
        charge_cap_w=charge_caps_w(site, pack.max_charge_w, outlook, aux_ac_w),
        commitments=commitments,
        aux_ac_w=aux_ac_w,
    )


def pack_of(site: Site, reading: Reading | None) -> Pack | None:
    """Return the site's battery as it stands, or None where the reading is missing, unsound or out of all bands."""
    if reading is None or unsound_fields(reading):
        return None
    soc_frac, soh_frac, battery_c = reading.soc_frac or 0.0, reading.soh_frac or 0.0, reading.battery_c or 0.0
    band = site.battery.band_at(battery_c)
    return None if band is None else pack_from(site.battery, band, soc_frac, soh_frac)


def outlook_for(site: Site, reading: Reading | None, case: Case) -> Outlook:
    """Return the site's outlook from what can be believed of its forecasts and its reading."""
    now, policy = case.now, case.limits.policy
    fresh: list[Forecast | None] = [
        forecast if forecast_serves(forecast, site.site_id, quantity, now, policy.max_forecast_age) else None
        for forecast, quantity in (
            (case.state.load.get(site.site_id), Quantity.LOAD_W),
            (case.state.pv.get(site.site_id), Quantity.PV_W),
        )
    ]
    sound = reading if reading is not None and not unsound_fields(reading) else None
    return outlook_of(
        site,
        (fresh[0], fresh[1]),
        case.plan.window_start,
        (case.steps, case.horizon),
        case.plan.envelope.reserve_h,
        supply_of(site, sound, case),
    )


def supply_of(site: Site, reading: Reading | None, case: Case) -> Supply:
    """Return what else feeds and burdens the site without mains; a genset only if allowed, lately proven, fuel known."""
    if reading is None:
        return Supply()
    aux_ac_w, genset = reading.aux_ac_w or 0.0, site.genset
    if genset is None or not site.autonomy.genset_allowed or reading.fuel_frac is None:
        return Supply(aux_ac_w=aux_ac_w)
    if not is_young(genset.proven_at, case.now, case.limits.policy.max_proof_age):
        return Supply(aux_ac_w=aux_ac_w)
    return Supply(aux_ac_w=aux_ac_w, genset=genset, fuel_frac=reading.fuel_frac)
