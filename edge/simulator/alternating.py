"""The AC side of simulated sites: inverter and transfer switch, rectifier losses, cabinet climate, genset, meters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.simulator.battery import Floats, Ints
from edge.simulator.bus import Bools
from edge.simulator.chemistry import CHEMISTRIES
from edge.simulator.plant_state import Drive, State
from edge.simulator.site_spec import PlantSettings, SiteSpec
from edge.simulator.transfer_switch import TransferSwitches


class AcSide:
    """Settles what a step of the DC bus means on the AC side; its state is the plant's."""

    def __init__(self, specs: Sequence[SiteSpec], settings: PlantSettings, state: State) -> None:
        self._settings, self._state = settings, state
        chemistry = {c.name: c for c in CHEMISTRIES}
        cells = [chemistry[spec.chemistry] for spec in specs]
        bank_ah = np.array([spec.string_ah * spec.strings for spec in specs])
        self._heat_j_per_c = np.array([c.heat_j_per_c_ah for c in cells]) * bank_ah
        self._cooling_w_per_c = np.array([c.cooling_w_per_c_ah for c in cells]) * bank_ah
        self._module_w = np.array([spec.module_w for spec in specs])
        most = max(spec.modules for spec in specs)
        self._module_phase = np.eye(3)[np.arange(most) % 3]  # (modules, 3): module k sits on phase k mod 3
        self._aux_phase = np.eye(3)[[spec.aux_phase for spec in specs]]
        self._inverter_rated_w = np.array([spec.inverter_w for spec in specs])
        self._island_load_w = np.array([spec.island_w for spec in specs])

    def invert(self, commanded_w: Floats, switches: TransferSwitches) -> Floats:
        """Settle what the inverters do at their AC side; return what they take from the bus, W.

        In parallel with the mains they do what they are told. Without mains they form a grid of their own, once the
        switch's contacts say that it is open: then they give what the isolated section takes, up to the command. A
        switch that lies makes them feed a utility section that should be dead: `backfed_w`.
        """
        st, rated_w = self._state, self._inverter_rated_w
        asked_w = np.clip(commanded_w, -rated_w, rated_w)
        joined = st.mains & ~switches.open
        forms = switches.claims_open()
        section_w = np.minimum(np.maximum(-asked_w, 0.0), self._island_load_w)
        st.island_w = np.where(switches.open & forms, section_w, 0.0)
        st.backfed_w = np.where(~switches.open & ~st.mains & forms, np.maximum(-asked_w, 0.0), 0.0)
        st.inverter_w = np.where(joined, asked_w, -st.island_w - st.backfed_w)
        efficiency = self._settings.inverter_efficiency
        ac = st.inverter_w
        return np.asarray(np.where(ac < 0.0, -ac / efficiency, -ac * efficiency))

    def trip_inverters(self, up: Bools) -> None:
        """Let the inverters of sites whose bus is down do nothing."""
        st = self._state
        st.inverter_w = np.where(up, st.inverter_w, 0.0)
        st.island_w = np.where(up, st.island_w, 0.0)
        st.backfed_w = np.where(up, st.backfed_w, 0.0)

    def rectifier_loss_w(self, out_w: Floats) -> Floats:
        """Return what the modules that are on lose at a DC output, W: fixed, linear and square parts (settings)."""
        cfg, rated_w = self._settings, np.maximum(self._state.modules_live * self._module_w, 1.0)
        return np.asarray(
            cfg.loss_fixed * rated_w + cfg.loss_linear * out_w + cfg.loss_square * out_w**2 / rated_w
        )

    def settle(self, drive: Drive, battery_heat_w: Floats, on: Bools, modules_ok: Ints, dt_s: float) -> None:
        """Settle temperatures, the AC balance and the energy counters for a step.

        Args:
            drive: Of the step.
            battery_heat_w: Made in each site's battery.
            on: Which modules are on, (sites, modules).
            modules_ok: How many work.
            dt_s: The step's length.
        """
        st, cfg, hours = self._state, self._settings, dt_s / 3600.0
        out_w = st.rectifier_a * st.bus_v
        ac = st.mains | (st.genset_run_s > cfg.genset_start_s)
        loss_w = np.where(ac & (modules_ok > 0), self.rectifier_loss_w(out_w), 0.0)
        st.rectifier_in_w = out_w + loss_w
        self._warm(battery_heat_w, loss_w, ac, dt_s)
        inside_w = st.rectifier_in_w + st.aux_ac_w
        at_grid_w = st.inverter_w + st.island_w  # what of the inverter is at the utility's terminals
        st.grid_w = np.where(st.mains, inside_w, 0.0) + at_grid_w
        st.phase_w = np.where(st.mains[:, None], self._phases_w(on, at_grid_w), at_grid_w[:, None] / 3.0)
        st.genset_w = np.where(st.mains | ~ac, 0.0, inside_w)
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
        e.island += st.island_w * hours
        e.backfed += st.backfed_w * hours
        e.unserved += (drive.load_w - st.load_w) * hours

    def _warm(self, battery_heat_w: Floats, loss_w: Floats, ac: Bools, dt_s: float) -> None:
        """Move the temperatures: losses and the battery heat the cabinet, the battery follows with its own mass."""
        st, cfg = self._state, self._settings
        heat_w = loss_w + cfg.cabinet_load_share * st.load_w + np.maximum(battery_heat_w, 0.0)
        free_c = st.ambient_c + heat_w / cfg.cabinet_w_per_c
        wanted_w = np.maximum(free_c - cfg.cabinet_set_c, 0.0) * cfg.cabinet_w_per_c
        cooling_w = np.where(ac, np.minimum(wanted_w, cfg.cooling_max_w), 0.0)
        st.cabinet_c = free_c - cooling_w / cfg.cabinet_w_per_c
        st.aux_ac_w = np.where(ac, cfg.aux_base_w + cooling_w / cfg.cooling_cop, 0.0)
        rate = np.exp(-dt_s * self._cooling_w_per_c / self._heat_j_per_c)
        settled = st.cabinet_c + np.maximum(battery_heat_w, 0.0) / self._cooling_w_per_c
        st.battery_c = settled + (st.battery_c - settled) * rate

    def _phases_w(self, on: Bools, at_grid_w: Floats) -> Floats:
        """Return the site's power on each of three phases, W: module k sits on phase k mod 3, auxiliaries on one."""
        st = self._state
        each_w = st.rectifier_in_w / np.maximum(on.sum(axis=1), 1)
        modules = on @ self._module_phase
        return np.asarray(
            modules * each_w[:, None] + self._aux_phase * st.aux_ac_w[:, None] + at_grid_w[:, None] / 3.0
        )

    def _inverter_loss_w(self) -> Floats:
        eff, ac = self._settings.inverter_efficiency, self._state.inverter_w
        return np.asarray(np.where(ac < 0.0, -ac * (1.0 / eff - 1.0), ac * (1.0 - eff)))
