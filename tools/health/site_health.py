"""The health of one site's battery out of its quarter hours: discharges found and counted, wear, remaining life. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.battery import Battery
from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tools.health.ageing import AGEING, AgeingModel, calendar_wear, wear_of
from tools.health.capacity import Discharge, soh_of
from tools.health.estimate import NotJudged, SohEstimate, joined
from tools.health.rainflow import full_cycles, rainflow
from tools.health.remaining import RemainingLife, remaining_life
from tools.health.resistance import Resistance

FloatArray = npt.NDArray[np.floating]

NOTE = "the methods are checked on small lithium cells in the laboratory; for telecom strings nothing is claimed yet"
REPORTED_SD_FRAC = 0.05
"""Standard error given to the state of health that a BMS reports by itself [I]."""
LEAST_POWER_FRAC = 0.02
"""Of rated energy an hour: less than this is float, not discharge."""
CALIBRATION_AGE = timedelta(days=90)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryPast:
    """Quarter hours of one battery, all of shape (steps,), NaN where nothing was measured.

    Attributes:
        start: Begin of the first step, aware UTC.
        soc_frac: State of charge at the middle of each step.
        battery_w: Mean power at the terminals, W, charging positive.
        battery_c: Temperature, degC.
    """

    start: datetime
    soc_frac: FloatArray
    battery_w: FloatArray
    battery_c: FloatArray

    @property
    def days(self) -> float:
        """Length of the past, days."""
        return float(self.soc_frac.size * (STEP / timedelta(days=1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHealth:
    """What is known of a site's battery.

    Attributes:
        soh: State of health, or why it is not known.
        observations: What it rests on, oldest first.
        refused: Discharges from which nothing was concluded, and why.
        wear_frac_per_year: Share of life used a year at the use and temperature seen.
        cycles: Equivalent full cycles over the past looked at.
        mean_c: Mean temperature over it, degC; None where never measured.
        resistance: From load steps, where there was a look at them.
        remaining: When the end of life is reached, or why that is not known.
        replace_at_frac: State of health that counts as the end of life.
        note: What the figures are worth.
    """

    site_id: SiteId
    soh: SohEstimate | NotJudged
    observations: tuple[SohEstimate, ...]
    refused: tuple[str, ...]
    wear_frac_per_year: float
    cycles: float
    mean_c: float | None
    resistance: Resistance | NotJudged
    remaining: RemainingLife | NotJudged
    replace_at_frac: float
    note: str = NOTE


def site_health(
    site_id: SiteId,
    battery: Battery,
    past: BatteryPast,
    now: datetime,
    *,
    reported_frac: float | None = None,
    earlier: Sequence[SohEstimate] = (),
    resistance: Resistance | NotJudged | None = None,
    model: AgeingModel | None = None,
) -> SiteHealth:
    """Return the health of a battery as of `now`.

    Args:
        site_id: Its site.
        battery: As registered.
        past: What was measured.
        now: Aware UTC, at or after the past's end.
        reported_frac: State of health that the BMS reports, where it does.
        earlier: Observations kept from before the past looked at (commissioning and capacity tests).
        resistance: From load steps.
        model: How its type ages; by chemistry where None.
    """
    ageing = model or AGEING[battery.chemistry]
    verdicts = [
        soh_of(one, capacity_frac=_capacity_frac(battery, one.battery_c)) for one in discharges(battery, past)
    ]
    refused = [one.reason for one in verdicts if isinstance(one, NotJudged)]
    found = [one for one in verdicts if isinstance(one, SohEstimate)]
    if reported_frac is not None and 0.0 < reported_frac <= 1.5:
        found.append(
            SohEstimate(
                soh_frac=reported_frac, sd_frac=REPORTED_SD_FRAC, at=now, method="reported", evidence="BMS"
            )
        )
    observations = tuple(sorted([*earlier, *found], key=lambda one: one.at))
    cycles = rainflow(past.soc_frac)
    known_c = past.battery_c[np.isfinite(past.battery_c)]
    mean_c = float(known_c.mean()) if known_c.size else None
    wear = wear_of(cycles, past.battery_c, past.days, ageing) / max(past.days, 1e-9) * 365.25
    least = float(calendar_wear(365.25, 20.0 if mean_c is None else mean_c, ageing))
    return SiteHealth(
        site_id=site_id,
        soh=joined(observations, now),
        observations=observations,
        refused=tuple(refused),
        wear_frac_per_year=wear,
        cycles=full_cycles(cycles),
        mean_c=mean_c,
        resistance=resistance or NotJudged(reason="load steps were not looked at"),
        remaining=remaining_life(
            observations,
            now,
            usual_loss_frac_per_year=max(wear, least) * (1.0 - ageing.end_of_life_frac),
            end_of_life_frac=ageing.end_of_life_frac,
        ),
        replace_at_frac=ageing.end_of_life_frac,
    )


def discharges(battery: Battery, past: BatteryPast) -> Iterator[Discharge]:
    """Yield the runs of quarter hours in which the battery was discharged.

    The state of charge is that of the quarter hours on either side of the run; half of what flowed in those two counts,
    their means standing for their middles. A run at the edge of a gap is left out. After `CALIBRATION_AGE` without a
    full charge the SoC counts half as exact.
    """
    drawing = past.battery_w < -LEAST_POWER_FRAC * battery.rated_wh
    edges = np.flatnonzero(np.diff(np.concatenate([[False], drawing, [False]]).astype(np.int8)))
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if first == 0 or after >= drawing.size:
            continue
        power_w, soc = past.battery_w[first - 1 : after + 1], past.soc_frac[[first - 1, after]]
        warm = past.battery_c[first:after]
        if not (np.isfinite(power_w).all() and np.isfinite(soc).all() and np.isfinite(warm).any()):
            continue
        stored_w = np.where(
            power_w > 0.0, power_w * battery.charge_efficiency, power_w / battery.discharge_efficiency
        )
        drawn_wh = -float(stored_w.sum() - (stored_w[0] + stored_w[-1]) / 2.0) * (STEP / _HOUR)
        at = past.start + after * STEP
        stale = battery.calibrated_at is None or at - battery.calibrated_at > CALIBRATION_AGE
        yield Discharge(
            drawn_frac=drawn_wh / battery.rated_wh,
            soc_from_frac=float(soc[0]),
            soc_to_frac=float(soc[1]),
            soc_error_frac=battery.soc_error_frac * (2.0 if stale else 1.0),
            reached_cut_off=bool(soc[1] <= battery.disconnect_soc_frac),
            battery_c=float(np.nanmean(warm)),
            at=at,
        )


def _capacity_frac(battery: Battery, battery_c: float) -> float:
    band = battery.band_at(battery_c)
    return 1.0 if band is None else band.capacity_frac
