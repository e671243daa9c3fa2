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
    rectifier_w: Floats  # the most it gives, 0 when off
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


def _free_voltage(inp: BusInput, surplus_w: Floats) -> tuple[Floats, Bools]:
    """Return the bus voltage where the strings take the surplus, or give what lacks, and whether one exists.

    Thevenin of the strings at constant power: G V^2 - J V - P = 0, upper root. Each string's branch is assumed,
    solved and corrected, which settles strings of unlike SoC; what does not settle is bisected.
    """
    takes: Bools = (surplus_w >= 0.0).reshape(-1, 1)
    charges: Bools = takes & inp.closed
    discharges: Bools = ~takes & inp.closed
    volts = inp.last_v
    exists: Bools = np.any(inp.closed, axis=1, keepdims=False)
    for _ in range(4):
        per_ohm = charges / inp.charge_ohm + discharges / inp.discharge_ohm
        short_a = charges * inp.charge_v / inp.charge_ohm + discharges * inp.discharge_v / inp.discharge_ohm
        g, j = per_ohm.sum(axis=1), short_a.sum(axis=1)
        under = j * j + 4.0 * g * surplus_w
        exists = np.logical_and(g > 0.0, under >= 0.0)
        volts = np.where(
            exists, (j + np.sqrt(np.maximum(under, 0.0))) / (2.0 * np.where(g > 0.0, g, 1.0)), 0.0
        )
        next_charges = inp.closed & (volts[:, None] > inp.charge_v)
        next_discharges = inp.closed & (volts[:, None] < inp.discharge_v)
        if np.array_equal(next_charges, charges) and np.array_equal(next_discharges, discharges):
            return volts, exists
        some = np.any(next_charges | next_discharges, axis=1, keepdims=True)
        charges = np.where(some, next_charges, charges)
        discharges = np.where(some, next_discharges, discharges)
    taken_w = string_currents(inp, volts).sum(axis=1) * volts
    settled = np.abs(taken_w - surplus_w) <= 1e-6 * np.maximum(np.abs(surplus_w), 1.0)
    return np.where(settled | ~exists, volts, _bisected(inp, surplus_w)), exists


def _bisected(inp: BusInput, surplus_w: Floats) -> Floats:
    """Return the voltage by bisection: power into the strings rises with voltage above half the highest rest."""
    low = 0.5 * np.max(np.where(inp.closed, inp.discharge_v, 0.0), axis=1)
    high = np.full_like(low, 100.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        more = string_currents(inp, middle).sum(axis=1) * middle > surplus_w
        low, high = np.where(more, low, middle), np.where(more, middle, high)
    return np.asarray(0.5 * (low + high))


def solve_bus(inp: BusInput) -> BusState:
    """Solve one instant of the bus.

    The rectifier holds its voltage while it gives between nothing and its limit. At the limit it is a source
    of constant power, as switched-mode rectifiers are above their knee voltage; below zero it gives nothing,
    because it is one-way, and the strings set the bus. PV beyond what load and strings take is curtailed at
    the charger's voltage.
    """
    net_w = inp.load_w - inp.pv_w
    live = inp.rectifier_w > 0.0
    held_v = np.where(live, inp.rectifier_v, inp.last_v)
    held_a = _limited(inp, string_currents(inp, held_v))
    wants_w = net_w + held_a.sum(axis=1) * held_v
    held = live & (wants_w >= 0.0) & (wants_w <= inp.rectifier_w)
    if held.all():
        return BusState(bus_v=held_v, string_a=held_a, rectifier_a=wants_w / held_v, pv_w=inp.pv_w, up=held)
    return _free(
        inp, BusState(bus_v=held_v, string_a=held_a, rectifier_a=wants_w / held_v, pv_w=inp.pv_w, up=held)
    )


def _free(inp: BusInput, at_hold: BusState) -> BusState:
    """Solve the sites whose rectifier does not hold its voltage; `at_hold.up` says which do."""
    net_w = inp.load_w - inp.pv_w
    live = inp.rectifier_w > 0.0
    held, held_v = at_hold.up, at_hold.bus_v
    source_w = np.where(at_hold.rectifier_a * held_v > inp.rectifier_w, inp.rectifier_w, 0.0)
    free_v, exists = _free_voltage(inp, source_w - net_w)
    free_a = string_currents(inp, free_v)
    too_much = ~exists | (free_v > inp.pv_max_v) | (free_a.sum(axis=1) > inp.charge_limit_a + 1e-9)
    surplus = ~held & (net_w < 0.0) & too_much
    # PV alone forms no bus: without a string or a live rectifier there is no supply.
    formed = inp.closed.any(axis=1) | live
    top_v = np.where(inp.closed.any(axis=1), np.maximum(inp.pv_max_v, held_v), held_v)
    top_a = _limited(inp, string_currents(inp, top_v))
    # Where the charge limit binds, the sun may not reach the charger's voltage: it settles where the limit takes it all.
    over = (top_a.sum(axis=1) * top_v > -net_w) & (net_w < 0.0)
    top_v = np.where(over, -net_w / np.maximum(top_a.sum(axis=1), 1e-9), top_v)
    top_a = _limited(inp, string_currents(inp, top_v))
    up = held | (surplus & formed) | (~surplus & exists)
    bus_v = np.where(up, np.where(held, held_v, np.where(surplus, top_v, free_v)), 0.0)
    string_a = np.where(held[:, None], at_hold.string_a, np.where(surplus[:, None], top_a, free_a))
    string_a = np.where(up[:, None], string_a, 0.0)
    rectifier_a = np.where(
        held, at_hold.rectifier_a, np.where(surplus, 0.0, source_w / np.maximum(bus_v, 1.0))
    )
    taken_w = np.clip(inp.load_w + string_a.sum(axis=1) * bus_v, 0.0, inp.pv_w)
    return BusState(
        bus_v=bus_v,
        string_a=string_a,
        rectifier_a=np.where(up, rectifier_a, 0.0),
        pv_w=np.where(up, np.where(surplus, taken_w, inp.pv_w), 0.0),
        up=up,
    )
