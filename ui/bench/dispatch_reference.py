"""The dispatch problem as one linear programme over every site and step: exact, slow, and sharing no code with the optimiser.

Radio clusters need yes-or-no choices: with `clusters` the programme has them (small instances only), without it is
their relaxation.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from tools.planning.problem import DispatchProblem

Floats = NDArray[np.float64]
K = 1000.0


class _Model:
    def __init__(self) -> None:
        self.lo: list[float] = []
        self.hi: list[float] = []
        self.cost: list[float] = []
        self.whole: list[int] = []
        self.row: list[int] = []
        self.col: list[int] = []
        self.val: list[float] = []
        self.rlo: list[float] = []
        self.rhi: list[float] = []

    def var(self, lo: float, hi: float, cost: float = 0.0, *, whole: bool = False) -> int:
        self.lo.append(lo)
        self.hi.append(hi)
        self.cost.append(cost)
        self.whole.append(int(whole))
        return len(self.lo) - 1

    def add(self, terms: list[tuple[int, float]], lo: float, hi: float) -> None:
        at = len(self.rlo)
        for col, val in terms:
            self.row.append(at)
            self.col.append(col)
            self.val.append(val)
        self.rlo.append(lo)
        self.rhi.append(hi)

    def solve(self) -> tuple[float, Floats]:
        matrix = csr_array((self.val, (self.row, self.col)), shape=(len(self.rlo), len(self.lo)))
        got = milp(
            np.array(self.cost),
            bounds=Bounds(np.array(self.lo), np.array(self.hi)),
            constraints=LinearConstraint(matrix, np.array(self.rlo), np.array(self.rhi)),
            integrality=np.array(self.whole),
        )
        if got.x is None:
            raise RuntimeError(f"reference programme: {got.message}")
        return float(got.fun), np.asarray(got.x)


def optimum(
    problem: DispatchProblem,
    fixed_w: Floats,
    moved: NDArray[np.bool_],
    *,
    ramps: bool = True,
    clusters: bool = False,
) -> tuple[float, Floats]:
    """Return the least cost and its setpoints.

    Args:
        problem: What to solve.
        fixed_w: Setpoints of the sites that are not moved (recovery, unusable), shape (sites, steps).
        moved: Sites that are free.
        ramps: Whether the ramp limits count.
        clusters: Whether the radio clusters count.
    """
    m, g = _Model(), problem.objectives
    fixed, const = _Fixed(problem, fixed_w, moved), 0.0
    terms: dict[str, list[list[list[tuple[int, float]]]]] = {
        kind: [[[] for _ in range(problem.steps)] for _ in range(problem.feeders)]
        for kind in ("net", "up", "down")
    }
    columns: dict[int, list[tuple[int, int, int]]] = {}
    for i in np.flatnonzero(moved).tolist():
        f, share = (
            int(problem.feeder[i]),
            1.0 / float(problem.rectifier_efficiency[problem.efficiency_class[i]]),
        )
        columns[i] = _site(m, problem, i, ramps=ramps)
        const += g.terminal_value_per_wh * float(problem.initial_wh[i])
        for t, (c, d, _) in enumerate(columns[i]):
            terms["net"][f][t] += [(c, share), (d, -share)]
            terms["up"][f][t].append((c, share))
            terms["down"][f][t].append((d, share))
    for f in range(problem.feeders):
        const += _feeder(m, problem, f, terms["net"][f], fixed.at_meter_w[f])
        for t in range(problem.steps):
            m.add(terms["up"][f][t], -np.inf, float(fixed.headroom_w[f, t]) / K)
            room = max(float(problem.background_w[f, t] + problem.export_limit_w[f, t]), 0.0)
            m.add(terms["down"][f][t], -np.inf, room / K)
    if g.fleet_follow_w is not None and g.fleet_follow_weight is not None:
        for t in range(problem.steps):
            everyone = [term for f in range(problem.feeders) for term in terms["net"][f][t]]
            wanted = float(g.fleet_follow_w[t] - fixed.at_meter_w[:, t].sum())
            _follow(m, everyone, wanted, float(g.fleet_follow_weight[t]) * problem.step_h)
    if clusters:
        _clusters(m, problem, columns)
    value, x = m.solve()
    plan = fixed_w.copy()
    for i, cells in columns.items():
        plan[i] = [K * (x[c] - x[d]) for c, d, _ in cells]
    return value + const + fixed.cost, plan


class _Fixed:
    """What the sites that are not moved do to their feeders, and what they cost by themselves."""

    def __init__(self, problem: DispatchProblem, fixed_w: Floats, moved: NDArray[np.bool_]) -> None:
        g, dt = problem.objectives, problem.step_h
        self.at_meter_w = np.zeros((problem.feeders, problem.steps))
        self.headroom_w = np.maximum(problem.import_limit_w - problem.background_w, 0.0)
        self.cost = 0.0
        for i in np.flatnonzero(~moved).tolist():
            k, f = int(problem.efficiency_class[i]), int(problem.feeder[i])
            wear = 0.0 if g.ageing_per_wh is None else float(g.ageing_per_wh[k])
            for t in range(problem.steps):
                p, er = float(fixed_w[i, t]), float(problem.rectifier_efficiency[k])
                self.at_meter_w[f, t] += p / er
                self.headroom_w[f, t] = max(self.headroom_w[f, t] - max(p, 0.0) / er, 0.0)
                self.cost += wear * abs(p) * dt
                self.cost -= g.terminal_value_per_wh * dt * max(p, 0.0) * float(problem.charge_efficiency[k])
                if g.previous_w is not None:
                    self.cost += g.change_weight * dt * abs(p - float(g.previous_w[i, t]))


def _site(m: _Model, problem: DispatchProblem, i: int, *, ramps: bool) -> list[tuple[int, int, int]]:
    dt, g, k, f = problem.step_h, problem.objectives, int(problem.efficiency_class[i]), int(problem.feeder[i])
    er = float(problem.rectifier_efficiency[k])
    wear = 0.0 if g.ageing_per_wh is None else float(g.ageing_per_wh[k])
    own = problem.load_cap_w if problem.self_use_w is None else problem.self_use_w
    cells: list[tuple[int, int, int]] = []
    for t in range(problem.steps):
        price = 0.0 if g.import_price is None else float(g.import_price[f, t])
        price += 0.0 if g.carbon_kg_per_wh is None else g.carbon_price * float(g.carbon_kg_per_wh[f, t])
        above = problem.ceiling_wh[i, t] < problem.initial_wh[i]
        most = min(
            problem.max_charge_w[i, t],
            problem.rectifier_headroom_w[i, t],
            problem.connection_headroom_w[i, t] * er,
        )
        worth = -g.terminal_value_per_wh * K if t == problem.steps - 1 else 0.0
        c = m.var(0.0, 0.0 if above else float(most) / K, K * dt * (price / er + wear))
        d = m.var(
            0.0,
            float(min(problem.max_discharge_w[i, t], problem.load_cap_w[i, t])) / K,
            K * dt * (wear - price / er),
        )
        top = max(problem.ceiling_wh[i, t], problem.initial_wh[i])
        e = m.var(float(problem.floor_wh[i, t]) / K, float(top) / K, worth)
        flow = [
            (e, 1.0),
            (c, -dt * float(problem.charge_efficiency[k])),
            (d, dt / float(problem.discharge_efficiency[k])),
        ]
        begin = float(problem.initial_wh[i]) / K
        m.add([*flow, (cells[-1][2], -1.0)] if cells else flow, *((0.0, 0.0) if cells else (begin, begin)))
        if ramps and np.isfinite(problem.ramp_w[i]):
            ramp, start = float(problem.ramp_w[i]) / K, float(problem.start_w[i]) / K
            if cells:
                m.add([(c, 1.0), (d, -1.0), (cells[-1][0], -1.0), (cells[-1][1], 1.0)], -ramp, ramp)
            else:
                m.add([(c, 1.0), (d, -1.0)], start - ramp, start + ramp)
        if g.export_price is not None and g.import_price is not None:
            lost = float(g.import_price[f, t] - g.export_price[f, t]) / er
            sent = m.var(0.0, np.inf, K * dt * lost)
            m.add([(d, 1.0), (sent, -1.0)], -np.inf, float(own[i, t]) / K)
        if g.previous_w is not None and g.change_weight > 0.0:
            off = m.var(0.0, np.inf, K * dt * g.change_weight)
            old = float(g.previous_w[i, t]) / K
            m.add([(c, 1.0), (d, -1.0), (off, -1.0)], -np.inf, old)
            m.add([(c, 1.0), (d, -1.0), (off, 1.0)], old, np.inf)
        cells.append((c, d, e))
    if np.isfinite(problem.discharge_budget_wh[i]):
        m.add([(d, dt) for _, d, _ in cells], -np.inf, float(problem.discharge_budget_wh[i]) / K)
    return cells


def _feeder(
    m: _Model, problem: DispatchProblem, f: int, change: list[list[tuple[int, float]]], base: Floats
) -> float:
    g, dt = problem.objectives, problem.step_h
    peak = m.var(-np.inf, np.inf, K * g.peak_weight)
    least = -np.inf if g.billed_peak_w is None else float(g.billed_peak_w[f]) / K
    billed = m.var(least, np.inf, K * g.demand_charge_per_w)
    if g.peak_weight == 0.0 and g.demand_charge_per_w == 0.0:
        m.add([(peak, 1.0)], 0.0, np.inf)
    m.add([(billed, 1.0), (peak, -1.0)], 0.0, np.inf)
    const = 0.0
    for t, terms in enumerate(change):
        level = (problem.background_w[f, t] + base[t]) / K
        m.add([*terms, (peak, -1.0)], -np.inf, -float(level))
        if g.excess_weight > 0.0:
            over = m.var(0.0, np.inf, K * dt * g.excess_weight)
            m.add([*terms, (over, -1.0)], -np.inf, float(problem.import_limit_w[f, t] / K - level))
        if g.follow_w is not None and g.follow_weight is not None:
            _follow(m, terms, float(g.follow_w[f, t] - base[t]), float(g.follow_weight[f, t]) * dt)
        price = 0.0 if g.import_price is None else float(g.import_price[f, t])
        price += 0.0 if g.carbon_kg_per_wh is None else g.carbon_price * float(g.carbon_kg_per_wh[f, t])
        const += price * dt * float(base[t])
    return const


def _follow(m: _Model, terms: list[tuple[int, float]], wanted_w: float, weight: float) -> None:
    under, over = m.var(0.0, np.inf, K * weight), m.var(0.0, np.inf, K * weight)
    m.add([*terms, (under, 1.0), (over, -1.0)], wanted_w / K, wanted_w / K)


def _clusters(m: _Model, problem: DispatchProblem, columns: dict[int, list[tuple[int, int, int]]]) -> None:
    """A yes-or-no `low` per site and step, its share limited per cluster."""
    low_now = problem.initial_wh < problem.low_wh
    for cluster in range(problem.low_share.size):
        members = np.flatnonzero(problem.radio_cluster == cluster)
        may = max(int(problem.low_share[cluster] * members.size + 1e-9), int(low_now[members].sum()))
        still = sum(1 for i in members.tolist() if i not in columns and low_now[i])
        for t in range(problem.steps):
            marks: list[tuple[int, float]] = []
            for i in members.tolist():
                if i in columns:
                    mark = m.var(0.0, 1.0, whole=True)
                    low = float(problem.low_wh[i]) / K
                    m.add([(columns[i][t][2], 1.0), (mark, low)], low, np.inf)
                    marks.append((mark, 1.0))
            if marks:
                m.add(marks, -np.inf, float(may - still))
