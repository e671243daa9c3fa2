"""From scores to findings: what, where, since when, how far from expected, and what to check first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from telemetry.model.incident import Severity
from tools.anomaly.frame import FleetFrame
from tools.anomaly.kinds import Kind, KindScore

CHECK_FIRST: Mapping[Kind, str] = {
    Kind.LOAD: "Compare with the radio cluster's traffic; look for sleeping or locked cells and for added equipment.",
    Kind.SENSOR_STUCK: "Read the register at the site twice; restart the meter or its bus before trusting other kinds.",
    Kind.ENERGY_THEFT: "Compare the utility meter with the site balance; look for a tap behind the meter.",
    Kind.RECTIFIER_EFFICIENCY: "Read module count, module currents and fans; one module may be idle or failing.",
    Kind.BATTERY_VOLTAGE: "Measure string currents and inter-cell links under load; plan a guarded partial test.",
    Kind.COOLING: "Check fan, filter and air conditioner; compare cabinet and battery sensors.",
    Kind.PV: "Compare with the neighbours' output; check string fuses, shading and soiling.",
    Kind.TEMPERATURE: "Check the heater and the door; compare cabinet and battery sensors.",
    Kind.MODULE_LOSS: "Read module count and alarms; one module gives nothing, and the rest reach their limit on recharge.",
    Kind.WEAK_STRING: "Measure each string's current, its breaker and links; a string that gives less takes backup with it.",
    Kind.CAPACITY_FADE: "Run a guarded capacity test; compare the charge taken out with the fall of SoC.",
    Kind.SENSOR_DRIFT: "Load, rectifier and battery meters do not add up: compare each with a clamp meter, recalibrate.",
    Kind.SENSOR_SWAPPED: "Two sensors read each other's values: follow the wires, or the last change of the register map.",
    Kind.MAINS_QUALITY: "Read the mains voltage over a day; ask the network operator, check the neutral and the tap.",
    Kind.LINK_GAP: "Check the modem, its signal and the SIM; the gateway keeps readings until the link is back.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One stretch in which one quantity of one site was not as expected.

    Attributes:
        field: Reading field judged; its unit ends the name.
        since: First step of the stretch, aware UTC.
        until: End of the stretch, or None while it lasts at the end of the window.
        expected: Median expectation over the stretch, in the unit of the field.
        observed: Median reading, NaN when nothing was read.
        residual: Median of observed minus expected.
        score: Highest score, in units of what one step in 200 reached while learning.
    """

    kind: Kind
    site_id: str
    field: str
    since: datetime
    until: datetime | None
    expected: float
    observed: float
    residual: float
    score: float
    severity: Severity
    check_first: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a stretch begins and ends.

    Attributes:
        begin: Score that begins a stretch when it holds for `hold` steps.
        end: Score below which a stretch ends when it stays there for `calm` steps.
        hold: Steps in a row above `begin`; one step of twice `strong` begins a stretch alone.
        calm: Steps in a row below `end`.
        strong: Score from which a finding is a warning.
    """

    begin: float = 2.5
    end: float = 1.0
    hold: int = 3
    calm: int = 8
    strong: float = 5.0


def find(frame: FleetFrame, scores: Iterable[KindScore], limits: Thresholds) -> tuple[Finding, ...]:
    """Return every stretch above the thresholds, ordered by site and start."""
    found = []
    for one in scores:
        for row in np.flatnonzero((one.score >= limits.begin).any(axis=1)):
            for first, last in stretches(one.score[row], limits):
                found.append(_finding(frame, one, int(row), first, last, limits))
    return tuple(sorted(found, key=lambda f: (f.site_id, f.since, f.kind)))


def stretches(score: npt.NDArray[np.floating], limits: Thresholds) -> list[tuple[int, int]]:
    """Return [first, last) of each stretch of one row of scores."""
    found: list[tuple[int, int]] = []
    first: int | None = None
    above = calm = 0
    for t, value in enumerate(score):
        if first is None:
            above = above + 1 if value >= limits.begin else 0
            if above >= limits.hold or value >= 2.0 * limits.strong:
                first, calm = t - above + 1, 0
        else:
            calm = calm + 1 if value < limits.end else 0
            if calm >= limits.calm:
                found.append((first, t - calm + 1))
                first, above = None, 0
    if first is not None:
        found.append((first, len(score) - calm))
    return found


def _finding(
    frame: FleetFrame, one: KindScore, row: int, first: int, last: int, limits: Thresholds
) -> Finding:
    expected = _median(one.expected[row, first:last])
    observed = _median(one.observed[row, first:last])
    peak = float(one.score[row, first:last].max())
    return Finding(
        kind=one.kind,
        site_id=frame.site_ids[row],
        field=one.field,
        since=frame.at(first),
        until=frame.at(last) if last < frame.steps else None,
        expected=expected,
        observed=observed,
        residual=_median(one.observed[row, first:last] - one.expected[row, first:last]),
        score=peak,
        severity=Severity.WARNING if peak >= limits.strong else Severity.INFO,
        check_first=CHECK_FIRST[one.kind],
    )


def _median(values: npt.NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
