"""What one simulated site is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChemistryName = Literal["lfp", "vrla"]
Controller = Literal["fine", "coarse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpec:
    """Ratings of one simulated site; the defaults make a 3 kW macro site with three LFP strings."""

    site_id: str
    chemistry: ChemistryName = "lfp"
    string_ah: float = 100.0
    strings: int = 3
    module_w: float = 3000.0
    modules: int = 3
    peak_load_w: float = 3000.0
    pv_rated_w: float = 0.0
    inverter_w: float = 0.0  # AC rating of a bidirectional inverter, 0 for none
    inverter_models: Literal["modern", "older"] = "modern"  # SunSpec 701 and 704, or 124
    transfer_switch: bool = False  # between the inverter and the utility, its contacts read back
    island_w: float = 0.0  # AC load of the isolated section that the inverter feeds while the switch is open
    genset_w: float = 0.0  # AC rating, 0 for none
    fuel_l: float = 0.0  # tank, full at the start
    latitude: float = 45.46
    longitude: float = 9.19
    controller: Controller = "fine"
    aux_phase: int = 0  # the phase that air conditioning and other auxiliaries hang on
    own_compensation: bool = True  # the controller follows the battery's temperature with its float voltage
    shed_shares: tuple[float, ...] = (0.20, 0.15)  # of the load, behind priority outputs 0, 1, ... [I]
    initial_soc_frac: float = 0.98
    initial_soh_frac: float = 1.0

    @property
    def float_v(self) -> float:
        """Float voltage at 25 degC: 3.40 V/cell for LFP, 2.25 V/cell for VRLA."""
        return 54.4 if self.chemistry == "lfp" else 54.0

    @property
    def max_v(self) -> float:
        """Upper bound of a written voltage: 56 V for LFP (datasheet), 55.2 V for VRLA (2.3 V/cell)."""
        return 56.0 if self.chemistry == "lfp" else 55.2

    @property
    def charge_limit_a(self) -> float:
        """Current limit the controller starts with: 0.3 C for LFP (datasheet), 0.2 C for VRLA [R]."""
        return self.strings * self.string_ah * (0.3 if self.chemistry == "lfp" else 0.2)

    @property
    def rated_wh(self) -> float:
        """Rated energy at 3.2 V per LFP cell or 2.0 V per lead-acid cell."""
        return self.strings * self.string_ah * (51.2 if self.chemistry == "lfp" else 48.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantSettings:
    """Constants of the simulated hardware; each is a setting because none is a measured value of ours."""

    backstop_v: float = 47.0
    lvd_v: float = 43.2  # low-voltage disconnect [I]
    reconnect_v: float = 49.0  # [I]
    ramp_v_per_s: float = 2.0  # rectifier output slew [I]
    walk_in_s: float = 5.0  # up to 5 s (Alpha Cordex manual)
    start_delay_s: float = 3.0  # adjustable to 120 s (Alpha Cordex manual)
    comm_loss_s: float = 300.0  # without a request for so long the controller takes its own limits again [I]
    pickup_s: float = 0.002  # a live rectifier takes over a lost battery's current in this time [I]
    bus_farad: float = 0.1  # rectifier output and equipment input capacitors [I]
    loss_fixed: float = 0.008  # of rated power of the modules that work [I]
    loss_linear: float = 0.014
    loss_square: float = 0.020  # together 96 % at half load, the efficiency of DOMAIN.md
    inverter_efficiency: float = 0.95  # [I]
    genset_start_s: float = 30.0  # [I]
    genset_l_per_h_idle: float = 0.8  # [I]
    genset_l_per_kwh: float = 0.28  # diesel, small sets [I]
    aux_base_w: float = 60.0  # fans, controller, lights [I]
    cabinet_w_per_c: float = 25.0  # heat through the cabinet's walls [I]
    cabinet_load_share: float = 0.10  # of the DC load that heats the cabinet; radios hang outside [I]
    cabinet_set_c: float = 28.0
    cooling_max_w: float = 3000.0  # heat removed
    cooling_cop: float = 2.8  # [I]
    pv_over_float_v: float = 0.6  # the MPPT charger's absorption above float [I]
    trip_reset_v: float = 48.0  # an under-voltage trip closes again when the bus is back [I]
