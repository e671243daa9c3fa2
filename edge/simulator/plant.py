"""A fleet of simulated sites stepped together as arrays; one site is a fleet of one.

The plant is deterministic: the same specifications, drives and commands in the same steps give the same
states. It knows no wall clock: `step` is told how long the step is and what drives it. Simulated throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.simulator import battery
from edge.simulator.battery import Floats, Ints
from edge.simulator.bus import Bools, BusInput, BusState, solve_bus
from edge.simulator.plant_state import (
    TRIP_COLD,
    TRIP_CURRENT,
    TRIP_FORCED,
    TRIP_HOT,
    TRIP_NONE,
    TRIP_OVER_V,
    TRIP_UNDER_V,
    Commands,
    Drive,
    Energy,
    Hardware,
    State,
)
from edge.simulator.site_spec import PlantSettings, SiteSpec

_NEVER = 1e9
_NO_CHARGE_V = 1e6


class Plant:
    """Simulated sites, stepped together."""

    def __init__(self, specs: Sequence[SiteSpec], settings: PlantSettings | None = None) -> None:
        self.specs = tuple(specs)
        self.settings = settings or PlantSettings()
        n, s = len(self.specs), max(spec.strings for spec in self.specs)
        names = [c.name for c in battery.CHEMISTRIES]
        chem = np.array([[names.index(spec.chemistry)] * s for spec in self.specs])
        rated = np.array([[spec.string_ah] * s for spec in self.specs])
        self.installed: Bools = np.array([[k < spec.strings for k in range(s)] for spec in self.specs])
        self.cells = battery.spread(chem, rated)
        self.tables = battery.tabulate()
        self.float_v = self._of("float_v")
        self.max_v = self._of("max_v")
        self.module_w = self._of("module_w")
        self.modules = np.array([spec.modules for spec in self.specs])
        self.inverter_rated_w = self._of("inverter_w")
        self.genset_rated_w = self._of("genset_w")
        per_ah = [battery.CHEMISTRIES[names.index(spec.chemistry)] for spec in self.specs]
        bank_ah = np.array([spec.string_ah * spec.strings for spec in self.specs])
        self._heat_j_per_c = np.array([c.heat_j_per_c_ah for c in per_ah]) * bank_ah
        self._cooling_w_per_c = np.array([c.cooling_w_per_c_ah for c in per_ah]) * bank_ah
        self._compensation_v_per_c = np.array([c.counter_v_per_c * c.cells for c in per_ah])
        self._module = np.arange(max(spec.modules for spec in specs))
        self._module_phase = np.eye(3)[self._module % 3]  # (modules, 3): module k sits on phase k mod 3
        self._aux_phase = np.eye(3)[[spec.aux_phase for spec in specs]]
        self._compensates = np.array([spec.own_compensation for spec in specs])
        self._shed_frac = np.array([(*spec.shed_shares, *(0.0,) * 8)[:8] for spec in specs])
        self.own_charge_limit_a = self._of("charge_limit_a")
        self.commands = Commands(
            rectifier_v=self.float_v.copy(),
            revert_s=np.zeros(n),
            charge_limit_a=self.own_charge_limit_a.copy(),
            discharge_limit_a=np.full(n, _NEVER),
            inverter_w=np.zeros(n),
            inverter_revert_s=np.zeros(n),
            load_shed=np.zeros(n, dtype=np.int64),
            modules_off=np.zeros(n, dtype=np.int64),
            silent_s=np.zeros(n),
        )
        self.hardware = Hardware(
            mains_forced_off=np.zeros(n, dtype=np.bool_),
            modules_lost=np.zeros(n, dtype=np.int64),
            trip_forced=np.zeros((n, s), dtype=np.bool_),
            weak_ah=np.ones((n, s)),
            weak_ohm=np.ones((n, s)),
            local_lock=np.zeros(n, dtype=np.bool_),
            genset_fails=np.zeros(n, dtype=np.bool_),
            grid_hz=np.full(n, 50.0),
            load_factor=np.ones(n),
        )
        self.state = self._initial(n, s)
        self._on = self.modules_on()

    def _of(self, name: str) -> Floats:
        return np.array([float(getattr(spec, name)) for spec in self.specs])

    def _initial(self, n: int, s: int) -> State:
        zeros = np.zeros(n)
        return State(
            soc_frac=np.repeat(self._of("initial_soc_frac")[:, None], s, axis=1),
            soh_frac=np.repeat(self._of("initial_soh_frac")[:, None], s, axis=1),
            battery_c=np.full(n, 25.0),
            closed=self.installed.copy(),
            trip=np.zeros((n, s), dtype=np.int64),
            string_a=np.zeros((n, s)),
            bus_v=self.float_v.copy(),
            bus_min_v=self.float_v.copy(),
            load_w=zeros.copy(),
            load_on=np.ones(n, dtype=np.bool_),
            rectifier_v=self.float_v.copy(),
            rectifier_a=zeros.copy(),
            rectifier_in_w=zeros.copy(),
            ac_up_s=np.full(n, _NEVER),
            pv_w=zeros.copy(),
            grid_w=zeros.copy(),
            modules_live=self.modules.astype(np.float64),
            phase_w=np.zeros((n, 3)),
            aux_ac_w=zeros.copy(),
            genset_w=zeros.copy(),
            genset_run_s=zeros.copy(),
            fuel_l=self._of("fuel_l"),
            inverter_w=zeros.copy(),
            cabinet_c=np.full(n, 25.0),
            ambient_c=np.full(n, 20.0),
            mains=np.ones(n, dtype=np.bool_),
            energy=Energy.zeros(n),
        )

    # -- derived quantities -------------------------------------------------------------------------

    def full_ah(self) -> Floats:
        """Return the present full capacity of each string, Ah."""
        return self.cells.rated_ah * self.state.soh_frac * self.hardware.weak_ah

    def stored_wh(self) -> Floats:
        """Return the energy stored per site, Wh, by integrating the discharge curve down to SoC 0."""
        per_string = battery.stored_wh(self.tables, self.cells.chem, self.state.soc_frac, self.full_ah())
        return np.asarray((per_string * self.installed).sum(axis=1))

    def site_soc_frac(self) -> Floats:
        """Return charge over present full capacity of the installed strings."""
        full = self.full_ah() * self.installed
        return np.asarray((self.state.soc_frac * full).sum(axis=1) / full.sum(axis=1))

    def site_soh_frac(self) -> Floats:
        """Return the mean state of health of the installed strings, weak ones counted."""
        full = self.full_ah() * self.installed
        return np.asarray(full.sum(axis=1) / (self.cells.rated_ah * self.installed).sum(axis=1))

    def modules_ok(self) -> Ints:
        """Return the rectifier modules that work."""
        return np.asarray(np.maximum(self.modules - self.hardware.modules_lost, 0))

    def modules_on(self) -> Bools:
        """Return which modules are on, shape (sites, modules): those that work and do not stand by; one always is."""
        works = self._module[None, :] < self.modules_ok()[:, None]
        on = works & ((self.commands.modules_off[:, None] >> self._module[None, :]) & 1 == 0)
        first = works & (self._module[None, :] == 0)
        return np.asarray(np.where(on.any(axis=1)[:, None], on, first))

    def rectifier_loss_w(self, out_w: Floats) -> Floats:
        """Return what the modules that are on lose at a DC output, W: fixed, linear and square parts (settings)."""
        cfg, rated_w = self.settings, np.maximum(self.state.modules_live * self.module_w, 1.0)
        return np.asarray(
            cfg.loss_fixed * rated_w + cfg.loss_linear * out_w + cfg.loss_square * out_w**2 / rated_w
        )

    # -- one step -----------------------------------------------------------------------------------

    def step(self, drive: Drive, dt_s: float) -> None:
        """Advance every site by `dt_s` seconds (1 s or less under control, minutes for history)."""
        self._timers(drive, dt_s)
        drive = self._shed(drive, dt_s)
        limit_w = self._rectifier(dt_s)
        inp = self._bus_input(drive, limit_w, dt_s)
        solved = solve_bus(inp)
        if self._trips(solved):
            again = solve_bus(replace(inp, closed=self.state.closed))
            self._sag(solved, again)
            solved = again
        self._store(drive, solved, inp)
        self._disconnect(solved)
        loss_w = self._charge(solved, dt_s)
        self._alternating(drive, loss_w, dt_s)

    def _timers(self, drive: Drive, dt_s: float) -> None:
        cmd, st, hw = self.commands, self.state, self.hardware
        st.mains = drive.mains & ~hw.mains_forced_off
        cmd.revert_s = np.maximum(cmd.revert_s - dt_s, 0.0)
        compensated = self.float_v + np.where(
            self._compensates, np.clip(self._compensation_v_per_c * (st.battery_c - 25.0), -1.5, 1.5), 0.0
        )
        cmd.rectifier_v = np.where(cmd.revert_s > 0.0, cmd.rectifier_v, compensated)
        cmd.silent_s += dt_s
        alone = cmd.silent_s > self.settings.comm_loss_s
        cmd.charge_limit_a = np.where(alone, self.own_charge_limit_a, cmd.charge_limit_a)
        cmd.discharge_limit_a = np.where(alone, _NEVER, cmd.discharge_limit_a)
        cmd.load_shed = np.where(alone, 0, cmd.load_shed)
        cmd.modules_off = np.where(alone, 0, cmd.modules_off)
        cmd.inverter_revert_s = np.maximum(cmd.inverter_revert_s - dt_s, 0.0)
        cmd.inverter_w = np.where(cmd.inverter_revert_s > 0.0, cmd.inverter_w, 0.0)
        wanted = ~st.mains & (self.genset_rated_w > 0.0) & (st.fuel_l > 0.0) & ~hw.genset_fails
        st.genset_run_s = np.where(wanted, st.genset_run_s + dt_s, 0.0)

    def _shed(self, drive: Drive, dt_s: float) -> Drive:
        """Return the drive after load steps and without the loads whose priority output is off."""
        off = (self.commands.load_shed[:, None] >> np.arange(self._shed_frac.shape[1])) & 1
        load_w = drive.load_w * self.hardware.load_factor
        shed_w = load_w * (off * self._shed_frac).sum(axis=1)
        self.state.energy.shed += shed_w * dt_s / 3600.0
        return replace(drive, load_w=load_w - shed_w)

    def _rectifier(self, dt_s: float) -> Floats:
        """Return the power limit now: none without AC, walking in after it returns."""
        st, cfg = self.state, self.settings
        on_genset = st.genset_run_s > cfg.genset_start_s
        st.ac_up_s = np.where(st.mains | on_genset, st.ac_up_s + dt_s, 0.0)
        # At the end of a long step the rectifier is past its walk-in; during a short one it is inside it.
        walk = np.clip((st.ac_up_s - cfg.start_delay_s) / cfg.walk_in_s, 0.0, 1.0)
        self._on = self.modules_on()
        asked = self._on.sum(axis=1)  # a module that is switched on walks in, as after the mains return
        st.modules_live = np.minimum(asked, st.modules_live + self.modules * dt_s / cfg.walk_in_s)
        power_w = st.modules_live * self.module_w
        power_w = np.where(st.mains, power_w, np.minimum(power_w, 0.85 * self.genset_rated_w))
        reach = cfg.ramp_v_per_s * dt_s
        held = np.clip(self.commands.rectifier_v, st.rectifier_v - reach, st.rectifier_v + reach)
        st.rectifier_v = np.where(walk > 0.0, held, np.minimum(st.bus_v, self.float_v))
        return np.asarray(walk * power_w)

    def _bus_input(self, drive: Drive, limit_w: Floats, dt_s: float) -> BusInput:
        """Linearise the strings over the step, so that long steps stay stable (implicit in SoC)."""
        st, cells, hw = self.state, self.cells, self.hardware
        here = battery.place(cells.chem, st.soc_frac)
        down, down_slope = here.read(self.tables.discharge_v)
        up, up_slope = here.read(self.tables.charge_v)
        up = up + cells.counter_v_per_c * (st.battery_c[:, None] - 25.0)
        up = np.maximum(up, down + 0.01)
        hot = st.battery_c[:, None]
        up = np.where((hot < cells.charge_min_c) | (hot > cells.charge_max_c), _NO_CHARGE_V, up)
        ohm = battery.resistance_ohm(cells, st.soc_frac, st.battery_c[:, None], st.soh_frac) * hw.weak_ohm
        per_a = dt_s / 3600.0 / self.full_ah()
        inverter_ac = np.where(
            st.mains, np.clip(self.commands.inverter_w, -self.inverter_rated_w, self.inverter_rated_w), 0.0
        )
        st.inverter_w = inverter_ac
        eff = self.settings.inverter_efficiency
        inverter_dc = np.where(inverter_ac < 0.0, -inverter_ac / eff, -inverter_ac * eff)
        return BusInput(
            load_w=np.where(st.load_on, drive.load_w, 0.0) + inverter_dc,
            pv_w=drive.pv_w,
            pv_max_v=self.float_v + self.settings.pv_over_float_v,
            rectifier_v=st.rectifier_v,
            rectifier_w=limit_w,
            charge_limit_a=self.commands.charge_limit_a,
            discharge_limit_a=self.commands.discharge_limit_a,
            charge_v=up,
            discharge_v=np.where(st.soc_frac > 0.0, down, 0.0),  # an empty string gives nothing
            charge_ohm=ohm * cells.charge_ohm_ratio + up_slope * per_a,
            discharge_ohm=ohm + down_slope * per_a,
            closed=st.closed,
            last_v=np.where(st.bus_v > 1.0, st.bus_v, self.float_v),
        )

    def _trips(self, solved: BusState) -> bool:
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

    def _sag(self, before: BusState, after: BusState) -> None:
        """Note the transient while a live rectifier takes over the current of the strings that opened.

        Source:
            Charge balance on the bus capacitors, linear pick-up: dV = I t / (2 C).
        """
        cfg = self.settings
        jump_a = np.maximum(after.rectifier_a - before.rectifier_a, 0.0)
        low = np.where(after.up, after.bus_v - jump_a * cfg.pickup_s / (2.0 * cfg.bus_farad), 0.0)
        self.state.bus_min_v = np.minimum(self.state.bus_min_v, low)

    def _disconnect(self, solved: BusState) -> None:
        st, cfg = self.state, self.settings
        stays = st.load_on & solved.up & (solved.bus_v >= cfg.lvd_v)
        st.load_on = stays | (~st.load_on & solved.up & (solved.bus_v >= cfg.reconnect_v))

    def _store(self, drive: Drive, solved: BusState, inp: BusInput) -> None:
        st = self.state
        st.bus_v, st.string_a, st.rectifier_a = solved.bus_v, solved.string_a, solved.rectifier_a
        st.pv_w = solved.pv_w
        st.ambient_c = drive.ambient_c
        served = (inp.load_w > 0.0) | (st.inverter_w != 0.0)
        st.load_w = np.where(solved.up & served & st.load_on, drive.load_w, 0.0)
        st.inverter_w = np.where(solved.up, st.inverter_w, 0.0)
        st.bus_min_v = np.minimum(st.bus_min_v, solved.bus_v)

    def _charge(self, solved: BusState, dt_s: float) -> Floats:
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

    def _alternating(self, drive: Drive, battery_heat_w: Floats, dt_s: float) -> None:
        """Settle the AC side, the cabinet's temperature and the energy counters."""
        st, cfg, hours = self.state, self.settings, dt_s / 3600.0
        out_w = st.rectifier_a * st.bus_v
        ac = st.mains | (st.genset_run_s > cfg.genset_start_s)
        working = ac & (self.modules_ok() > 0)
        loss_w = np.where(working, self.rectifier_loss_w(out_w), 0.0)
        st.rectifier_in_w = out_w + loss_w
        heat_w = loss_w + cfg.cabinet_load_share * st.load_w + np.maximum(battery_heat_w, 0.0)
        free_c = st.ambient_c + heat_w / cfg.cabinet_w_per_c
        wanted_w = np.maximum(free_c - cfg.cabinet_set_c, 0.0) * cfg.cabinet_w_per_c
        cooling_w = np.where(ac, np.minimum(wanted_w, cfg.cooling_max_w), 0.0)
        st.cabinet_c = free_c - cooling_w / cfg.cabinet_w_per_c
        st.aux_ac_w = np.where(ac, cfg.aux_base_w + cooling_w / cfg.cooling_cop, 0.0)
        rate = np.exp(-dt_s * self._cooling_w_per_c / self._heat_j_per_c)
        settled = st.cabinet_c + np.maximum(battery_heat_w, 0.0) / self._cooling_w_per_c
        st.battery_c = settled + (st.battery_c - settled) * rate
        site_w = st.rectifier_in_w + st.aux_ac_w + st.inverter_w
        st.grid_w = np.where(st.mains, site_w, 0.0)
        st.phase_w = np.where(st.mains[:, None], self._phases_w(), 0.0)
        st.genset_w = np.where(st.mains | ~ac, 0.0, site_w)
        burn = cfg.genset_l_per_h_idle + cfg.genset_l_per_kwh * st.genset_w / 1000.0
        st.fuel_l = np.maximum(st.fuel_l - np.where(st.genset_w > 0.0, burn * hours, 0.0), 0.0)
        e = st.energy
        e.mains += st.grid_w * hours
        e.genset += st.genset_w * hours
        e.aux += st.aux_ac_w * hours
        e.rectifier_loss += loss_w * hours
        e.inverter_loss += self._inverter_loss_w() * hours
        e.pv += st.pv_w * hours
        e.load += st.load_w * hours
        e.unserved += (drive.load_w - st.load_w) * hours

    def _phases_w(self) -> Floats:
        """Return the site's power on each of three phases, W: module k sits on phase k mod 3, auxiliaries on one."""
        st, on = self.state, self._on
        each_w = st.rectifier_in_w / np.maximum(on.sum(axis=1), 1)
        modules = on @ self._module_phase
        return np.asarray(
            modules * each_w[:, None] + self._aux_phase * st.aux_ac_w[:, None] + st.inverter_w[:, None] / 3.0
        )

    def _inverter_loss_w(self) -> Floats:
        eff, ac = self.settings.inverter_efficiency, self.state.inverter_w
        return np.asarray(np.where(ac < 0.0, -ac * (1.0 / eff - 1.0), ac * (1.0 - eff)))
