"""The super-battery relaxation as a linear programme: its value is a bound, its solution a target for the split."""

from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import coo_array

from tools.planning.cost import meter_price, site_cost
from tools.planning.cuts import Cut, Member, find_cuts, make_member
from tools.planning.groups import Groups, Limits
from tools.planning.prepare import Prepared
from tools.planning.problem import Floats, Ints

KILO = 1000.0
"""The programme counts in kW and kWh: numbers near one keep a simplex solver accurate."""
SAME = 1e-4
"""Share of its power by which a group may differ and is not looked at again."""
FRUGAL = 1e-5
"""Price of moving energy, as a share of the dearest term, that settles ties between targets."""
BOUND_SLACK = 1e-7
"""Share of a bound that is given away for the solver's tolerance."""


class SolverError(RuntimeError):
    """The LP solver did not reach an optimum; carries its own words."""


class _Rows:
    """Collects a sparse linear programme block by block."""

    def __init__(self) -> None:
        self.low: list[Floats] = []
        self.high: list[Floats] = []
        self.cost: list[Floats] = []
        self.columns = 0
        self.rows = 0
        self.row_low: list[Floats] = []
        self.row_high: list[Floats] = []
        self.cells: list[tuple[Ints, Ints, Floats]] = []

    def column(
        self, shape: tuple[int, ...], low: Floats | float, high: Floats | float, price: Floats | float
    ) -> Ints:
        size = int(np.prod(shape))
        for store, value in ((self.low, low), (self.high, high), (self.cost, price)):
            store.append(np.broadcast_to(np.asarray(value, dtype=np.float64), shape).ravel())
        self.columns += size
        return np.arange(self.columns - size, self.columns).reshape(shape)

    def row(self, shape: tuple[int, ...], low: Floats | float, high: Floats | float) -> Ints:
        size = int(np.prod(shape))
        self.row_low.append(np.broadcast_to(np.asarray(low, dtype=np.float64), shape).ravel())
        self.row_high.append(np.broadcast_to(np.asarray(high, dtype=np.float64), shape).ravel())
        self.rows += size
        return np.arange(self.rows - size, self.rows).reshape(shape)

    def forget(self) -> None:
        """Let go of everything but the prices once the solver has its copy."""
        for store in (self.low, self.high, self.row_low, self.row_high):
            store.clear()
        self.cells.clear()

    def put(self, row: Ints, column: Ints, value: Floats | float) -> None:
        row, column = np.broadcast_arrays(row, column)
        values = np.broadcast_to(np.asarray(value, dtype=np.float64), row.shape)
        self.cells.append((row.ravel(), column.ravel(), values.ravel()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """Value of the programme and what it asks of each group, shape (groups, steps), W."""

    value: float
    charge_w: Floats
    discharge_w: Floats


class Relaxation:
    """The relaxation of some feeders; those that share no term are solved one by one."""

    def __init__(self, prepared: Prepared, groups: Groups, feeders: Ints) -> None:
        self._prepared = prepared
        self._groups = groups
        self._feeders = feeders
        self._mine = np.flatnonzero(np.isin(groups.feeder, feeders))
        self._members: tuple[Limits, list[Member]] | None = None
        self._whole: list[Floats | None] = []  # powers of each group with which it broke no cut
        self._rows = _Rows()
        self._group_columns()
        self._feeder_columns()
        self._solver = self._load()

    @property
    def mine(self) -> Ints:
        """Groups on the feeders of this programme."""
        return self._mine

    def _group_columns(self) -> None:
        problem, groups, mine, rows = self._prepared.problem, self._groups, self._mine, self._rows
        goal, step_h, kind = problem.objectives, problem.step_h, self._groups.efficiency_class[self._mine]
        shape = (mine.size, problem.steps)
        eta_r = problem.rectifier_efficiency[kind][:, None]
        meter = meter_price(problem)[groups.feeder[mine]] * KILO * step_h / eta_r
        wear = np.zeros((mine.size, 1))
        if goal.ageing_per_wh is not None:
            wear = goal.ageing_per_wh[kind][:, None] * KILO * step_h
        worth = np.zeros(shape)
        worth[:, -1] = -goal.terminal_value_per_wh * KILO
        self._charge = rows.column(shape, 0.0, 0.0, meter + wear)
        self._discharge = rows.column(shape, 0.0, 0.0, wear - meter)
        self._energy = rows.column(shape, 0.0, 0.0, worth)
        self._balance(shape, kind)
        self._steps(shape)
        budget = groups.budget_wh[mine] / KILO
        spent = rows.row((mine.size,), -np.inf, budget)
        if np.isfinite(budget).any():
            rows.put(spent[:, None], self._discharge, step_h)
        if goal.export_price is not None and goal.import_price is not None:
            lost = (goal.import_price - goal.export_price)[groups.feeder[mine]] * KILO * step_h / eta_r
            sent = rows.column(shape, 0.0, np.inf, lost)
            over = rows.row(shape, -np.inf, groups.self_use_w[mine] / KILO)
            rows.put(over, self._discharge, 1.0)
            rows.put(over, sent, -1.0)
        if goal.previous_w is not None and goal.change_weight > 0.0:
            moved = rows.column(shape, 0.0, np.inf, goal.change_weight * KILO * step_h)
            for sign in (1.0, -1.0):
                off = rows.row(shape, -np.inf, sign * groups.previous_w[mine] / KILO)
                rows.put(off, self._charge, sign)
                rows.put(off, self._discharge, -sign)
                rows.put(off, moved, -1.0)

    def _balance(self, shape: tuple[int, int], kind: Ints) -> None:
        problem, rows, step_h = self._prepared.problem, self._rows, self._prepared.problem.step_h
        first = np.zeros(shape)
        first[:, 0] = self._groups.initial_wh[self._mine] / KILO
        row = rows.row(shape, first, first)
        rows.put(row, self._energy, 1.0)
        rows.put(row[:, 1:], self._energy[:, :-1], -1.0)
        rows.put(row, self._charge, -step_h * problem.charge_efficiency[kind][:, None])
        rows.put(row, self._discharge, step_h / problem.discharge_efficiency[kind][:, None])

    def _steps(self, shape: tuple[int, int]) -> None:
        """Change of power from one step to the next; its limits are set when solving."""
        row = self._ramp = self._rows.row(shape, -np.inf, np.inf)
        for column, sign in ((self._charge, 1.0), (self._discharge, -1.0)):
            self._rows.put(row, column, sign)
            self._rows.put(row[:, 1:], column[:, :-1], -sign)

    def _at_meter(self, row: Ints, sign: float) -> None:
        """Add sign x the change of feeder import to `row`, shape (feeders, steps)."""
        place = np.searchsorted(self._feeders, self._groups.feeder[self._mine])
        eta_r = self._prepared.problem.rectifier_efficiency[self._groups.efficiency_class[self._mine]][
            :, None
        ]
        self._rows.put(row[place], self._charge, sign / eta_r)
        self._rows.put(row[place], self._discharge, -sign / eta_r)

    def _feeder_columns(self) -> None:
        prepared, problem, rows = self._prepared, self._prepared.problem, self._rows
        goal, step_h, here = problem.objectives, problem.step_h, self._feeders
        shape = (here.size, problem.steps)
        fixed = prepared.fixed_at_meter_w
        base = (problem.background_w + fixed)[here] / KILO
        place = np.searchsorted(here, self._groups.feeder[self._mine])
        eta_r = problem.rectifier_efficiency[self._groups.efficiency_class[self._mine]][:, None]
        for column, limit in ((self._charge, prepared.headroom_w), (self._discharge, prepared.room_w)):
            row = rows.row(shape, -np.inf, limit[here] / KILO)
            rows.put(row[place], column, 1.0 / eta_r)
        self._stored = rows.row(shape, -np.inf, np.inf)
        rows.put(self._stored[place], self._energy, 1.0)
        if goal.excess_weight > 0.0:
            over = rows.column(shape, 0.0, np.inf, goal.excess_weight * KILO * step_h)
            row = rows.row(shape, -np.inf, problem.import_limit_w[here] / KILO - base)
            self._at_meter(row, 1.0)
            rows.put(row, over, -1.0)
        if goal.peak_weight > 0.0 or goal.demand_charge_per_w > 0.0:
            self._peak(base)
        if goal.follow_w is not None and goal.follow_weight is not None:
            row = self._deviation(goal.follow_w[here] - fixed[here], goal.follow_weight[here])
            self._at_meter(row, 1.0)
        if goal.fleet_follow_w is not None and goal.fleet_follow_weight is not None:
            row = self._deviation(goal.fleet_follow_w - fixed.sum(axis=0), goal.fleet_follow_weight)
            self._at_meter(np.broadcast_to(row, shape), 1.0)

    def _peak(self, base: Floats) -> None:
        goal, rows, count = self._prepared.problem.objectives, self._rows, self._feeders.size
        peak = rows.column((count, 1), -np.inf, np.inf, goal.peak_weight * KILO)
        billed = -np.inf if goal.billed_peak_w is None else goal.billed_peak_w[self._feeders, None] / KILO
        paid = rows.column((count, 1), billed, np.inf, goal.demand_charge_per_w * KILO)
        row = rows.row(base.shape, -np.inf, -base)
        self._at_meter(row, 1.0)
        rows.put(row, np.broadcast_to(peak, base.shape), -1.0)
        link = rows.row((count, 1), -np.inf, 0.0)
        rows.put(link, peak, 1.0)
        rows.put(link, paid, -1.0)

    def _deviation(self, wanted_w: Floats, weight: Floats) -> Ints:
        """Rows `change + under - over = wanted` with both deviations priced."""
        rows, shape = self._rows, wanted_w.shape
        price = weight * KILO * self._prepared.problem.step_h
        row = rows.row(shape, wanted_w / KILO, wanted_w / KILO)
        rows.put(row, rows.column(shape, 0.0, np.inf, price), 1.0)
        rows.put(row, rows.column(shape, 0.0, np.inf, price), -1.0)
        return row

    def _load(self) -> highspy.Highs:
        rows = self._rows
        row, column, value = (np.concatenate(part) for part in zip(*rows.cells, strict=True))
        matrix = coo_array((value, (row, column)), shape=(rows.rows, rows.columns)).tocsc()
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = rows.columns, rows.rows
        model.col_cost_ = np.concatenate(rows.cost)
        model.col_lower_, model.col_upper_ = np.concatenate(rows.low), np.concatenate(rows.high)
        model.row_lower_, model.row_upper_ = np.concatenate(rows.row_low), np.concatenate(rows.row_high)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr, matrix.indices
        model.a_matrix_.value_ = matrix.data
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(model)
        rows.forget()
        return solver

    def solve(
        self,
        limits: Limits,
        charge_cap_w: Floats | None = None,
        discharge_cap_w: Floats | None = None,
        *,
        cuts: int = 0,
    ) -> Answer:
        """Solve under `limits` and further caps, all of shape (groups of the fleet, steps), with so many rounds of cuts.

        Cuts stay for later solves: limits of later solves have to be tighter, not looser.
        """
        self._set(limits, charge_cap_w, discharge_cap_w)
        answer = self._run()
        for _ in range(cuts):
            if self._cut(limits, answer) == 0:
                break
            answer = self._run()
        return answer

    def _set(self, limits: Limits, charge_cap_w: Floats | None, discharge_cap_w: Floats | None) -> None:
        mine, steps = self._mine, self._prepared.problem.steps
        charge, discharge = limits.charge_w[mine], limits.discharge_w[mine]
        if charge_cap_w is not None:
            charge = np.minimum(charge, charge_cap_w[mine])
        if discharge_cap_w is not None:
            discharge = np.minimum(discharge, discharge_cap_w[mine])
        self._bound(self._charge, 0.0, charge)
        self._bound(self._discharge, 0.0, discharge)
        self._bound(self._energy, limits.floor_wh[mine], limits.ceiling_wh[mine])
        ramp = np.repeat(limits.ramp_w[mine, None], steps, axis=1) / KILO
        start = np.zeros_like(ramp)
        start[:, 0] = self._groups.start_w[mine] / KILO
        low, high = start - ramp, start + ramp
        self._change_rows(self._ramp, low, high)
        self._change_rows(
            self._stored, limits.feeder_floor_wh[self._feeders] / KILO, np.full(self._stored.shape, np.inf)
        )

    def _change_rows(self, rows: Ints, low: Floats, high: Floats) -> None:
        index = rows.ravel().astype(np.int32)
        self._solver.changeRowsBounds(index.size, index, low.ravel(), high.ravel())  # type: ignore[attr-defined]

    def be_frugal(self) -> None:
        """From now on prefer, among plans of equal cost, the one that moves least: answers are no bounds any more."""
        prices = np.concatenate(self._rows.cost)
        columns = np.concatenate([self._charge.ravel(), self._discharge.ravel()]).astype(np.int32)
        little = FRUGAL * float(np.abs(prices).max(initial=0.0))
        self._solver.changeColsCost(columns.size, columns, prices[columns] + little)

    def _run(self) -> Answer:
        if self._rows.columns == 0:
            none = np.zeros(self._charge.shape)
            return Answer(value=0.0, charge_w=none, discharge_w=none)
        self._solver.run()
        status = self._solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"feeders {self._feeders.tolist()}: {self._solver.modelStatusToString(status)}")
        found = np.asarray(self._solver.getSolution().col_value)
        value = float(self._solver.getInfo().objective_function_value)
        return Answer(
            value=value - BOUND_SLACK * (1.0 + abs(value)),
            charge_w=np.maximum(found[self._charge], 0.0) * KILO,
            discharge_w=np.maximum(found[self._discharge], 0.0) * KILO,
        )

    def _cut(self, limits: Limits, answer: Answer) -> int:
        """Add the cuts that the answer breaks and return how many."""
        if self._members is None or self._members[0] is not limits:  # rounds of one bound share them
            made = [make_member(self._prepared, self._groups, limits, group) for group in self._mine.tolist()]
            self._members = (limits, made)
            self._whole = [None] * len(made)
        asked = np.concatenate([answer.charge_w, answer.discharge_w], axis=1)
        found: list[tuple[int, Cut]] = []
        for at, member in enumerate(self._members[1]):
            if self._kept(at, asked[at]):
                continue
            cuts = find_cuts(member, answer.charge_w[at], answer.discharge_w[at])
            self._whole[at] = None if cuts else asked[at]
            found += [(at, cut) for cut in cuts]
        self._add(found)
        return len(found)

    def _kept(self, at: int, asked_w: Floats) -> bool:
        """Return whether a group broke no cut with (nearly) the same powers before."""
        whole = self._whole[at]
        return whole is not None and float(np.abs(asked_w - whole).sum()) <= SAME * float(asked_w.sum())

    def add(self, group: int, cut: Cut) -> None:
        """Hold one group to `cut` from now on."""
        self._add([(int(np.searchsorted(self._mine, group)), cut)])

    def _add(self, cuts: list[tuple[int, Cut]]) -> None:
        if not cuts:
            return
        problem = self._prepared.problem
        columns: list[Ints] = []
        values: list[Floats] = []
        for at, cut in cuts:
            kind = self._groups.efficiency_class[self._mine[at]]
            less, more = self._charge[at], self._discharge[at]
            less_wh = problem.step_h * float(problem.charge_efficiency[kind])
            more_wh = problem.step_h / float(problem.discharge_efficiency[kind])
            if not cut.discharging:
                less, more, less_wh, more_wh = more, less, more_wh, less_wh
            columns.append(np.concatenate([more[cut.chosen], less[cut.window]]))
            values += [np.full(cut.chosen.size, more_wh), np.full(cut.window.size, -less_wh)]
        starts = np.concatenate([[0], np.cumsum([row.size for row in columns])[:-1]]).astype(np.int32)
        index, value = np.concatenate(columns).astype(np.int32), np.concatenate(values)
        low = np.full(len(cuts), -np.inf)
        high = np.array([cut.most_wh / KILO for _, cut in cuts])
        self._solver.addRows(len(cuts), low, high, index.size, starts, index, value)

    def _bound(self, columns: Ints, low: Floats | float, high: Floats) -> None:
        index = columns.ravel().astype(np.int32)
        lows = np.broadcast_to(np.asarray(low) / KILO, high.shape).ravel()
        self._solver.changeColsBounds(index.size, index, np.ascontiguousarray(lows), (high / KILO).ravel())


def constant_cost(prepared: Prepared, groups: Groups) -> float:
    """Return the cost that no choice of the active sites changes and that the programmes do not count."""
    problem, goal = prepared.problem, prepared.problem.objectives
    out = problem.step_h * float((meter_price(problem) * prepared.fixed_at_meter_w).sum())
    out += float(site_cost(problem, prepared.fixed_w).sum())
    if goal.previous_w is not None and goal.change_weight > 0.0:
        # The programmes count the active sites' changes themselves, summed by group.
        out -= goal.change_weight * problem.step_h * float(np.abs(goal.previous_w[prepared.active]).sum())
    return out + goal.terminal_value_per_wh * float(groups.initial_wh.sum())
