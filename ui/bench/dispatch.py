"""Benchmark of the fleet optimiser on a simulated fleet: time, memory, gap to the proven bound, and broken limits."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import eye_array, hstack, vstack

from tools.planning.optimiser import solve
from tools.planning.problem import DispatchProblem
from tools.planning.solution import DispatchSolution
from ui.bench.dispatch_check import violations
from ui.bench.dispatch_fleet import make_fleet
from ui.bench.dispatch_reference import optimum

REFERENCE_SITES = 500
DEVICES = 20
KILO = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    plan: DispatchSolution
    wall_s: float
    cpu_s: float
    peak_mb: float
    broken: int


def run(seed: int, sites: int = 10_000, *, feeders: int = 20, full: bool = True) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        seed: Of the simulated fleet.
        sites: Base stations, over 96 steps.
        feeders: Feeders they hang on.
        full: Also 16 efficiency classes per feeder and the full linear programme over 500 sites (about half a minute).
    """
    devices = make_fleet(seed, max(DEVICES, 40), feeders=1)
    before_ms = one_device_ms(devices)
    ramps = _timed(make_fleet(seed, sites, feeders=feeders))
    device_ms = (before_ms + one_device_ms(devices)) / 2.0  # before and after: a shared machine's pace drifts
    free = _timed(make_fleet(seed, sites, feeders=feeders, ramps=False, clusters=False))
    site_ms = 1e3 * ramps.cpu_s / sites
    figures = {
        "dispatch_sites_count": float(sites),
        "dispatch_wall_s": ramps.wall_s,
        "dispatch_cpu_s": ramps.cpu_s,
        "dispatch_peak_mb": ramps.peak_mb,
        "dispatch_gap_frac": ramps.plan.gap,
        "dispatch_gap_to_bound_without_ramps_and_clusters_frac": ramps.plan.gap_no_ramp,
        "dispatch_without_ramps_and_clusters_gap_frac": free.plan.gap,
        "dispatch_violations_count": float(ramps.broken + free.broken),
        "dispatch_cpu_per_site_ms": site_ms,
        "dispatch_one_lp_per_device_cpu_ms": device_ms,
        "dispatch_cpu_over_one_lp_per_device_ratio": site_ms / device_ms,
    }
    goals = {
        "dispatch_wall_s": _most(10.0),
        "dispatch_peak_mb": _most(1000.0),
        "dispatch_gap_frac": _most(0.03),
        "dispatch_without_ramps_and_clusters_gap_frac": _most(0.0044, gating=False),
        "dispatch_violations_count": _most(0.0),
        "dispatch_cpu_over_one_lp_per_device_ratio": _most(0.1),
    }
    if full:
        classes = _timed(make_fleet(seed, sites, feeders=feeders, classes=16))
        figures["dispatch_16_classes_wall_s"] = classes.wall_s
        figures["dispatch_16_classes_gap_frac"] = classes.plan.gap
        figures["dispatch_violations_count"] += float(classes.broken)
        goals["dispatch_16_classes_wall_s"] = _most(30.0)
        figures |= against_full_programme(seed, min(sites, REFERENCE_SITES))
        goals["dispatch_500_bound_looser_frac"] = _most(0.01)
        goals["dispatch_500_bound_inside_optimum_frac"] = _most(0.0)
    return {"figures": figures, "goals": goals}


def against_full_programme(seed: int, sites: int) -> dict[str, float]:
    """Compare bound and plan with the optimum over every site and step; shares of the most that can be gained."""
    problem = make_fleet(seed, sites, feeders=5, clusters=False)
    plan = solve(problem)
    moved = problem.eligible & ~plan.recovery & ~plan.unused
    began = time.process_time()
    best, _ = optimum(problem, np.where(moved[:, None], 0.0, plan.setpoint_w), moved)
    gain = plan.nothing - best
    return {
        "dispatch_500_full_programme_cpu_s": time.process_time() - began,
        "dispatch_500_bound_looser_frac": (best - plan.bound) / gain,
        "dispatch_500_bound_inside_optimum_frac": max(plan.bound - best, 0.0) / gain,
        "dispatch_500_plan_worse_frac": (plan.objective - best) / gain,
    }


def one_device_ms(problem: DispatchProblem) -> float:
    """Return the CPU that one linear programme for one device takes, assembled from arrays and solved by HiGHS.

    It has the same energy balance, floor, ceiling, power limits, ramp, price, ageing cost and worth of stored energy.
    """
    usable = np.flatnonzero(problem.eligible & (problem.initial_wh >= problem.floor_wh[:, 0]))[:DEVICES]
    began = time.process_time()
    for site in usable.tolist():
        _device(problem, site)
    return 1e3 * (time.process_time() - began) / usable.size


def _device(problem: DispatchProblem, i: int) -> None:
    steps, step_h, goal, k = (
        problem.steps,
        problem.step_h,
        problem.objectives,
        int(problem.efficiency_class[i]),
    )
    same = eye_array(steps, format="csr")
    change = same - eye_array(steps, k=-1, format="csr")
    into, out = step_h * float(problem.charge_efficiency[k]), step_h / float(problem.discharge_efficiency[k])
    start = np.zeros(steps)
    start[0] = problem.initial_wh[i]
    price = np.zeros(steps) if goal.import_price is None else goal.import_price[problem.feeder[i]] * step_h
    wear = 0.0 if goal.ageing_per_wh is None else float(goal.ageing_per_wh[k]) * step_h
    worth = np.zeros(steps)
    worth[-1] = -goal.terminal_value_per_wh
    ramp = vstack([hstack([change, -change, 0.0 * same]), hstack([-change, change, 0.0 * same])]).tocsc()
    most = np.concatenate(
        [
            np.minimum(problem.max_charge_w[i], problem.rectifier_headroom_w[i]),
            np.minimum(problem.max_discharge_w[i], problem.load_cap_w[i]),
            problem.ceiling_wh[i],
        ]
    )
    least = np.concatenate([np.zeros(2 * steps), problem.floor_wh[i]])
    linprog(
        np.concatenate([price + wear, wear - price, worth]) * KILO,
        A_eq=hstack([-into * same, out * same, change]).tocsc(),
        b_eq=start / KILO,
        A_ub=ramp,
        b_ub=np.full(2 * steps, problem.ramp_w[i] / KILO),
        bounds=np.column_stack([least, most]) / KILO,
        method="highs",
    )


def _timed(problem: DispatchProblem) -> _Run:
    _forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    plan = solve(problem)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    broken = violations(problem, plan.setpoint_w, plan.recovery, plan.unused)
    return _Run(plan=plan, wall_s=wall, cpu_s=cpu, peak_mb=_peak_mb(), broken=sum(broken.values()))


def _forget_peak() -> None:
    """Let the kernel count this process's peak memory from here on; without that right it counts from the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024.0
    return float("nan")


def _most(value: float, *, gating: bool = True) -> dict[str, Any]:
    return {"op": "<=", "value": value, "gating": gating}
