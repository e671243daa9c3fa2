"""The battery strings of simulated sites: what they offer the bus, when they open, what a step does to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.simulator import battery
from edge.simulator.battery import Floats
from edge.simulator.bus import Bools, BusState
from edge.simulator.chemistry import CHEMISTRIES
from edge.simulator.plant_state import (
    TRIP_COLD,
    TRIP_CURRENT,
    TRIP_FORCED,
    TRIP_HOT,
    TRIP_NONE,
    TRIP_OVER_V,
    TRIP_UNDER_V,
    Hardware,
    State,
)
from edge.simulator.site_spec import PlantSettings, SiteSpec

_NO_CHARGE_V = 1e6
_LAST_FRAC = 0.005  # of the capacity, over which a full string ceases to store [I]


class Strings:
    """Every string of a fleet, arrays (sites, strings); their state is the plant's."""

    def __init__(self, specs: Sequence[SiteSpec], settings: PlantSettings) -> None:
        self.settings = settings
        most = max(spec.strings for spec in specs)
        names = [c.name for c in CHEMISTRIES]
        chem = np.array([[names.index(spec.chemistry)] * most for spec in specs])
        rated = np.array([[spec.string_ah] * most for spec in specs])
        self.installed: Bools = np.array([[k < spec.strings for k in range(most)] for spec in specs])
        self.cells = battery.spread(chem, rated)
        self.tables = battery.tabulate()
        self._gasses: Bools = self.cells.float_a > 0.0

    def bind(self, state: State, hardware: Hardware) -> None:
        """Work on this state and these faults."""
        self.state, self.hardware = state, hardware

    def full_ah(self) -> Floats:
        """Return the present full capacity of each string, Ah."""
        return self.cells.rated_ah * self.state.soh_frac * self.hardware.weak_ah

    def branches(self, dt_s: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Return counter-voltage and resistance while charging, and rest voltage and resistance while discharging.

        Linearised over the step, so that long steps stay stable (implicit in SoC).
        """
        st, cells = self.state, self.cells
        here = battery.place(cells.chem, st.soc_frac)
        down, down_slope = here.read(self.tables.discharge_v)
        up, up_slope = here.read(self.tables.charge_v)
        up = up + cells.counter_v_per_c * (st.battery_c[:, None] - 25.0)
        up = np.maximum(up, down + 0.01)
        hot = st.battery_c[:, None]
        up = np.where((hot < cells.charge_min_c) | (hot > cells.charge_max_c), _NO_CHARGE_V, up)
        ohm = battery.resistance_ohm(cells, st.soc_frac, hot, st.soh_frac) * self.hardware.weak_ohm
        per_a = dt_s / 3600.0 / self.full_ah()
        down = np.where(st.soc_frac > 0.0, down, 0.0)  # an empty string gives nothing
        up_ohm = ohm * cells.charge_ohm_ratio + up_slope * per_a
        if self._gasses.any():
            gassing_v, gassing_ohm = self._beside_gassing(up, up_ohm, down + 0.01)
            takes = self._gasses & (up < _NO_CHARGE_V)
            up, up_ohm = np.where(takes, gassing_v, up), np.where(takes, gassing_ohm, up_ohm)
        return up, up_ohm, down, ohm + down_slope * per_a

    def _beside_gassing(self, up: Floats, up_ohm: Floats, least_v: Floats) -> tuple[Floats, Floats]:
        """Return counter-voltage, at least `least_v`, and resistance of the charge stored and the gassing beside it.

        A line that is exact at the voltage that the bus has or is about to be held at; what is stored ends with the
        room for it, and a full string takes nothing but its float current.
        """
        st, cells = self.state, self.cells
        at_v = np.maximum(st.rectifier_v, st.bus_v)[:, None]
        amps, per_v = battery.gassing(cells, at_v, st.battery_c[:, None])
        room = np.clip((1.0 - st.soc_frac) / _LAST_FRAC, 0.0, 1.0)
        stores = np.where(at_v > up, room / up_ohm, 0.0)
        both = np.maximum(stores + per_v, 1e-9)
        counter_v = np.maximum((stores * up + per_v * at_v - amps) / both, least_v)
        total_a = stores * (at_v - up) + amps
        through_ohm = (at_v - counter_v) / np.maximum(total_a, 1e-12)
        return counter_v, np.where(at_v > counter_v, through_ohm, 1.0 / both)

    def trips(self, solved: BusState) -> bool:
        """Open the strings whose BMS protects itself; return whether any opened now."""
        st, cells, cfg = self.state, self.cells, self.settings
        v, amps, hot = solved.bus_v[:, None], solved.string_a, st.battery_c[:, None]
        trip = np.where(st.trip == TRIP_FORCED, TRIP_NONE, st.trip)
        live = st.closed & self.installed & cells.bms
        trip = np.where(live & (v < cells.under_v) & (amps <= 0.0), TRIP_UNDER_V, trip)
        trip = np.where(live & (v > cells.over_v), TRIP_OVER_V, trip)
        trip = np.where(live & (np.abs(amps) > cells.trip_a), TRIP_CURRENT, trip)
        trip = np.where(live & (hot > cells.trip_hot_c), TRIP_HOT, trip)
        trip = np.where(live & (hot < cells.trip_cold_c), TRIP_COLD, trip)
        returns = (v > cfg.trip_reset_v) & (v < cells.over_v) & solved.up[:, None]
        cool, warm = hot < cells.trip_hot_c - 5.0, hot > cells.trip_cold_c + 5.0
        passes = (
            ((trip == TRIP_UNDER_V) & returns) | ((trip == TRIP_HOT) & cool) | ((trip == TRIP_COLD) & warm)
        )
        trip = np.where(~st.closed & passes, TRIP_NONE, trip)
        trip = np.where(self.hardware.trip_forced & self.installed, TRIP_FORCED, trip)
        closed = (trip == TRIP_NONE) & self.installed
        opened = bool((st.closed & ~closed).any())
        st.trip, st.closed = trip, closed
        return opened

    def charge(self, solved: BusState, dt_s: float) -> Floats:
        """Move charge, age and heat the strings; return the heat made in each site's battery, W.

        Heat is what the terminals take beyond the charge stored at the discharge curve's mean voltage over
        the step: ohmic drop, hysteresis, gassing, leakage and charge that finds no room. It is counted from
        these, not from the change of stored energy, so that the two can be compared.
        """
        st, cells, hours = self.state, self.cells, dt_s / 3600.0
        amps, full, before = solved.string_a, self.full_ah(), st.soc_frac
        here = battery.place(cells.chem, before)
        start_v = here.read(self.tables.discharge_v)[0]
        kept = np.where(amps > 0.0, here.read(self.tables.coulombic)[0], 1.0)
        leak = self._leak(dt_s)
        after = np.clip(before + amps * kept * hours / full - leak, 0.0, 1.0)
        mean_v = 0.5 * (start_v + battery.place(cells.chem, after).read(self.tables.discharge_v)[0])
        terminal_wh = amps * solved.bus_v[:, None] * hours
        loss_wh = (terminal_wh - (after - before) * full * mean_v).sum(axis=1, where=self.installed)
        moved_ah = np.abs(amps) * hours
        st.soh_frac = st.soh_frac - battery.fade_frac(cells, moved_ah, st.battery_c[:, None], dt_s)
        # SoC is of present full capacity: the charge that is there stays, the capacity shrinks.
        st.soc_frac = np.minimum(after * full / self.full_ah(), 1.0)
        st.energy.battery += terminal_wh.sum(axis=1)
        st.energy.battery_loss += loss_wh
        return np.asarray(loss_wh / hours)

    def _leak(self, dt_s: float) -> Floats:
        """Return the SoC that each string loses by itself in a step."""
        warm = 2.0 ** ((self.state.battery_c[:, None] - 25.0) / 10.0)
        return np.asarray(self.cells.self_discharge_per_s * warm * dt_s)
