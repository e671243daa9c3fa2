"""A fleet of simulated sites stepped together as arrays; one site is a fleet of one.

The plant is deterministic: the same specifications, drives and commands in the same steps give the same
states. It knows no wall clock: `step` is told how long the step is and what drives it. Simulated throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.simulator import battery
from edge.simulator.alternating import AcSide
from edge.simulator.battery import Floats, Ints
from edge.simulator.bus import Bools, BusInput, BusState, solve_bus
from edge.simulator.chemistry import CHEMISTRIES
from edge.simulator.plant_state import Commands, Drive, Energy, Hardware, State
from edge.simulator.site_spec import PlantSettings, SiteSpec
from edge.simulator.strings import Strings
from edge.simulator.transfer_switch import TransferSwitches

_NEVER = 1e9


class Plant:
    """Simulated sites, stepped together."""

    def __init__(self, specs: Sequence[SiteSpec], settings: PlantSettings | None = None) -> None:
        self.specs = tuple(specs)
        self.settings = settings or PlantSettings()
        n, s = len(self.specs), max(spec.strings for spec in self.specs)
        self.strings = Strings(self.specs, self.settings)
        self.installed = self.strings.installed
        self.switches = TransferSwitches.of(self.specs)
        self.float_v = self._of("float_v")
        self.max_v = self._of("max_v")
        self.module_w = self._of("module_w")
        self.modules = np.array([spec.modules for spec in self.specs])
        self.genset_rated_w = self._of("genset_w")
        cells = {c.name: c for c in CHEMISTRIES}
        kinds = [cells[spec.chemistry] for spec in self.specs]
        self._compensation_v_per_c = np.array([c.counter_v_per_c * c.cells for c in kinds])
        self._module = np.arange(max(spec.modules for spec in specs))
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
        self.strings.bind(self.state, self.hardware)
        self.ac = AcSide(self.specs, self.settings, self.state)
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
            island_w=zeros.copy(),
            backfed_w=zeros.copy(),
            cabinet_c=np.full(n, 25.0),
            ambient_c=np.full(n, 20.0),
            mains=np.ones(n, dtype=np.bool_),
            energy=Energy.zeros(n),
        )

    # -- derived quantities -------------------------------------------------------------------------

    def full_ah(self) -> Floats:
        """Return the present full capacity of each string, Ah."""
        return self.strings.full_ah()

    def stored_wh(self) -> Floats:
        """Return the energy stored per site, Wh, by integrating the discharge curve down to SoC 0."""
        here = self.strings
        per_string = battery.stored_wh(here.tables, here.cells.chem, self.state.soc_frac, self.full_ah())
        return np.asarray((per_string * self.installed).sum(axis=1))

    def site_soc_frac(self) -> Floats:
        """Return charge over present full capacity of the installed strings."""
        full = self.full_ah() * self.installed
        return np.asarray((self.state.soc_frac * full).sum(axis=1) / full.sum(axis=1))

    def site_soh_frac(self) -> Floats:
        """Return the mean state of health of the installed strings, weak ones counted."""
        full = self.full_ah() * self.installed
        return np.asarray(full.sum(axis=1) / (self.strings.cells.rated_ah * self.installed).sum(axis=1))

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
        """Return what the modules that are on lose at a DC output, W."""
        return self.ac.rectifier_loss_w(out_w)

    # -- one step -----------------------------------------------------------------------------------

    def step(self, drive: Drive, dt_s: float) -> None:
        """Advance every site by `dt_s` seconds (1 s or less under control, minutes for history)."""
        self._timers(drive, dt_s)
        self.switches.look(dt_s)
        drive = self._shed(drive, dt_s)
        limit_w = self._rectifier(dt_s)
        inp = self._bus_input(drive, limit_w, dt_s)
        solved = solve_bus(inp)
        if self.strings.trips(solved):
            again = solve_bus(replace(inp, closed=self.state.closed))
            self._sag(solved, again)
            solved = again
        self._store(drive, solved, inp)
        self._disconnect(solved)
        heat_w = self.strings.charge(solved, dt_s)
        self.ac.settle(drive, heat_w, self._on, self.modules_ok(), dt_s)

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
        """Return the circuit to solve: what is asked of the bus, and what feeds it."""
        st = self.state
        inverter_dc = self.ac.invert(self.commands.inverter_w, self.switches)
        charge_v, charge_ohm, discharge_v, discharge_ohm = self.strings.branches(dt_s)
        return BusInput(
            load_w=np.where(st.load_on, drive.load_w, 0.0) + inverter_dc,
            pv_w=drive.pv_w,
            pv_max_v=self.float_v + self.settings.pv_over_float_v,
            rectifier_v=st.rectifier_v,
            rectifier_w=limit_w,
            charge_limit_a=self.commands.charge_limit_a,
            discharge_limit_a=self.commands.discharge_limit_a,
            charge_v=charge_v,
            discharge_v=discharge_v,
            charge_ohm=charge_ohm,
            discharge_ohm=discharge_ohm,
            closed=st.closed,
            last_v=np.where(st.bus_v > 1.0, st.bus_v, self.float_v),
        )

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
        self.ac.trip_inverters(solved.up)
        st.bus_min_v = np.minimum(st.bus_min_v, solved.bus_v)
