"""Sensors whose wires were exchanged: each pair is asked whether its readings make more sense the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tools.anomaly.expected import Floats, RelationFit
from tools.anomaly.frame import FleetFrame
from tools.anomaly.relations import cooling_drivers, dc_excess_w, dc_flow_w

FloatArray = npt.NDArray[np.float64]

PAIRS = (("battery_c", "ambient_c"), ("load_w", "rectifier_w"))
CLIP = 8.0
"""One step speaks for at most so much, in units of log-likelihood."""
SLACK = 0.1
GOOD = 5.0
"""Spreads within which the exchanged reading must lie."""
MOST = 60.0


def swap_evidence(
    frame: FleetFrame, fits: Mapping[str, RelationFit]
) -> Iterator[tuple[tuple[str, str], FloatArray]]:
    """Yield for each pair that can be judged the summed evidence that it is exchanged, shape (sites, steps), zero or more.

    The log-likelihood ratio of the two readings of the same numbers, summed as Page's statistic: it rises while the
    exchanged reading explains better and falls back to zero when the pair makes sense as it is.

    Args:
        frame: A window.
        fits: Learnt relations by name: `cooling` for temperatures, `sensor_drift` for the DC balance.
    """
    f = frame.fields
    if "cooling" in fits and all(name in f for name in ("battery_c", "ambient_c", "load_w")):
        keep = _cooling_z(fits["cooling"], f["battery_c"], f["ambient_c"], f["load_w"])
        swap = _cooling_z(fits["cooling"], f["ambient_c"], f["battery_c"], f["load_w"])
        yield PAIRS[0], page(keep, swap)
    if "sensor_drift" in fits and all(name in f for name in ("load_w", "rectifier_w", "bus_v", "battery_a")):
        other = {**f, "load_w": f["rectifier_w"], "rectifier_w": f["load_w"]}
        fit = fits["sensor_drift"]
        keep, swap = (
            (dc_excess_w(one) / dc_flow_w(one) - fit.coefficients[:, :1]) / fit.scale[:, None]
            for one in (f, other)
        )
        yield PAIRS[1], page(keep, swap)


def _cooling_z(fit: RelationFit, battery_c: Floats, ambient_c: Floats, load_w: Floats) -> Floats:
    drivers = cooling_drivers(ambient_c, load_w)
    return np.asarray((battery_c - fit.expected(drivers)) / fit.scale[:, None])


def page(keep_z: Floats, swap_z: Floats) -> FloatArray:
    """Return the cumulative evidence for the exchanged reading; gaps leave it as it was."""
    ratio = np.clip(0.5 * (keep_z**2 - swap_z**2), -CLIP, CLIP)
    # A fault of another kind spoils both readings: the exchanged one must also be good in itself.
    ratio = np.where(np.abs(swap_z) < GOOD, ratio, np.minimum(ratio, -CLIP))
    gain = np.where(np.isfinite(keep_z) & np.isfinite(swap_z), ratio - SLACK, 0.0)
    state = np.zeros(len(gain))
    out = np.empty(gain.shape)
    for t in range(gain.shape[1]):
        state = np.clip(state + gain[:, t], 0.0, MOST)
        out[:, t] = state
    return out
