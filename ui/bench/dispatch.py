"""Benchmark of the fleet optimiser on a simulated fleet: time, memory, gap to the proven bound, and broken limits."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tools.planning.groups import make_groups
from tools.planning.optimiser import solve
from tools.planning.prepare import prepare
from tools.planning.problem import DispatchProblem
from tools.planning.relaxation import Relaxation
from tools.planning.solution import DispatchSolution
from ui.bench.dispatch_check import violations
from ui.bench.dispatch_fleet import make_fleet
from ui.bench.dispatch_reference import optimum

REFERENCE_SITES = 500
DEVICES = 20


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
    ramps = _timed(make_fleet(seed, sites, feeders=feeders))
    free = _timed(make_fleet(seed, sites, feeders=feeders, ramps=False, clusters=False))
    device_ms = one_device_ms(make_fleet(seed, max(DEVICES, 40), feeders=1))
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
    """Return the CPU that one linear programme for one device takes, built and solved the fastest way we have."""
    alone = [_only(problem, site) for site in np.flatnonzero(problem.eligible)[:DEVICES].tolist()]
    began = time.process_time()
    for one in alone:
        prepared = prepare(one)
        groups = make_groups(prepared)
        if groups.count:
            Relaxation(prepared, groups, np.zeros(1, dtype=np.int64)).solve(groups.tight)
    return 1e3 * (time.process_time() - began) / len(alone)


def _only(problem: DispatchProblem, site: int) -> DispatchProblem:
    """Return the problem of one site on its feeder, without its cluster."""
    row = slice(site, site + 1)
    names = (
        "initial_wh", "usable_wh", "floor_wh", "ceiling_wh", "max_charge_w", "max_discharge_w", "load_cap_w",
        "rectifier_headroom_w", "connection_headroom_w", "efficiency_class", "ramp_w", "start_w", "feeder", "low_wh",
        "reserve_load_w", "eligible", "discharge_budget_wh",
    )  # fmt: skip
    cut: dict[str, Any] = {name: getattr(problem, name)[row] for name in names}
    return replace(problem, radio_cluster=np.full(1, -1), **cut)


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
