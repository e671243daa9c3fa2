"""What sensors show by themselves: a site that is silent, a value that never changes, two that are exchanged.

What cannot be read is the finding then, and whatever rests on it is quiet meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tools.anomaly.expected import Floats, RelationFit
from tools.anomaly.frame import FleetFrame
from tools.anomaly.kinds import Kind, KindScore
from tools.anomaly.swapped import swap_evidence

FloatArray = npt.NDArray[np.float64]

Spoilt = tuple[KindScore, tuple[str, ...]]
"""Where a sensor is not to be trusted (score above zero), and which fields that spoils."""
STUCK_FIELDS = ("load_w", "grid_w", "battery_c", "ambient_c")
STUCK_PER_STEP = 0.7
GAP_PER_STEP = 1.0
SWAP_LEAST, SWAP_UNIT = 12.0, 0.25


def run_length(values: Floats) -> FloatArray:
    """Return for how many steps each value has not changed, 0 at a change or a gap, shape of `values`."""
    out = np.zeros(values.shape)
    for t in range(1, values.shape[1]):
        same = np.asarray(values[:, t] == values[:, t - 1])
        out[:, t] = np.where(same, out[:, t - 1] + 1.0, 0.0)
    return out


def gap_length(frame: FleetFrame) -> FloatArray:
    """Return for how many steps no field was read, 0 where one was, shape (sites, steps)."""
    silent = np.asarray(np.stack([np.isnan(v) for v in frame.fields.values()]).all(axis=0))
    out = np.zeros(silent.shape)
    for t in range(silent.shape[1]):
        out[:, t] = np.where(silent[:, t], (out[:, t - 1] if t else 0.0) + 1.0, 0.0)
    return out


def longest_of(runs: FloatArray) -> FloatArray:
    """Return each site's longest run, at most twice the fleet's usual one: a past fault is no standard."""
    own = runs.max(axis=1)
    return np.asarray(np.minimum(own, 2.0 * float(np.median(own)) + 1.0))


def silence(frame: FleetFrame, longest: FloatArray) -> KindScore:
    """Return how much longer each silence lasts than the site's longest usual one, a step each."""
    length = gap_length(frame)
    score = GAP_PER_STEP * np.maximum(length - longest[:, None], 0.0)
    return KindScore(
        kind=Kind.LINK_GAP,
        field="silent_steps",
        expected=np.repeat(longest[:, None], length.shape[1], axis=1),
        observed=length,
        score=score,
    )


def stuck(frame: FleetFrame, name: str, longest: FloatArray) -> KindScore:
    """Return how much longer a field has shown one value than the site's longest usual run."""
    runs = run_length(frame.fields[name])
    return KindScore(
        kind=Kind.SENSOR_STUCK,
        field=name,
        expected=np.repeat(longest[:, None], runs.shape[1], axis=1),
        observed=runs,
        score=STUCK_PER_STEP * np.maximum(runs - longest[:, None], 0.0),
    )


def quieted(score: KindScore, spoilt: Sequence[Spoilt], fields: tuple[str, ...]) -> KindScore:
    """Return a score without the steps at which one of its own sensors is spoilt: that is the finding then."""
    silent = np.zeros(score.score.shape, dtype=bool)
    for one, theirs in spoilt:
        if set(theirs) & set(fields):
            silent |= one.score > 0.0
    return replace(score, score=np.where(silent, 0.0, score.score))


def anywhere(scores: Sequence[KindScore], frame: FleetFrame) -> npt.NDArray[np.bool_]:
    """Return where any of these scores is above zero."""
    found = np.zeros((len(frame.site_ids), frame.steps), dtype=bool)
    for one in scores:
        found |= one.score > 0.0
    return found


def exchanged(frame: FleetFrame, fits: Mapping[str, RelationFit]) -> list[Spoilt]:
    """Return the evidence for exchanged sensors, in units in which a few certain steps make 1; `fits` are the relations' by name."""
    found: list[Spoilt] = []
    for pair, evidence in swap_evidence(frame, fits):
        one = KindScore(
            kind=Kind.SENSOR_SWAPPED,
            field=pair[0],
            expected=frame.fields[pair[1]],
            observed=frame.fields[pair[0]],
            score=np.maximum(evidence - SWAP_LEAST, 0.0) * SWAP_UNIT,
        )
        found.append((one, pair))
    return found
