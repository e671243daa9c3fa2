"""One site planned hour by hour: battery, mains, generator, solar and, last of all, load that is not served.

A linear programme over the coming hours, built once and given new numbers every hour, so that the solver starts from
where it ended. Losses and costs follow the published pymgrid25 parameters: the same efficiency each way, a cost per kWh
charged and per kWh discharged, energy sent back to the mains worth nothing.
"""

from dataclasses import dataclass, replace

import highspy
import numpy as np
from scipy.sparse import block_array, csc_array, eye_array

from tools.planning.problem import Floats

ENERGY_TOLERANCE_KWH = 1e-6
"""Below this a planned flow counts as none."""


class PlanError(RuntimeError):
    """The solver did not reach an optimum; carries its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What stands at the site; hours throughout, so kW and kWh per step are the same number.

    Attributes:
        low_kwh: Energy that stays in the battery.
        high_kwh: Energy the battery holds when full.
        charge_kw: Most the battery takes at its terminals.
        discharge_kw: Most it gives at its terminals.
        efficiency: Share kept, each way.
        cycle_per_kwh: Cost of a kWh through the battery's terminals, either way.
        lost_per_kwh: Cost of a kWh of load not served.
        import_kw: Most the mains give; nothing is paid for what they take.
        genset_kw: Most the generator gives, none where there is none.
        genset_min_kw: Least it gives when it runs.
        genset_per_kwh: Fuel and carbon of a kWh from it.
        spare_kwh: Energy above the low end that is kept for an outage while that is worth it.
        spare_per_kwh: What an hour of keeping a kWh of it is worth.
    """

    low_kwh: float
    high_kwh: float
    charge_kw: float
    discharge_kw: float
    efficiency: float
    cycle_per_kwh: float
    lost_per_kwh: float
    import_kw: float
    genset_kw: float = 0.0
    genset_min_kw: float = 0.0
    genset_per_kwh: float = 0.0
    spare_kwh: float = 0.0
    spare_per_kwh: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is expected of the coming hours, one value each: kWh, currency per kWh, mains 1 present or 0 absent."""

    load_kwh: Floats
    pv_kwh: Floats
    import_price: Floats
    mains: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Flows of one hour, kWh, none negative; battery flows at its terminals."""

    import_kwh: float
    charge_kwh: float
    discharge_kwh: float
    unused_kwh: float
    lost_kwh: float
    genset_kwh: float


class SitePlanner:
    """The programme of one site over a fixed number of hours."""

    def __init__(self, site: Site, steps: int) -> None:
        self._site, self._steps = site, steps
        self._columns = np.arange(8 * steps, dtype=np.int32)
        self._rows = np.arange(3 * steps, dtype=np.int32)
        self._matrix = _matrix(site, steps)
        self._solver: highspy.Highs | None = None

    def plan(self, stored_kwh: float, outlook: Outlook) -> Step:
        """Return the first hour of the cheapest plan from this state of the battery.

        Raises:
            PlanError: The solver found none.
        """
        solver = self._fed(stored_kwh, outlook)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise PlanError(solver.modelStatusToString(solver.getModelStatus()))
        values = np.asarray(solver.getSolution().col_value).reshape(8, self._steps)
        return Step(
            **dict(
                zip(
                    ("import_kwh", "charge_kwh", "discharge_kwh", "unused_kwh", "lost_kwh", "genset_kwh"),
                    np.maximum(values[:6, 0], 0.0).tolist(),
                    strict=True,
                )
            )
        )

    def cost(self, stored_kwh: float, outlook: Outlook) -> float:
        """Return the cost of the cheapest plan over all the hours, in currency."""
        solver = self._fed(stored_kwh, outlook)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise PlanError(solver.modelStatusToString(solver.getModelStatus()))
        return float(solver.getInfo().objective_function_value)

    def _fed(self, stored_kwh: float, outlook: Outlook) -> highspy.Highs:
        cost, low, high, right = _numbers(self._site, self._steps, stored_kwh, outlook)
        row_low = np.concatenate([right, np.full(self._steps, self._site.low_kwh)])
        row_high = np.concatenate([right, np.full(self._steps, np.inf)])
        if self._solver is None:
            self._solver = loaded(self._matrix, cost, low, high, row_low, row_high)
            return self._solver
        count = self._columns.size
        self._solver.changeColsCost(count, self._columns, cost)
        self._solver.changeColsBounds(count, self._columns, low, high)
        self._solver.changeRowsBounds(self._rows.size, self._rows, row_low, row_high)  # type: ignore[attr-defined]
        return self._solver


