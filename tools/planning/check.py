"""The optimiser's own last look: rows that break a limit of their site are found here, by direct recursion."""

import numpy as np

from tools.planning.cost import energy_wh
from tools.planning.prepare import Prepared
from tools.planning.problem import Bools, Floats
from tools.planning.sums import sum_by

SLACK = 1e-5
"""W and Wh within which a limit counts as kept."""


def broken_sites(prepared: Prepared, setpoint_w: Floats) -> Bools:
    """Say which active sites break a limit of their own, shape (sites,)."""
    problem = prepared.problem
    energy = energy_wh(problem, setpoint_w)[:, 1:]
    before = np.concatenate([problem.start_w[:, None], setpoint_w[:, :-1]], axis=1)
    spent = np.maximum(-setpoint_w, 0.0).sum(axis=1) * problem.step_h
    bad = (energy < prepared.floor_wh - SLACK).any(axis=1) | (energy > prepared.ceiling_wh + SLACK).any(
        axis=1
    )
    bad |= (setpoint_w > prepared.own_charge_w + SLACK).any(axis=1)
    bad |= (setpoint_w < -prepared.own_discharge_w - SLACK).any(axis=1)
    bad |= (np.abs(setpoint_w - before) > problem.ramp_w[:, None] + SLACK).any(axis=1)
    bad |= spent > problem.discharge_budget_wh + SLACK
    return np.asarray(bad & prepared.active)


def over_feeders(prepared: Prepared, setpoint_w: Floats) -> Bools:
    """Say which feeders get more charge than headroom or more discharge than room, shape (feeders,)."""
    problem = prepared.problem
    mine = np.where(prepared.active[:, None], setpoint_w, 0.0) / prepared.eta_r[:, None]
    charge = sum_by(problem.feeder, np.maximum(mine, 0.0), problem.feeders)
    discharge = sum_by(problem.feeder, np.maximum(-mine, 0.0), problem.feeders)
    over = (charge > prepared.headroom_w + SLACK) | (discharge > prepared.room_w + SLACK)
    return np.asarray(over.any(axis=1))
