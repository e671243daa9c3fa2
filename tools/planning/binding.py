"""Which limits stood between a plan and what was asked, named per feeder and run of steps."""

import numpy as np

from tools.planning.cost import import_change_w
from tools.planning.prepare import Prepared
from tools.planning.problem import Bools, Floats
from tools.planning.solution import Binding
from tools.planning.tradeoff import fleet_shortfall_w, shortfall_w

NOTICE_W = 1.0
"""Shortfall below which nothing is reported."""


def find_bindings(prepared: Prepared, setpoint_w: Floats) -> tuple[Binding, ...]:
    """Name what holds sites back wherever something asked for is missing."""
    problem = prepared.problem
    change = import_change_w(problem, setpoint_w)
    short, fleet_short = shortfall_w(problem, change), fleet_shortfall_w(problem, change)
    found: list[Binding] = []
    for feeder in np.flatnonzero((short > NOTICE_W).any(axis=1)).tolist():
        relief = _wants_relief(prepared, feeder)
        found += _name(
            prepared,
            setpoint_w,
            feeder=feeder,
            rows=problem.feeder == feeder,
            short_w=short[feeder],
            relief=relief,
        )
    if (fleet_short > NOTICE_W).any() and problem.objectives.fleet_follow_w is not None:
        relief = problem.objectives.fleet_follow_w < 0.0
        found += _name(
            prepared,
            setpoint_w,
            feeder=-1,
            rows=np.ones(problem.sites, dtype=bool),
            short_w=fleet_short,
            relief=relief,
        )
    return tuple(found)


def _wants_relief(prepared: Prepared, feeder: int) -> Bools:
    """Say in which steps more discharge was wanted; elsewhere it was more charge."""
    goal = prepared.problem.objectives
    relief = np.ones(prepared.problem.steps, dtype=bool)
    if goal.follow_w is not None and goal.follow_weight is not None:
        relief = ~((goal.follow_w[feeder] > 0.0) & (goal.follow_weight[feeder] > 0.0))
    return relief


def _name(
    prepared: Prepared, setpoint_w: Floats, *, feeder: int, rows: Bools, short_w: Floats, relief: Bools
) -> list[Binding]:
    """Return one finding per constraint and run of steps."""
    sites = np.flatnonzero(rows)
    blocked: dict[str, tuple[Floats, Floats]] = {}
    for direction, steps in ((-1.0, relief), (1.0, ~relief)):
        here = np.flatnonzero((short_w > NOTICE_W) & steps)
        if here.size == 0 or sites.size == 0:
            continue
        for name, held in _held_back(prepared, setpoint_w, sites, here, direction).items():
            power, count = blocked.setdefault(name, (np.zeros(short_w.shape), np.zeros(short_w.shape)))
            power[here] += held.sum(axis=0)
            count[here] += (held > NOTICE_W).sum(axis=0)
    out: list[Binding] = []
    for name, (power, count) in blocked.items():
        for first, last in _runs(power > NOTICE_W):
            worst = first + int(np.argmax(power[first : last + 1]))
            out.append(
                Binding(
                    feeder=feeder, first_step=first, last_step=last, constraint=name, sites=int(count[worst]),
                    blocked_w=float(power[worst]), shortfall_w=float(short_w[first : last + 1].max()),
                )
            )  # fmt: skip
    return sorted(out, key=lambda one: (one.first_step, -one.blocked_w))


def _held_back(
    prepared: Prepared, setpoint_w: Floats, sites: np.ndarray, steps: np.ndarray, direction: float
) -> dict[str, Floats]:
    """Attribute each site's unused rated power at each step to the limit nearest to it, shape (sites, steps) each."""
    problem, place = prepared.problem, np.ix_(sites, steps)
    plan = setpoint_w[place]
    rated = (problem.max_charge_w if direction > 0.0 else problem.max_discharge_w)[place]
    own = (prepared.own_charge_w if direction > 0.0 else prepared.own_discharge_w)[place]
    idle = np.maximum(rated - np.maximum(direction * plan, 0.0), 0.0)
    state = np.zeros(idle.shape, dtype=bool)
    out: dict[str, Floats] = {}

    def take(name: str, which: Bools, amount: Floats) -> None:
        nonlocal state
        now = np.broadcast_to(which, idle.shape) & ~state
        if now.any():
            out[name] = out.get(name, np.zeros(idle.shape)) + np.where(now, amount, 0.0)
        state |= now

    take("not_eligible", ~problem.eligible[sites, None], idle)
    take("start_power", prepared.unused[sites, None], idle)
    take("recovery", prepared.recovery[sites, None], idle)
    at_own = np.maximum(direction * plan, 0.0) >= own - NOTICE_W
    for name, limit in _own_limits(prepared, place, sites, direction).items():
        take(
            name,
            at_own & (limit <= own + NOTICE_W),
            np.maximum(idle, 2.0 * NOTICE_W if name.endswith("power") else 0.0),
        )
    before = np.concatenate([problem.start_w[:, None], setpoint_w[:, :-1]], axis=1)[place]
    after = np.concatenate([setpoint_w[:, 1:], setpoint_w[:, -1:]], axis=1)[place]
    ramp = problem.ramp_w[sites, None]
    left = np.maximum(own - np.maximum(direction * plan, 0.0), 0.0)
    stuck = (direction * (plan - before) >= ramp - NOTICE_W) | (direction * (plan - after) >= ramp - NOTICE_W)
    take("ramp", stuck, left)
    spent = np.maximum(-setpoint_w[sites], 0.0).sum(axis=1) * problem.step_h
    if direction < 0.0:
        take("budget", (spent >= problem.discharge_budget_wh[sites] - NOTICE_W)[:, None], left)
        raised = (prepared.floor_wh > problem.floor_wh + NOTICE_W)[place]
        take("radio_cluster", raised, left)
        take("floor", np.ones_like(state), left)
    else:
        full = prepared.headroom_w[problem.feeder[sites]][:, steps]
        take(
            "charge_headroom",
            _charging_w(prepared, setpoint_w)[problem.feeder[sites]][:, steps] >= full - NOTICE_W,
            left,
        )
        take("ceiling", np.ones_like(state), left)
    return out


def _charging_w(prepared: Prepared, setpoint_w: Floats) -> Floats:
    """Return AC charging of the moved sites by feeder, shape (feeders, steps)."""
    moved = np.where(prepared.active[:, None], np.maximum(setpoint_w, 0.0), 0.0)
    return import_change_w(prepared.problem, moved)


def _own_limits(
    prepared: Prepared, place: tuple[np.ndarray, ...], sites: np.ndarray, direction: float
) -> dict[str, Floats]:
    problem = prepared.problem
    if direction < 0.0:
        return {"load_cap": problem.load_cap_w[place], "power": problem.max_discharge_w[place]}
    return {
        "rectifier": problem.rectifier_headroom_w[place],
        "connection": problem.connection_headroom_w[place] * prepared.eta_r[sites, None],
        "charge_power": problem.max_charge_w[place],
        "ceiling": prepared.own_charge_w[place],
    }


def _runs(mask: Bools) -> list[tuple[int, int]]:
    """Return first and last index of every run of true values."""
    edge = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edge.reshape(-1, 2)]
