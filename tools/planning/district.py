"""Batteries of several homes planned together: bill and carbon of each home, ramps and peak of all.

What a home draws is uncertain, and a home that feeds in earns nothing, so a battery that meets the mean load exactly is
too large half of the time. Each hour therefore carries a few outcomes of equal weight for each home's net load and for
the ramp of all: the mean over outcomes of a convex cost, in one linear programme. Outcomes of different hours are not
tied to each other.
"""

from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import block_array, csc_array, csr_array, eye_array

from tools.planning.problem import Floats
from tools.planning.single_site import PlanError, loaded

TIE_PER_KWH = 1e-6
"""Cost of moving a kWh, as a share of the dearest import, that settles ties in favour of rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """The batteries: how many alike, their power, and their efficiency each way."""

    count: int
    power_kw: float
    each_way: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistrictView:
    """What is known and expected; energies in kWh per hour.

    Attributes:
        stored_kwh: Of each battery, shape (homes,).
        full_kwh: Likewise.
        net_kwh: Outcomes of load less solar, shape (homes, outcomes, hours).
        step_kwh: Outcomes of the change of the district's net load from hour to hour, shape (outcomes, hours); the
            first is the change from what was drawn, with batteries, in the hour before.
        total_kwh: Mean net load of the district, shape (hours,).
        peak_kwh: Highest the district has drawn in the current month.
        import_price: Of each home's import, shape (homes, hours).
        ramp_price: Of a kWh of change.
        peak_price: Of a kWh of the month's peak.
    """

    stored_kwh: Floats
    full_kwh: Floats
    net_kwh: Floats
    step_kwh: Floats
    total_kwh: Floats
    peak_kwh: float
    import_price: Floats
    ramp_price: float
    peak_price: float


class DistrictPlanner:
    """The programme over a fixed number of hours and outcomes; each question starts from the last answer."""

    def __init__(self, homes: Homes, hours: int, outcomes: int) -> None:
        self._homes, self._hours, self._outcomes = homes, hours, outcomes
        self._matrix = _matrix(homes, hours, outcomes)
        self._solver: highspy.Highs | None = None

    def plan(self, view: DistrictView) -> Floats:
        """Return what each battery does in the first hour, kWh at its terminals, charging positive, shape (homes,).

        Raises:
            PlanError: The solver found no optimum.
        """
        hours, outcomes = self._hours, self._outcomes
        solver = self._fed(view)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise PlanError(solver.modelStatusToString(solver.getModelStatus()))
        values = np.asarray(solver.getSolution().col_value)
        own = values[: self._homes.count * (outcomes + 3) * hours].reshape(self._homes.count, -1, hours)
        return np.asarray(own[:, outcomes, 0] - own[:, outcomes + 1, 0])

    def _fed(self, view: DistrictView) -> highspy.Highs:
        cost, low, high = self._columns(view)
        row_low, row_high = self._rows(view)
        if self._solver is None:
            self._solver = loaded(self._matrix, cost, low, high, row_low, row_high)
            return self._solver
        columns = np.arange(cost.size, dtype=np.int32)
        rows = np.arange(row_low.size, dtype=np.int32)
        self._solver.changeColsCost(columns.size, columns, cost)
        self._solver.changeColsBounds(columns.size, columns, low, high)
        self._solver.changeRowsBounds(rows.size, rows, row_low, row_high)  # type: ignore[attr-defined]
        return self._solver

    def _columns(self, view: DistrictView) -> tuple[Floats, Floats, Floats]:
        """Return costs and bounds; per home imports by outcome, charge, discharge, energy; then ramps and the peak."""
        hours, outcomes, homes = self._hours, self._outcomes, self._homes.count
        shape = (homes, outcomes + 3, hours)
        cost, high = np.zeros(shape), np.full(shape, np.inf)
        cost[:, :outcomes] = view.import_price[:, None] / outcomes
        cost[:, outcomes : outcomes + 2] = TIE_PER_KWH * view.import_price.max()
        high[:, outcomes : outcomes + 2] = self._homes.power_kw
        high[:, outcomes + 2] = view.full_kwh[:, None]
        ramp = np.full(outcomes * hours, view.ramp_price / outcomes)
        costs = np.concatenate([cost.ravel(), ramp, [view.peak_price]])
        low = np.zeros(costs.size)
        low[-1] = max(view.peak_kwh, 0.0)
        return costs, low, np.concatenate([high.ravel(), np.full(ramp.size + 1, np.inf)])

    def _rows(self, view: DistrictView) -> tuple[Floats, Floats]:
        storage = np.zeros((self._homes.count, self._hours))
        storage[:, 0] = view.stored_kwh
        steps = np.stack([view.step_kwh, -view.step_kwh], axis=1).ravel()
        low = np.concatenate([view.net_kwh.ravel(), storage.ravel(), steps, view.total_kwh])
        high = np.full(low.size, np.inf)
        high[view.net_kwh.size : view.net_kwh.size + storage.size] = storage.ravel()
        return low, high


def _matrix(homes: Homes, hours: int, outcomes: int) -> csc_array:
    """Return the rows of imports, storage, ramps up and down by outcome, and the peak."""
    one, change = eye_array(hours), eye_array(hours) - eye_array(hours, k=-1)
    after = outcomes * [None] + [None]

    def of_home(home: int, blocks: list[object]) -> list[object]:
        left = [None] * (home * (outcomes + 3))
        return [*left, *blocks, *[None] * ((homes.count - home - 1) * (outcomes + 3)), *after]

    def only(index: int, count: int) -> list[object]:
        return [one if k == index else None for k in range(count)]

    rows: list[list[object]] = [
        of_home(home, [*only(k, outcomes), -one, one, None])
        for home in range(homes.count)
        for k in range(outcomes)
    ]
    storage: list[object] = [-homes.each_way * one, one / homes.each_way, change]
    rows += [of_home(home, [*only(-1, outcomes), *storage]) for home in range(homes.count)]
    for k in range(outcomes):
        for sign in (1.0, -1.0):
            own = [*only(-1, outcomes), -sign * change, sign * change, None]
            rows.append([*homes.count * own, *only(k, outcomes), None])
    peak = [*only(-1, outcomes), -one, one, None]
    rows.append([*homes.count * peak, *only(-1, outcomes), csr_array(np.ones((hours, 1)))])
    return csc_array(block_array(rows))
