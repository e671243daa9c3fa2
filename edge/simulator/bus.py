"""The -48 V bus as a circuit: rectifier, battery strings, PV and a constant-power load (pure).

Magnitudes are used for voltages. Arrays: per site (sites,), per string (sites, strings).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.simulator.battery import Floats

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusInput:
    load_w: Floats  # DC power drawn whatever the voltage, inverter included
    pv_w: Floats  # what PV could give
    pv_max_v: Floats  # the MPPT charger stops raising the bus here
    rectifier_v: Floats  # output voltage it would hold
    rectifier_a: Floats  # current limit, 0 when off
    charge_limit_a: Floats
    discharge_limit_a: Floats
    charge_v: Floats  # (sites, strings) counter-voltage while charging
    discharge_v: Floats
    charge_ohm: Floats
    discharge_ohm: Floats
    closed: Bools  # (sites, strings)
    last_v: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class BusState:
    bus_v: Floats
    string_a: Floats  # (sites, strings), charging positive
    rectifier_a: Floats  # 0 or more
    pv_w: Floats  # what PV gives
    up: Bools  # False: the bus collapsed and the load has no supply


def string_currents(inp: BusInput, bus_v: Floats) -> Floats:
    """Return each closed string's current at a bus voltage, charging positive, zero in the rest band."""
    v = bus_v[:, None]
    charge = np.maximum(v - inp.charge_v, 0.0) / inp.charge_ohm
    discharge = np.minimum(v - inp.discharge_v, 0.0) / inp.discharge_ohm
    return np.where(inp.closed, charge + discharge, 0.0)


def _limited(inp: BusInput, string_a: Floats) -> Floats:
    """Scale the strings so that their sum keeps the site's charge and discharge limits."""
    total = string_a.sum(axis=1)
    wanted = np.clip(total, -inp.discharge_limit_a, inp.charge_limit_a)
    scale = np.divide(wanted, total, out=np.ones_like(total), where=np.abs(total) > 1e-9)
    scaled: Floats = string_a * scale[:, None]
    return scaled


def _free_voltage(inp: BusInput, source_a: Floats, net_w: Floats) -> tuple[Floats, Bools]:
    """Return the bus voltage where the strings carry the balance, and whether one exists.

    Thevenin of the strings with a constant-power load: G V^2 - (J + I) V + P = 0, upper root. Each string's
    branch is assumed, solved and corrected twice, which settles strings of unlike SoC.
    """
    needs: Bools = (net_w > source_a * inp.last_v).reshape(-1, 1)
    mode_charge: Bools = ~needs & inp.closed
    mode_discharge: Bools = needs & inp.closed
    v = inp.last_v
    exists = np.zeros(v.shape, dtype=np.bool_)
    for _ in range(3):
        g_k = np.where(mode_charge, 1.0 / inp.charge_ohm, 0.0) + np.where(
            mode_discharge, 1.0 / inp.discharge_ohm, 0.0
        )
        j_k = np.where(mode_charge, inp.charge_v / inp.charge_ohm, 0.0) + np.where(
            mode_discharge, inp.discharge_v / inp.discharge_ohm, 0.0
        )
        g = g_k.sum(axis=1)
        b = j_k.sum(axis=1) + source_a
        under = b * b - 4.0 * g * net_w
        exists = (g > 0.0) & (under >= 0.0)
        root = (b + np.sqrt(np.maximum(under, 0.0))) / (2.0 * np.where(g > 0.0, g, 1.0))
        v = np.where(exists, root, 0.0)
        next_charge = inp.closed & (v[:, None] > inp.charge_v)
        next_discharge = inp.closed & (v[:, None] < inp.discharge_v)
        if np.array_equal(next_charge, mode_charge) and np.array_equal(next_discharge, mode_discharge):
            break
        some = np.any(next_charge | next_discharge, axis=1, keepdims=True)
        mode_charge = np.where(some, next_charge, mode_charge)
        mode_discharge = np.where(some, next_discharge, mode_discharge)
    return v, exists


def solve_bus(inp: BusInput) -> BusState:
    """Solve one instant of the bus.

    The rectifier holds its voltage while it delivers between nothing and its current limit. Above the limit
    it is a current source; below zero it gives nothing, because it is one-way, and the strings set the bus.
    PV beyond what load and strings take is curtailed at the charger's voltage.
    """
    net_w = inp.load_w - inp.pv_w
    live = inp.rectifier_a > 0.0
    held_v = np.where(live, inp.rectifier_v, inp.last_v)
    held_a = _limited(inp, string_currents(inp, held_v))
    wants_a = net_w / np.maximum(held_v, 1.0) + held_a.sum(axis=1)
    held = live & (wants_a >= 0.0) & (wants_a <= inp.rectifier_a)
    bus_v, string_a, source_a, pv_w, up = held_v, held_a, wants_a, inp.pv_w, held
    if not held.all():
        limit_a = np.where(live & (wants_a > inp.rectifier_a), inp.rectifier_a, 0.0)
        free_v, exists = _free_voltage(inp, limit_a, net_w)
        free_a = string_currents(inp, free_v)
        surplus = (
            ~held
            & (net_w < 0.0)
            & ((free_v > inp.pv_max_v) | ~exists | (free_a.sum(axis=1) > inp.charge_limit_a + 1e-9))
        )
        top_v = np.where(exists, np.maximum(inp.pv_max_v, held_v), held_v)
        top_a = _limited(inp, string_currents(inp, top_v))
        # PV alone forms no bus: without a string or a live rectifier there is no supply.
        formed = exists | live
        bus_v = np.where(held, held_v, np.where(surplus, np.where(formed, top_v, 0.0), free_v))
        string_a = np.where(held[:, None], held_a, np.where(surplus[:, None], top_a, free_a))
        source_a = np.where(held, wants_a, np.where(surplus, 0.0, limit_a))
        taken_w = np.clip(inp.load_w + string_a.sum(axis=1) * bus_v, 0.0, inp.pv_w)
        pv_w = np.where(surplus, np.where(formed, taken_w, 0.0), inp.pv_w)
        up = held | (surplus & formed) | (~surplus & exists)
        string_a = np.where(up[:, None], string_a, 0.0)
        source_a = np.where(up, source_a, 0.0)
        pv_w = np.where(up, pv_w, 0.0)
        bus_v = np.where(up, bus_v, 0.0)
    return BusState(bus_v=bus_v, string_a=string_a, rectifier_a=source_a, pv_w=pv_w, up=up)