def balanced(site: Site, plan: Step, stored_kwh: float, load_kwh: float, pv_kwh: float, mains: float) -> Step:
    """Return what happens in an hour that turns out other than planned.

    Solar serves the load first and what is left of it charges the battery. While the plan buys, the mains take the
    error and the battery keeps to its plan; while it does not, the battery takes the error. What is then still missing
    comes from the mains, the battery, the generator; the rest of the load is lost. Without mains: battery, generator.
    The battery never discharges into the mains.
    """
    net = load_kwh - pv_kwh
    room = min(site.charge_kw, max(site.high_kwh - stored_kwh, 0.0) / site.efficiency)
    ready = min(site.discharge_kw, max(stored_kwh - site.low_kwh, 0.0) * site.efficiency)
    need, surplus = max(net, 0.0), max(-net, 0.0)
    limit = site.import_kw * mains
    charge, discharge, genset = min(surplus, room), 0.0, 0.0
    if limit <= 0.0:
        discharge = min(need, ready)
    elif plan.import_kwh > ENERGY_TOLERANCE_KWH:
        genset = min(plan.genset_kwh, need)
        discharge = min(plan.discharge_kwh, ready, need - genset)
        charge = min(max(charge, plan.charge_kwh), room) if discharge <= 0.0 else 0.0
    else:
        genset = min(plan.genset_kwh, need)
        discharge = min(need - genset, ready)
    genset = genset if genset >= site.genset_min_kw else 0.0
    missing = need + max(charge - surplus, 0.0) - discharge - genset
    bought = min(missing, limit)
    missing -= bought
    spared = min(missing, max(charge - surplus, 0.0))  # charging from the mains yields to the load
    charge, missing = charge - spared, missing - spared
    more = min(missing, ready - discharge) if charge <= 0.0 else 0.0
    discharge, missing = discharge + more, missing - more
    if missing > ENERGY_TOLERANCE_KWH and site.genset_kw > 0.0:
        genset = min(site.genset_kw, max(genset + missing, site.genset_min_kw))
    served = bought + discharge + genset + pv_kwh - charge
    lost = max(load_kwh - served, 0.0)
    return Step(
        import_kwh=bought,
        charge_kwh=charge,
        discharge_kwh=discharge,
        unused_kwh=max(served - load_kwh, 0.0),
        lost_kwh=lost if lost > ENERGY_TOLERANCE_KWH else 0.0,
        genset_kwh=genset,
    )


def stored_after(site: Site, step: Step, stored_kwh: float) -> float:
    """Return the energy in the battery after the hour, kWh."""
    moved = step.charge_kwh * site.efficiency - step.discharge_kwh / site.efficiency
    return min(max(stored_kwh + moved, site.low_kwh), site.high_kwh)


def hour_cost(site: Site, step: Step, import_price: float) -> float:
    """Return what the hour costs, in currency."""
    return (
        step.import_kwh * import_price
        + (step.charge_kwh + step.discharge_kwh) * site.cycle_per_kwh
        + step.lost_kwh * site.lost_per_kwh
        + step.genset_kwh * site.genset_per_kwh
    )


def without_spare(site: Site) -> Site:
    """Return the site with nothing kept for outages: what perfect foresight plans with."""
    return replace(site, spare_kwh=0.0, spare_per_kwh=0.0)


def _matrix(site: Site, steps: int) -> csc_array:
    """Return the rows of balance, storage and spare over import, charge, discharge, unused, lost, genset, energy, spare."""
    one = eye_array(steps)
    after = eye_array(steps) - eye_array(steps, k=-1)
    gain, draw = -site.efficiency * one, one / site.efficiency
    return csc_array(
        block_array(
            [
                [one, -one, one, -one, one, one, None, None],
                [None, gain, draw, None, None, None, after, None],
                [None, None, None, None, None, None, one, -one],
            ]
        )
    )


def _numbers(
    site: Site, steps: int, stored_kwh: float, outlook: Outlook
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return costs, lower and upper bounds of the columns, and the right-hand side of balance and storage."""
    fill = np.ones(steps)
    costs = (
        outlook.import_price, site.cycle_per_kwh * fill, site.cycle_per_kwh * fill, 0.0 * fill,
        site.lost_per_kwh * fill, site.genset_per_kwh * fill, 0.0 * fill, -site.spare_per_kwh * fill,
    )  # fmt: skip
    tops = (
        site.import_kw * outlook.mains, site.charge_kw * fill, site.discharge_kw * fill, outlook.pv_kwh,
        outlook.load_kwh, site.genset_kw * fill, site.high_kwh * fill, site.spare_kwh * fill,
    )  # fmt: skip
    low = np.zeros(8 * steps)
    low[6 * steps : 7 * steps] = site.low_kwh
    storage = np.zeros(steps)
    storage[0] = stored_kwh
    right = np.concatenate([outlook.load_kwh - outlook.pv_kwh, storage])
    return np.concatenate(costs), low, np.concatenate(tops), right


def loaded(
    matrix: csc_array, cost: Floats, low: Floats, high: Floats, row_low: Floats, row_high: Floats
) -> highspy.Highs:
    """Return a quiet solver on one thread that holds this programme."""
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = cost.size, row_low.size
    model.col_cost_, model.col_lower_, model.col_upper_ = cost, low, high
    model.row_lower_, model.row_upper_ = row_low, row_high
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr, matrix.indices
    model.a_matrix_.value_ = matrix.data
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(model)
    return solver
