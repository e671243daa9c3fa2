"""Physical relations between readings: what the power balance, the battery, the cabinet and the PV owe each other.

Each relation explains one quantity by others of the same site. Targets and drivers are taken from a mapping of fields, so
that they serve a window, shape (sites, steps), and a single instant, shape (sites, 1), alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from tools.anomaly.expected import Floats, peer_common
from tools.anomaly.frame import FleetFrame

FloatArray = npt.NDArray[np.float64]

DISCHARGING_A = -2.0
"""Battery current below which its voltage tells of its resistance; at float it tells of the rectifier."""
CHARGING_A = 2.0
BULK_SOC = 0.93
"""Below this SoC a charging battery takes what it is given: then the rectifiers' output tells of their modules."""
CABINET_MEMORY_STEPS = 12.0
CAPACITY_STEPS = 8
LEAST_DROP = 0.05
"""SoC must fall by so much within the steps above before a capacity is read from it."""
KEEP_RAISED, KEEP_NORMAL = 0.95, 0.6
MOST_LOSS_FRAC, LOSS_WIDTH_FRAC = 0.09, 0.01
"""Share of the output beyond which an excess is no loss, and over how much the belief changes [I]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationKind:
    """A relation by name.

    Attributes:
        name: The kind of trouble that a break of it means.
        target: Field that is explained.
        fields: Fields it needs.
        sign: 1 when too high is trouble, -1 when too low is, 0 when both are.
        below: The kind that a break downward means, where that is another.
    """

    name: str
    target: str
    fields: tuple[str, ...]
    sign: float
    below: str | None = None


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
    RelationKind(
        name="cooling",
        target="battery_c",
        fields=("battery_c", "ambient_c", "load_w"),
        sign=1.0,
        below="temperature",
    ),
    RelationKind(name="pv", target="pv_w", fields=("pv_w",), sign=-1.0),
    RelationKind(
        name="module_loss",
        target="rectifier_w",
        fields=("rectifier_w", "battery_a", "soc_frac", "load_w"),
        sign=-1.0,
    ),
    RelationKind(
        name="weak_string", target="string_gap_frac", fields=("string_gap_frac", "battery_a"), sign=1.0
    ),
    RelationKind(name="capacity_fade", target="capacity_ah", fields=("battery_a", "soc_frac"), sign=-1.0),
    RelationKind(
        name="sensor_drift",
        target="load_w",
        fields=("load_w", "rectifier_w", "bus_v", "battery_a"),
        sign=0.0,
    ),
    RelationKind(name="mains_quality", target="grid_v", fields=("grid_v",), sign=0.0),
)


def target_of(  # noqa: PLR0911 - a case for each relation
    frame: FleetFrame, kind: RelationKind, rated_w: FloatArray
) -> Floats:
    """Return the explained quantity, NaN where the relation says nothing, shape (sites, steps).

    PV is explained as the output that it would have if its peers stood at full output, so that its noise is alike
    at noon and at dawn; the DC balance as a share of what flows; `unit_of` takes both back to W.
    """
    f = frame.fields
    match kind.name:
        case "battery_voltage":
            return np.where(f["battery_a"] < DISCHARGING_A, f["bus_v"], np.nan)
        case "pv":
            peers = peer_pv(frame, rated_w)
            return np.where(peers > 0.05, f["pv_w"] / np.maximum(peers, 0.05), np.nan)
        case "module_loss":
            bulk = (f["battery_a"] > CHARGING_A) & (f["soc_frac"] < BULK_SOC)
            return np.where(bulk, f["rectifier_w"], np.nan)
        case "weak_string":
            return np.where(np.abs(f["battery_a"]) > CHARGING_A, f["string_gap_frac"], np.nan)
        case "capacity_fade":
            return capacity_ah(f["battery_a"], f["soc_frac"])
        case "sensor_drift":
            return dc_excess_w(f) / dc_flow_w(f)
        case _:
            return f[kind.target]


def unit_of(frame: FleetFrame, kind: RelationKind, rated_w: FloatArray) -> Floats:
    """Return what a target is multiplied by to be in the unit of its field, shape (sites, steps)."""
    if kind.name == "pv":
        return np.maximum(peer_pv(frame, rated_w), 0.05)
    if kind.name == "sensor_drift":
        return dc_flow_w(frame.fields)
    return np.ones_like(frame.fields[kind.fields[0]])


def drivers_of(frame: FleetFrame, kind: RelationKind) -> FloatArray:
    """Return the drivers of a relation, shape (sites, steps, drivers)."""
    f = frame.fields
    if kind.name == "cooling":
        return cooling_drivers(f["ambient_c"], f["load_w"])
    return instant_drivers(f, kind)


def instant_drivers(f: Mapping[str, Floats], kind: RelationKind) -> FloatArray:
    """Return the drivers of a relation without memory, shape (sites, steps, drivers)."""
    if kind.name == "energy_theft":
        # Losses of a rectifier: constant, linear and quadratic in its output.
        dc = f["rectifier_w"]
        return _stacked(dc, dc**2, f["aux_ac_w"])
    if kind.name == "battery_voltage":
        soc, amps = f["soc_frac"], f["battery_a"]
        knee = np.maximum(soc - 0.95, 0.0)
        return _stacked(soc, soc**2, knee, amps, amps * (25.0 - f["battery_c"]), amps * (1.0 - soc))
    if kind.name == "module_loss":
        return _stacked(f["load_w"], f["pv_w"]) if "pv_w" in f else _stacked(f["load_w"])
    return np.zeros((*f[kind.fields[0]].shape, 0))


def cooling_drivers(ambient_c: Floats, load_w: Floats) -> FloatArray:
    """Return what warms a cabinet: outside air and load, at once and through its memory, which the fit weighs."""
    slow_c = slow(ambient_c)
    return _stacked(ambient_c, slow_c, np.maximum(slow_c - 15.0, 0.0), load_w, slow(load_w))


def dc_excess_w(f: Mapping[str, Floats]) -> Floats:
    """Return by how much the load read exceeds what rectifier, PV and battery say they give, W."""
    given = f["rectifier_w"] - f["bus_v"] * f["battery_a"]
    return np.asarray(f["load_w"] - (given + f["pv_w"] if "pv_w" in f else given))


def dc_flow_w(f: Mapping[str, Floats]) -> Floats:
    """Return the power that the meters of the DC bus measure, W: what their errors grow with."""
    return np.asarray(np.abs(f["load_w"]) + np.abs(f["bus_v"] * f["battery_a"]) + 100.0)


def capacity_ah(battery_a: Floats, soc_frac: Floats) -> FloatArray:
    """Return the capacity that the last two hours of discharge speak of, Ah, NaN where they are too little.

    Charge taken out over the fall of SoC: a battery that has faded falls faster for the same charge.
    """
    out = np.full(battery_a.shape, np.nan)
    if battery_a.shape[1] <= CAPACITY_STEPS:
        return out
    taken = np.where(battery_a < 0.0, -battery_a, 0.0) * 0.25
    sums = np.cumsum(np.concatenate([np.zeros((len(taken), 1)), taken], axis=1), axis=1)
    drop = soc_frac[:, :-CAPACITY_STEPS] - soc_frac[:, CAPACITY_STEPS:]
    # The SoC of a step is that at its end: charge of the steps after the first one stands against its fall.
    charge = sums[:, CAPACITY_STEPS + 1 :] - sums[:, 1:-CAPACITY_STEPS]
    discharging = battery_a[:, CAPACITY_STEPS:] < DISCHARGING_A
    good = discharging & (drop > LEAST_DROP)
    out[:, CAPACITY_STEPS:] = np.where(good, charge / np.where(good, drop, 1.0), np.nan)
    return out


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
        odds = np.clip((added - follows) / (2.0 * noise), -30.0, 30.0)
        # A rectifier that turned a tenth of its output into heat would switch itself off: more is taken by somebody.
        share = rx / np.maximum(xx, 1e-9)
        odds = odds + np.clip((share - MOST_LOSS_FRAC) / LOSS_WIDTH_FRAC, -4.0, 10.0)
        out[:, t] = 1.0 / (1.0 + np.exp(odds))
    return out


def _stacked(*drivers: Floats) -> FloatArray:
    return np.stack(drivers, axis=-1).astype(np.float64)


def slow(values: Floats) -> FloatArray:
    """Return a first-order lag of the cabinet's memory; gaps are bridged by the site's mean."""
    count = np.maximum(np.isfinite(values).sum(axis=1, keepdims=True), 1)
    mean = np.nansum(values, axis=1, keepdims=True) / count
    bridged = np.where(np.isfinite(values), values, mean)
    keep = float(np.exp(-1.0 / CABINET_MEMORY_STEPS))
    lagged, _ = lfilter([1.0 - keep], [1.0, -keep], bridged, axis=1, zi=keep * bridged[:, :1])
    return np.asarray(np.where(np.isfinite(values), lagged, np.nan))


def best_pv_w(frame: FleetFrame) -> FloatArray:
    """Return each site's best PV output in a window as a stand-in for its rating, at least 1 W, shape (sites,)."""
    values = frame.fields["pv_w"]
    best = np.where(np.isfinite(values), values, 0.0).max(axis=1)
    return np.asarray(np.maximum(best, 1.0), dtype=np.float64)


def peer_pv(frame: FleetFrame, rated_w: FloatArray) -> Floats:
    """Return the median of the peers' output as a share of each one's rating, shape (sites, steps)."""
    return peer_common(frame.fields["pv_w"] / rated_w[:, None], frame.peers)
