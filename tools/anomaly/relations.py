"""Physical relations between readings: what the power balance, the battery, the cabinet and the PV owe each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from tools.anomaly.expected import Floats, peer_common
from tools.anomaly.frame import FleetFrame

FloatArray = npt.NDArray[np.float64]

DISCHARGING_A = -2.0
"""Battery current below which its voltage tells of its resistance; at float it tells of the rectifier."""
CABINET_MEMORY_STEPS = 12.0
KEEP_RAISED, KEEP_NORMAL = 0.95, 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationKind:
    """A relation by name.

    Attributes:
        name: The kind of trouble that a break of it means.
        target: Field that is explained.
        fields: Fields it needs.
        sign: 1 when too high is trouble, -1 when too low is.
    """

    name: str
    target: str
    fields: tuple[str, ...]
    sign: float


RELATIONS = (
    RelationKind(
        name="energy_theft", target="grid_w", fields=("grid_w", "rectifier_w", "aux_ac_w"), sign=1.0
    ),
    RelationKind(
        name="battery_voltage",
        target="bus_v",
        fields=("bus_v", "battery_a", "soc_frac", "battery_c"),
        sign=-1.0,
    ),
    RelationKind(name="cooling", target="battery_c", fields=("battery_c", "ambient_c", "load_w"), sign=1.0),
    RelationKind(name="pv", target="pv_w", fields=("pv_w",), sign=-1.0),
)


def target_of(frame: FleetFrame, kind: RelationKind, rated_w: FloatArray) -> Floats:
    """Return the explained quantity, NaN where the relation says nothing, shape (sites, steps).

    PV is explained as the output that it would have if its peers stood at full output, so that its noise is alike
    at noon and at dawn; `unit_of` takes that back to W.
    """
    values = frame.fields[kind.target]
    if kind.name == "battery_voltage":
        return np.asarray(np.where(frame.fields["battery_a"] < DISCHARGING_A, values, np.nan))
    if kind.name == "pv":
        peers = peer_pv(frame, rated_w)
        return np.asarray(np.where(peers > 0.05, values / np.maximum(peers, 0.05), np.nan))
    return values


def unit_of(frame: FleetFrame, kind: RelationKind, rated_w: FloatArray) -> Floats:
    """Return what a target is multiplied by to be in the unit of its field, shape (sites, steps)."""
    values = frame.fields[kind.target]
    return np.maximum(peer_pv(frame, rated_w), 0.05) if kind.name == "pv" else np.ones_like(values)


def drivers_of(frame: FleetFrame, kind: RelationKind) -> FloatArray:
    """Return the drivers of a relation, shape (sites, steps, drivers)."""
    f = frame.fields
    if kind.name == "energy_theft":
        # Losses of a rectifier: constant, linear and quadratic in its output.
        dc = f["rectifier_w"]
        return _stacked(dc, dc**2, f["aux_ac_w"])
    if kind.name == "battery_voltage":
        soc, amps = f["soc_frac"], f["battery_a"]
        knee = np.maximum(soc - 0.95, 0.0)
        return _stacked(soc, soc**2, knee, amps, amps * (25.0 - f["battery_c"]), amps * (1.0 - soc))
    if kind.name == "cooling":
        slow = _slow(f["ambient_c"])
        return _stacked(slow, np.maximum(slow - 15.0, 0.0), _slow(f["load_w"]))
    return np.zeros((*f[kind.target].shape, 0))


def proportional_share(residual: Floats, rectifier_w: Floats, raised: npt.NDArray[np.bool_]) -> FloatArray:
    """Return how far an excess of AC power follows the rectifier's output rather than being added, 0..1.

    Two one-parameter explanations are compared by the squares they leave: a constant (someone takes power) and a
    multiple of the output (a rectifier wastes it). Half where they explain alike. While the excess is raised the
    evidence is kept for some five hours; in normal times it fades within the hour, so that the time before an onset
    does not blur what comes after.

    Args:
        residual: AC power above expectation, W, shape (sites, steps), NaN for gaps.
        rectifier_w: DC output, W, same shape.
        raised: Where the excess is out of the ordinary, same shape.
    """
    known = np.isfinite(residual) & np.isfinite(rectifier_w)
    r = np.where(known, residual, 0.0)
    x = np.where(known, rectifier_w, 0.0)
    parts = np.stack([known.astype(np.float64), r, r * x, x * x, r * r])
    sums = np.zeros(parts.shape[:2])
    out = np.empty(r.shape)
    for t in range(r.shape[1]):
        keep = np.where(known[:, t], np.where(raised[:, t], KEEP_RAISED, KEEP_NORMAL), 1.0)
        sums = sums * keep + parts[:, :, t]
        n, total_r, rx, xx, rr = sums
        added = total_r**2 / np.maximum(n, 1.0)
        follows = rx**2 / np.maximum(xx, 1e-9)
        # Likelihood ratio of two Gaussian explanations with the better one's own noise.
        noise = np.maximum(rr - np.maximum(added, follows), 1e-9) / np.maximum(n, 1.0)
        out[:, t] = 1.0 / (1.0 + np.exp(np.clip((added - follows) / (2.0 * noise), -30.0, 30.0)))
    return out


def _stacked(*drivers: Floats) -> FloatArray:
    return np.stack(drivers, axis=2).astype(np.float64)


def _slow(values: Floats) -> FloatArray:
    """Return a first-order lag of the cabinet's memory; gaps are bridged by the site's mean."""
    count = np.maximum(np.isfinite(values).sum(axis=1, keepdims=True), 1)
    mean = np.nansum(values, axis=1, keepdims=True) / count
    bridged = np.where(np.isfinite(values), values, mean)
    keep = float(np.exp(-1.0 / CABINET_MEMORY_STEPS))
    slow, _ = lfilter([1.0 - keep], [1.0, -keep], bridged, axis=1, zi=keep * bridged[:, :1])
    return np.asarray(np.where(np.isfinite(values), slow, np.nan))


def best_pv_w(frame: FleetFrame) -> FloatArray:
    """Return each site's best PV output in a window as a stand-in for its rating, at least 1 W, shape (sites,)."""
    values = frame.fields["pv_w"]
    best = np.where(np.isfinite(values), values, 0.0).max(axis=1)
    return np.asarray(np.maximum(best, 1.0), dtype=np.float64)


def peer_pv(frame: FleetFrame, rated_w: FloatArray) -> Floats:
    """Return the median of the peers' output as a share of each one's rating, shape (sites, steps)."""
    return peer_common(frame.fields["pv_w"] / rated_w[:, None], frame.peers)
