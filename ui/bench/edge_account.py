"""The energy account of a bench event: asked, owed, delivered, limited, by site and quarter of an hour. Simulated.

DOMAIN.md section 6: deviation = sum of |error| over the sum of commanded energy per quarter of an hour, by an
independent DC meter at the battery terminals; what a load below the setpoint takes away is `limited`, apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from edge.plan import Command, ScheduleBody
from edge.simulator.battery import Floats
from edge.simulator.fleet import FleetSimulation

QUARTER = timedelta(minutes=15)


def asked_w(orders: Mapping[int, Command], sites: int, quarters: list[datetime]) -> Floats:
    """Return what each site is asked for in each quarter, W, shape (quarters, sites); zero without an order."""
    out = np.zeros((len(quarters), sites))
    for index, command in orders.items():
        body = command.body
        if isinstance(body, ScheduleBody):
            for row, quarter in enumerate(quarters):
                step = (quarter - body.start) // QUARTER
                out[row, index] = body.setpoint_w[step] if 0 <= step < len(body.setpoint_w) else 0.0
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Energies of the whole event over all ordered sites, Wh, magnitudes."""

    commanded_wh: float
    error_wh: float  # by the independent meter
    true_error_wh: float  # by the plant's own account
    limited_wh: float
    delivered_wh: float
    relief_wh: float  # at the AC meter: what the rectifiers drew less


class Account:
    """Counts while the plant is stepped; quarters begin at `first`."""

    def __init__(
        self, fleet: FleetSimulation, orders: Mapping[int, Command], first: datetime, count: int
    ) -> None:
        sites = len(fleet.plant.specs)
        self._fleet = fleet
        self._first = first
        self.end = first + count * QUARTER
        self._chosen: NDArray[np.int64] = np.array(sorted(orders), dtype=np.int64)
        self._asked_w = asked_w(orders, sites, [first + k * QUARTER for k in range(count)])
        self._owed_wh, self._true_wh, self._meter_wh = (np.zeros((count, sites)) for _ in range(3))
        self._relief_wh = 0.0

    @property
    def done(self) -> bool:
        """Whether the last quarter is over."""
        return self._fleet.at >= self.end

    def advance(self, until: datetime) -> None:
        """Step the plant to an instant and book what happened; a step does not cross a quarter's end."""
        fleet = self._fleet
        while fleet.at < until:
            at = fleet.at
            row = (at - self._first) // QUARTER
            edge = self._first + (row + 1) * QUARTER
            goal = min(until, edge, at + timedelta(seconds=1))
            before = fleet.plant.state.energy.battery.copy()
            fleet.advance_to(goal)
            if 0 <= row < len(self._asked_w):
                self._book(row, (goal - at).total_seconds() / 3600.0, before)

    def _book(self, row: int, hours: float, before_wh: Floats) -> None:
        plant, state = self._fleet.plant, self._fleet.plant.state
        asked = self._asked_w[row]
        spare_w = np.maximum(state.load_w - state.pv_w, 0.0)
        self._owed_wh[row] += np.where(asked < 0.0, np.maximum(asked, -spare_w), asked) * hours
        self._true_wh[row] += state.energy.battery - before_wh
        self._meter_wh[row] += self._fleet.sensors.values["meter_battery_w"] * hours
        here = self._chosen
        without_w = spare_w + plant.rectifier_loss_w(spare_w)
        self._relief_wh += float((without_w - state.rectifier_in_w)[here].sum()) * hours

    def outcome(self) -> Outcome:
        """Return the sums over ordered sites and quarters."""
        here = self._chosen
        owed, asked_wh = self._owed_wh[:, here], self._asked_w[:, here] / 4.0
        return Outcome(
            commanded_wh=float(np.abs(asked_wh).sum()),
            error_wh=float(np.abs(self._meter_wh[:, here] - owed).sum()),
            true_error_wh=float(np.abs(self._true_wh[:, here] - owed).sum()),
            limited_wh=float((np.abs(asked_wh) - np.abs(owed)).sum()),
            delivered_wh=float(-self._true_wh[:, here].sum()),
            relief_wh=self._relief_wh,
        )
