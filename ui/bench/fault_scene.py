"""A simulated fleet with faults of known time and kind, to measure detectors on. Everything here is simulated.

Loads come from real traffic through the simulator's load model; the rest of the site is a power balance with
measurement noise. Faults run from mild to strong; parameters are marked [I] where they are our own choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from edge.simulator.battery import tabulate
from edge.simulator.load import LoadModel
from tools.anomaly.frame import FleetFrame
from tools.anomaly.kinds import Kind

STEP = timedelta(minutes=15)
DAY = 96
START = datetime(2024, 5, 6, tzinfo=UTC)  # a Monday
ZONE = "Europe/Rome"
SITES_PER_FAULT = 24
PV_RATED_W = 800.0

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One injected fault: columns [first, last) of a site."""

    kind: Kind
    site: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A frame, and what was done to it."""

    frame: FleetFrame
    faults: tuple[Fault, ...]

    def labels(self, kind: Kind | None = None) -> Bools:
        """Return where a fault of a kind (or any) is present, shape (sites, steps)."""
        out = np.zeros((len(self.frame.site_ids), self.frame.steps), dtype=bool)
        for fault in self.faults:
            if kind is None or fault.kind is kind:
                out[fault.site, fault.first : fault.last] = True
        return out


def make_scene(seed: int, *, sites: int = 64, learn_days: int = 21, test_days: int = 14) -> Scene:
    """Return a fleet of which each kind strikes one site in twenty-four, after `learn_days` of normal operation.

    In the learning days one site in twenty has a fault too, unlabelled: a learning window is never clean.
    """
    rng = np.random.default_rng(seed)
    days = learn_days + test_days
    steps = days * DAY
    model = LoadModel(seed=seed, time_zone=ZONE)
    rows = np.arange(sites)
    unix_s: Floats = START.timestamp() + np.arange(steps, dtype=np.float64) * STEP.total_seconds()
    load = model.site_load_w(rows, unix_s, model.peak_load_w(rows))
    world = _World(
        load=load,
        ambient=model.ambient_c(rows, unix_s),
        pv=model.pv_w(rows, unix_s, np.full(sites, PV_RATED_W), np.full(sites, 45.5), np.full(sites, 9.2)),
        resistance=np.ones((sites, steps)),
        loss=np.zeros((sites, steps)),
        taken=np.zeros((sites, steps)),
        heat=np.zeros((sites, steps)),
        capacity=np.ones((sites, steps)),
        string=np.zeros((sites, steps)),
        modules=rng.integers(3, 6, sites),
        lost=np.zeros((sites, steps), dtype=bool),
        mains=np.ones((sites, steps)),
    )
    faults: list[Fault] = []
    for kind in Kind:
        count = max(sites // SITES_PER_FAULT, 2)
        for site in rng.choice(sites, count, replace=False):
            first = int(rng.integers(learn_days * DAY, steps - DAY))
            faults.append(_strike(rng, world, kind, int(site), first, steps))
    for site in rng.choice(sites, max(sites // 20, 1), replace=False):
        _strike(
            rng, world, Kind.LOAD, int(site), int(rng.integers(0, (learn_days - 4) * DAY)), learn_days * DAY
        )
    frame = _frame(rng, world, sites)
    for fault in faults:
        _spoil_reading(rng, frame.fields, fault)
    return Scene(frame=frame, faults=tuple(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """True quantities, shape (sites, steps); faults change them in place before readings are made."""

    load: Floats
    ambient: Floats
    pv: Floats
    resistance: Floats  # factor
    loss: Floats  # added share of the rectifier's output
    taken: Floats  # W behind the meter
    heat: Floats  # degC
    capacity: Floats  # factor
    string: Floats  # share by which one string gives less
    modules: npt.NDArray[np.int64]  # rectifier modules of each site, shape (sites,)
    lost: Bools  # one module gives nothing
    mains: Floats  # factor of the mains voltage


def _strike(rng: np.random.Generator, world: _World, kind: Kind, site: int, first: int, steps: int) -> Fault:
    """Change the world as a fault of the kind would, and return where [I: sizes and lengths]."""
    hours = {Kind.LINK_GAP: (1, 12), Kind.SENSOR_STUCK: (3, 24), Kind.LOAD: (1, 60)}.get(kind, (24, 96))
    length = int(rng.uniform(*hours) * 4)
    last = min(first + length, steps)
    part = slice(first, last)
    size = rng.uniform(0.0, 1.0)
    ramp = np.minimum(np.arange(last - first) / max(0.3 * (last - first), 1.0), 1.0)
    if kind is Kind.LOAD:
        shape = ramp if rng.uniform() < 0.3 else np.ones(last - first)
        world.load[site, part] *= 1.0 + (0.12 + 0.25 * size) * shape * rng.choice([-1.0, 1.0])
    elif kind is Kind.ENERGY_THEFT:
        world.taken[site, part] = (150.0 + 450.0 * size) * (1.0 + 0.1 * rng.standard_normal(last - first))
    elif kind is Kind.RECTIFIER_EFFICIENCY:
        world.loss[site, part] = (0.02 + 0.05 * size) * ramp
    elif kind is Kind.BATTERY_VOLTAGE:
        last = steps  # resistance does not come back
        world.resistance[site, first:] = 1.0 + (0.5 + 1.5 * size)
    elif kind is Kind.COOLING:
        world.heat[site, part] = (3.0 + 6.0 * size) * ramp
    elif kind is Kind.TEMPERATURE:
        world.heat[site, part] = -(3.0 + 6.0 * size) * ramp
    elif kind is Kind.PV:
        world.pv[site, part] *= 0.75 - 0.5 * size
    else:
        last = _strike_lately(rng, world, kind, site, first, last, size)
    return Fault(kind=kind, site=site, first=first, last=last)


def _strike_lately(
    rng: np.random.Generator, world: _World, kind: Kind, site: int, first: int, last: int, size: float
) -> int:
    """Change the world as a fault of the other kinds would, and return its end [I: sizes]."""
    steps = int(world.load.shape[1])
    if kind is Kind.MODULE_LOSS:
        world.lost[site, first:] = True  # until somebody replaces it
        return steps
    if kind is Kind.WEAK_STRING:
        world.string[site, first:] = 0.15 + 0.45 * size
        return steps
    if kind is Kind.CAPACITY_FADE:
        world.capacity[site, first:] = 0.9 - 0.3 * size
        return steps
    if kind is Kind.MAINS_QUALITY:
        flicker = 0.02 * size * rng.standard_normal(last - first)
        world.mains[site, first:last] = 1.0 + (0.04 + 0.06 * size) * rng.choice([-1.0, 1.0]) + flicker
    return last


def _spoil_reading(rng: np.random.Generator, fields: dict[str, Floats] | object, fault: Fault) -> None:
    """Freeze, bend or exchange sensors, or silence the site."""
    assert isinstance(fields, dict)
    part = slice(fault.first, fault.last)
    length = fault.last - fault.first
    if fault.kind is Kind.SENSOR_STUCK:
        name = str(rng.choice(["load_w", "grid_w", "battery_c"]))
        fields[name][fault.site, part] = fields[name][fault.site, fault.first]
    elif fault.kind is Kind.SENSOR_DRIFT:
        ramp = np.minimum(np.arange(length) / max(0.5 * length, 1.0), 1.0)
        gain = rng.uniform(0.04, 0.12) * rng.choice([-1.0, 1.0])
        name = str(rng.choice(["load_w", "rectifier_w"]))
        fields[name][fault.site, part] *= 1.0 + gain * ramp
    elif fault.kind is Kind.SENSOR_SWAPPED:
        one, other = (("battery_c", "ambient_c"), ("load_w", "rectifier_w"))[int(rng.integers(2))]
        kept = fields[one][fault.site, part].copy()
        fields[one][fault.site, part] = fields[other][fault.site, part]
        fields[other][fault.site, part] = kept
    elif fault.kind is Kind.LINK_GAP:
        for values in fields.values():
            values[fault.site, part] = np.nan


def _frame(rng: np.random.Generator, world: _World, sites: int) -> FleetFrame:
    """Return the readings of a world: an evening discharge, a recharge, losses, heat and meters' noise."""
    steps = int(world.load.shape[1])
    slot = np.arange(steps) % DAY
    capacity_ah = rng.choice([200.0, 300.0, 400.0], sites)[:, None]
    rate = rng.uniform(0.08, 0.2, (sites, 1))
    begins = rng.integers(64, 72, (sites, 1))
    out = (slot >= begins) & (slot < begins + 10)
    back = (slot >= begins + 12) & (slot < begins + 12 + 11)
    amps = capacity_ah * rate * (-1.0 * out + (10.0 / 11.0) * back)
    # A rectifier gives and never takes: discharge stops at what load and PV leave.
    amps = np.maximum(amps, -np.maximum(world.load - world.pv - 50.0, 0.0) / 54.0)
    # Rectifiers are sized so that the hardest recharge leaves a tenth of their power.
    hardest = (world.load + 52.0 * np.maximum(amps, 0.0)).max(axis=1, keepdims=True)
    rated = hardest / 0.9
    limit = rated * np.where(world.lost, 1.0 - 1.0 / world.modules[:, None], 1.0)
    wanted = world.load + 52.0 * amps - world.pv
    amps = np.where(back, np.maximum(amps - np.maximum(wanted - limit, 0.0) / 52.0, 0.1), amps)
    able_ah = capacity_ah * world.capacity
    daily = np.cumsum((amps / able_ah * 0.25).reshape(sites, -1, DAY), axis=2).reshape(sites, steps)
    soc = np.clip(0.99 + daily, 0.02, 1.0)
    table = tabulate()
    grid = np.linspace(0.0, 1.0, table.discharge_v.shape[1])
    rest = np.where(
        amps < 0.0, np.interp(soc, grid, table.discharge_v[0]), np.interp(soc, grid, table.charge_v[0])
    )
    battery_c = 20.0 + 0.35 * (world.ambient - 14.0) + world.heat + 0.0008 * (world.load - 2000.0)
    ohm = 1.5 / capacity_ah * world.resistance * (1.0 + 0.02 * np.maximum(25.0 - battery_c, 0.0))
    bus = np.where(np.abs(amps) > 0.0, rest + amps * ohm, 54.4)
    dc = np.maximum(world.load + bus * amps - world.pv, 0.0)
    losses = dc * (0.035 + world.loss) + 0.01 * rated * (dc / rated) ** 2 + 0.003 * rated
    aux = 120.0 + 18.0 * np.maximum(world.ambient - 12.0, 0.0)
    ac = dc + losses + aux + world.taken
    uneven = rng.uniform(0.01, 0.06, (sites, 1))
    angle = 2.0 * np.pi * slot / DAY
    grid_v = 230.0 * world.mains * (1.0 + rng.uniform(0.0, 0.012, (sites, 1)) * np.cos(angle - 1.0))

    def read(values: Floats, share: float, step: float) -> Floats:
        noisy = values * (1.0 + share * rng.standard_normal(values.shape)) + step * rng.standard_normal(
            values.shape
        )
        return np.asarray(np.round(noisy / step) * step)

    fields = {
        "load_w": read(world.load, 0.003, 1.0),
        "grid_w": read(ac, 0.005, 1.0),
        "rectifier_w": np.maximum(read(dc, 0.003, 1.0), 0.0),
        "aux_ac_w": read(aux, 0.01, 1.0),
        "bus_v": read(bus, 0.0, 0.02),
        "battery_a": np.where(np.abs(amps) > 0.0, read(amps, 0.005, 0.05), 0.0),
        "soc_frac": np.clip(read(soc, 0.0, 0.002), 0.0, 1.0),
        "battery_c": read(battery_c, 0.0, 0.1),
        "ambient_c": read(world.ambient, 0.0, 0.1),
        "string_gap_frac": np.abs(read(uneven + world.string, 0.02, 0.01)),
        "grid_v": read(grid_v, 0.006, 0.1),
        "pv_w": np.where(world.pv > 5.0, read(world.pv, 0.005, 1.0), 0.0),
    }
    return FleetFrame(
        site_ids=tuple(f"sim-{k:04d}" for k in range(sites)),
        start=START,
        step=STEP,
        zone=ZONE,
        fields=fields,
        peers=np.arange(sites, dtype=np.int64) // 6,
    )
