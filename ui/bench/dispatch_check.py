"""An independent check of a dispatch plan: every site and feeder simulated again from the problem's numbers alone.

It shares no code with the optimiser on purpose.
"""

import numpy as np
from numpy.typing import NDArray

from tools.planning.problem import DispatchProblem

SLACK = 1e-3
"""W and Wh that rounding may cost."""


def violations(
    problem: DispatchProblem,
    setpoint_w: NDArray[np.float64],
    recovery: NDArray[np.bool_],
    unused: NDArray[np.bool_],
) -> dict[str, int]:
    """Return how often each rule is broken, in site-steps, feeder-steps or cluster-steps; empty for a clean plan."""
    found: dict[str, int] = {}

    def count(rule: str, wrong: NDArray[np.bool_]) -> None:
        if bool(wrong.any()):
            found[rule] = found.get(rule, 0) + int(wrong.sum())

    used = problem.eligible & ~unused
    count("finite", ~np.isfinite(setpoint_w))
    count("not_zero_though_unusable", (~used[:, None]) & (setpoint_w != 0.0))
    count("recovery_discharges", recovery[:, None] & (setpoint_w < 0.0))
    needs = (problem.initial_wh < problem.floor_wh.max(axis=1) + SLACK) | (problem.start_w < 0.0)
    count("recovery_without_need", recovery & ~needs)
    _sites(problem, setpoint_w, used, recovery, count)
    _feeders(problem, setpoint_w, count)
    return found


def _sites(problem, setpoint_w, used, recovery, count) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    k = problem.efficiency_class
    energy = problem.initial_wh.copy()
    last = problem.start_w.copy()
    discharged = np.zeros(problem.sites)
    clusters = problem.low_share.size
    member = problem.radio_cluster >= 0
    size = np.bincount(problem.radio_cluster[member], minlength=clusters)
    low = member & (energy < problem.low_wh - SLACK)
    low_start = np.bincount(problem.radio_cluster[low], minlength=clusters)
    may = np.maximum(np.floor(problem.low_share * size + 1e-9), low_start)
    for t in range(problem.steps):
        p = setpoint_w[:, t]
        charge, discharge = np.clip(p, 0.0, None), np.clip(-p, 0.0, None)
        discharged += discharge * problem.step_h
        energy = energy + problem.step_h * (
            charge * problem.charge_efficiency[k] - discharge / problem.discharge_efficiency[k]
        )
        count("floor", used & ~recovery & (energy < problem.floor_wh[:, t] - SLACK))
        top = np.maximum(problem.ceiling_wh[:, t], problem.initial_wh)
        count("ceiling", used & (energy > top + SLACK))
        count("charge_above_ceiling", used & (charge > SLACK) & (energy > problem.ceiling_wh[:, t] + SLACK))
        count("charge_power", charge > problem.max_charge_w[:, t] + SLACK)
        count("rectifier", charge > problem.rectifier_headroom_w[:, t] + SLACK)
        count(
            "connection",
            charge / problem.rectifier_efficiency[k] > problem.connection_headroom_w[:, t] + SLACK,
        )
        count("discharge_power", discharge > problem.max_discharge_w[:, t] + SLACK)
        count("load_cap", discharge > problem.load_cap_w[:, t] + SLACK)
        step = np.abs(p - last)
        if t == 0:
            step = np.where(recovery & (last < 0.0), 0.0, step)
        count("ramp", used & (step > problem.ramp_w + SLACK))
        low = member & (energy < problem.low_wh - SLACK)
        count("radio_cluster", np.bincount(problem.radio_cluster[low], minlength=clusters) > may)
        last = p
    count("budget", discharged > problem.discharge_budget_wh + SLACK)


def _feeders(problem, setpoint_w, count) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Import with the plan stays within max(limit, import without it), also with every discharge called off."""
    for t in range(problem.steps):
        at_meter = setpoint_w[:, t] / problem.rectifier_efficiency[problem.efficiency_class]
        net = np.bincount(problem.feeder, weights=at_meter, minlength=problem.feeders)
        charging = np.bincount(
            problem.feeder, weights=np.clip(at_meter, 0.0, None), minlength=problem.feeders
        )
        without = problem.background_w[:, t]
        allowed = np.maximum(problem.import_limit_w[:, t], without)
        count("feeder_import", without + net > allowed + SLACK)
        count("feeder_import_without_discharge", without + charging > allowed + SLACK)
        lowest = np.minimum(-problem.export_limit_w[:, t], without)
        count("feeder_export", without + net < lowest - SLACK)
