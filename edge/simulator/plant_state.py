"""What a simulated fleet is, at an instant: state, energy counters, commands and faulty hardware.

Arrays have shape (sites,) unless said otherwise; battery power and current are charging positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.simulator.battery import Floats, Ints
from edge.simulator.bus import Bools

TRIP_NONE, TRIP_UNDER_V, TRIP_OVER_V, TRIP_CURRENT, TRIP_HOT, TRIP_FORCED, TRIP_COLD = range(7)


@dataclass(slots=True, kw_only=True)
class Drive:
    """What the world does to the sites during a step; arrays (sites,)."""

    load_w: Floats
    ambient_c: Floats
    pv_w: Floats  # available at the DC bus
    mains: Bools


@dataclass(slots=True, kw_only=True)
class Energy:
    """Cumulative energy per site since the start, Wh; battery charging positive."""

    mains: Floats
    genset: Floats
    aux: Floats
    rectifier_loss: Floats
    inverter_loss: Floats
    pv: Floats
    load: Floats
    island: Floats  # given to the isolated section behind an open transfer switch
    backfed: Floats  # fed into a utility section without mains: must stay zero
    battery: Floats  # at the terminals
    battery_loss: Floats
    unserved: Floats
    shed: Floats  # switched off on request, not in `unserved`

    @staticmethod
    def zeros(sites: int) -> Energy:
        return Energy(**{name: np.zeros(sites) for name in Energy.__slots__})


@dataclass(slots=True, kw_only=True)
class Commands:
    """Set by the devices' registers; what a gateway can reach."""

    rectifier_v: Floats
    revert_s: Floats  # time left until the rectifier returns to float; 0: at float already
    charge_limit_a: Floats
    discharge_limit_a: Floats
    inverter_w: Floats  # AC, charging positive
    inverter_revert_s: Floats
    load_shed: Ints  # priority outputs that are off, one bit each
    modules_off: Ints  # rectifier modules asked to stand by, one bit each
    silent_s: Floats  # since the controller last heard a request


@dataclass(slots=True, kw_only=True)
class Hardware:
    """Faults and local switches, set by `faults.py`."""

    mains_forced_off: Bools
    modules_lost: Ints
    trip_forced: Bools  # (sites, strings)
    weak_ah: Floats  # (sites, strings) factor on capacity
    weak_ohm: Floats  # (sites, strings) factor on resistance
    local_lock: Bools
    genset_fails: Bools
    grid_hz: Floats
    load_factor: Floats  # on the load that the model gives


@dataclass(slots=True, kw_only=True)
class State:
    """The present state of every site; arrays (sites,) unless said otherwise."""

    soc_frac: Floats  # (sites, strings)
    soh_frac: Floats  # (sites, strings)
    battery_c: Floats
    closed: Bools  # (sites, strings)
    trip: Ints  # (sites, strings)
    string_a: Floats  # (sites, strings)
    bus_v: Floats
    bus_min_v: Floats  # lowest voltage the load saw, transient sag included, since it was last cleared
    load_w: Floats  # served
    load_on: Bools  # low-voltage disconnect closed
    rectifier_v: Floats  # output voltage it holds now
    rectifier_a: Floats
    rectifier_in_w: Floats
    ac_up_s: Floats  # time since AC came back
    pv_w: Floats
    grid_w: Floats
    modules_live: Floats  # rectifier modules that are on, those walking in as a part
    phase_w: Floats  # (sites, 3) import by phase
    aux_ac_w: Floats
    genset_w: Floats
    genset_run_s: Floats
    fuel_l: Floats
    inverter_w: Floats
    island_w: Floats  # of the inverter's power, what the isolated section takes, zero or more
    backfed_w: Floats  # and what goes into a dead utility section
    cabinet_c: Floats
    ambient_c: Floats
    mains: Bools
    energy: Energy
