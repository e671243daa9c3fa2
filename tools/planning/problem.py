"""The fleet dispatch problem as arrays: what a plan has to respect, and what it is for.

Every array of a problem is `float64` and ordered as the sites are, one row per site, one column per step.
Power is at the battery terminals, W, charging positive; energy is above the disconnect, Wh.
"""

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOLERANCE_WH = 1e-6
"""What rounding may cost: a start this far below its floor still counts as inside the band."""


class ProblemError(ValueError):
    """A problem that makes no sense; names the field, what is wrong and the first place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What a plan is for, as costs that are added up and minimised.

    All weights are in one currency unit of the caller's choice and zero switches a term off. Feeder arrays have shape (feeders, steps).

    Attributes:
        follow_w: Wanted change of each feeder's import at the AC meter, W, negative for relief; None for no target.
        follow_weight: Cost per Wh of |change - follow_w|, shape (feeders, steps), zero where nothing is asked.
        fleet_follow_w: The same for the whole fleet, shape (steps,).
        fleet_follow_weight: Cost per Wh, shape (steps,).
        excess_weight: Cost per Wh of feeder import above the import limit.
        peak_weight: Cost per W of each feeder's highest import over the horizon.
        demand_charge_per_w: Tariff per W of each feeder's highest import, above `billed_peak_w`.
        billed_peak_w: Peak already billed in this period, shape (feeders,); None for none.
        import_price: Cost per Wh drawn at the AC meter, shape (feeders, steps); None for none.
        export_price: Paid per Wh that a site feeds out, at most the import price; None for the import price.
        carbon_kg_per_wh: Grid intensity, shape (feeders, steps); None for none.
        carbon_price: Cost per kg.
        ageing_per_wh: Cost per Wh moved through the battery, either way, shape (classes,); None for none.
        terminal_value_per_wh: Worth of a Wh still stored at the end.
        previous_w: Setpoints in force, shape (sites, steps); None for none.
        change_weight: Cost per Wh of |setpoint - previous_w|.
    """

    follow_w: Floats | None = None
    follow_weight: Floats | None = None
    fleet_follow_w: Floats | None = None
    fleet_follow_weight: Floats | None = None
    excess_weight: float = 0.0
    peak_weight: float = 0.0
    demand_charge_per_w: float = 0.0
    billed_peak_w: Floats | None = None
    import_price: Floats | None = None
    export_price: Floats | None = None
    carbon_kg_per_wh: Floats | None = None
    carbon_price: float = 0.0
    ageing_per_wh: Floats | None = None
    terminal_value_per_wh: float = 0.0
    previous_w: Floats | None = None
    change_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DispatchProblem:
    """N sites over T steps with the limits that no plan may break.

    Attributes:
        initial_wh: Energy at the start, shape (sites,).
        usable_wh: Rated energy x SoH x temperature derating, shape (sites,).
        floor_wh: Backup reserve to be held at the end of each step, shape (sites, steps).
        ceiling_wh: Highest energy allowed at the end of each step, shape (sites, steps).
        max_charge_w: Battery limit by step, W, zero or more, shape (sites, steps).
        max_discharge_w: Battery limit by step as a magnitude, shape (sites, steps).
        load_cap_w: max(0, lower load - upper PV), or what a declared inverter adds to it, shape (sites, steps).
        self_use_w: Discharge up to here displaces the site's own import, beyond it is export; None for `load_cap_w`.
        rectifier_headroom_w: DC power the rectifiers can add with one module failed, shape (sites, steps).
        connection_headroom_w: AC power the connection can add, shape (sites, steps).
        efficiency_class: Row of the three efficiencies for each site, shape (sites,).
        charge_efficiency: Stored Wh per terminal Wh, 0..1, shape (classes,).
        discharge_efficiency: Terminal Wh per stored Wh, 0..1, shape (classes,).
        rectifier_efficiency: DC W per AC W, 0..1, shape (classes,).
        ramp_w: Largest change of setpoint from one step to the next, W, infinity for none, shape (sites,).
        start_w: Power at the start, W, shape (sites,).
        feeder: Row of the feeder arrays for each site, shape (sites,).
        background_w: Feeder import without the plan, upper quantile, W, shape (feeders, steps).
        import_limit_w: Shape (feeders, steps).
        export_limit_w: Zero or more, shape (feeders, steps).
        radio_cluster: Cluster of each site, -1 for none, shape (sites,).
        low_wh: A site below this energy counts as low, shape (sites,).
        low_share: Largest share of each radio cluster that may be low at once, 0..1, shape (clusters,).
        discharge_budget_wh: Most a site may discharge over the horizon, at the terminals, infinity for none.
        reserve_load_w: Load that the backup reserve was worked out for, above zero, shape (sites,).
        eligible: Sites that may be used; every other site gets exactly zero, shape (sites,).
        objectives: What the plan is for.
        step_h: Length of a step in hours.
    """

    initial_wh: Floats
    usable_wh: Floats
    floor_wh: Floats
    ceiling_wh: Floats
    max_charge_w: Floats
    max_discharge_w: Floats
    load_cap_w: Floats
    rectifier_headroom_w: Floats
    connection_headroom_w: Floats
    efficiency_class: Ints
    charge_efficiency: Floats
    discharge_efficiency: Floats
    rectifier_efficiency: Floats
    ramp_w: Floats
    start_w: Floats
    feeder: Ints
    background_w: Floats
    import_limit_w: Floats
    export_limit_w: Floats
    radio_cluster: Ints
    low_wh: Floats
    low_share: Floats
    reserve_load_w: Floats
    eligible: Bools
    discharge_budget_wh: Floats
    objectives: Objectives = field(default_factory=Objectives)
    self_use_w: Floats | None = None
    step_h: float = 0.25

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_finite(self)
        _check_ranges(self)
        _check_objectives(self)

    @property
    def sites(self) -> int:
        return int(self.initial_wh.shape[0])

    @property
    def steps(self) -> int:
        return int(self.floor_wh.shape[1])

    @property
    def feeders(self) -> int:
        return int(self.background_w.shape[0])

    @property
    def classes(self) -> int:
        return int(self.charge_efficiency.shape[0])


_BY_SITE = (
    "initial_wh", "usable_wh", "efficiency_class", "ramp_w", "start_w", "feeder", "radio_cluster", "low_wh",
    "reserve_load_w", "eligible", "discharge_budget_wh",
)  # fmt: skip
_BY_SITE_AND_STEP = (
    "floor_wh", "ceiling_wh", "max_charge_w", "max_discharge_w", "load_cap_w", "rectifier_headroom_w",
    "connection_headroom_w", "self_use_w",
)  # fmt: skip
_BY_FEEDER_AND_STEP = ("background_w", "import_limit_w", "export_limit_w")
_BY_CLASS = ("charge_efficiency", "discharge_efficiency", "rectifier_efficiency")
_MAY_BE_INFINITE = frozenset({"ramp_w", "discharge_budget_wh"})
_NOT_NEGATIVE = (
    "initial_wh", "usable_wh", "floor_wh", "max_charge_w", "max_discharge_w", "load_cap_w", "rectifier_headroom_w",
    "connection_headroom_w", "self_use_w", "export_limit_w", "low_wh", "discharge_budget_wh",
)  # fmt: skip


def _refuse(name: str, wrong: Bools, what: str) -> None:
    """Raise with the first place where `wrong` is true."""
    if bool(wrong.any()):
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ProblemError(f"{name} {what} at {place} ({int(wrong.sum())} in all)")


def _check_shapes(problem: DispatchProblem) -> None:
    n, t = problem.initial_wh.shape[0], problem.floor_wh.shape[-1]
    f, k = problem.background_w.shape[0], problem.charge_efficiency.shape[0]
    if n == 0 or t == 0:
        raise ProblemError(f"a problem needs at least one site and one step, not {n} and {t}")
    wanted: dict[str, tuple[int, ...]] = {}
    wanted |= dict.fromkeys(_BY_SITE, (n,)) | dict.fromkeys(_BY_SITE_AND_STEP, (n, t))
    wanted |= dict.fromkeys(_BY_FEEDER_AND_STEP, (f, t)) | dict.fromkeys(_BY_CLASS, (k,))
    for name, shape in wanted.items():
        array = getattr(problem, name)
        if array is not None and array.shape != shape:
            raise ProblemError(f"{name} has shape {array.shape}, not {shape}")
    if problem.low_share.ndim != 1:
        raise ProblemError(f"low_share has shape {problem.low_share.shape}, not (clusters,)")
    for name, high in (("feeder", f), ("efficiency_class", k)):
        rows = getattr(problem, name)
        _refuse(name, (rows < 0) | (rows >= high), f"is not a row of 0..{high - 1}")
    clusters = problem.low_share.shape[0]
    _refuse(
        "radio_cluster",
        (problem.radio_cluster < -1) | (problem.radio_cluster >= clusters),
        f"is neither -1 nor a row of 0..{clusters - 1}",
    )


def _check_finite(problem: DispatchProblem) -> None:
    for item in fields(problem):
        array = getattr(problem, item.name)
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            continue
        wrong = np.isnan(array) if item.name in _MAY_BE_INFINITE else ~np.isfinite(array)
        _refuse(item.name, wrong, "is not finite")


def _check_ranges(problem: DispatchProblem) -> None:
    # Written as "not inside" so that NaN is refused too.
    if not 0.0 < problem.step_h <= 24.0:
        raise ProblemError(f"step_h is {problem.step_h}, not within 0..24")
    for name in _NOT_NEGATIVE:
        array = getattr(problem, name)
        if array is not None:
            _refuse(name, ~(array >= 0.0), "is negative")
    for name in _BY_CLASS:
        _refuse(
            name, ~((getattr(problem, name) > 0.5) & (getattr(problem, name) <= 1.0)), "is not within 0.5..1"
        )
    _refuse("ramp_w", ~(problem.ramp_w > 0.0), "is not above zero")
    _refuse("reserve_load_w", ~(problem.reserve_load_w > 0.0), "is not above zero")
    _refuse("low_share", ~((problem.low_share >= 0.0) & (problem.low_share <= 1.0)), "is not within 0..1")
    _refuse("floor_wh", problem.floor_wh > problem.ceiling_wh + TOLERANCE_WH, "is above ceiling_wh")
    above = problem.ceiling_wh > problem.usable_wh[:, None] + TOLERANCE_WH
    _refuse("ceiling_wh", above, "is above usable_wh")


def _check_objectives(problem: DispatchProblem) -> None:  # noqa: C901, PLR0912 - one line per rule
    goal, shape = problem.objectives, (problem.feeders, problem.steps)
    wanted = {
        "follow_w": shape, "follow_weight": shape, "import_price": shape, "export_price": shape, "carbon_kg_per_wh": shape,
        "fleet_follow_w": (problem.steps,), "fleet_follow_weight": (problem.steps,), "billed_peak_w": (problem.feeders,),
        "ageing_per_wh": (problem.classes,), "previous_w": (problem.sites, problem.steps),
    }  # fmt: skip
    for name, size in wanted.items():
        array = getattr(goal, name)
        if array is None:
            continue
        if array.shape != size:
            raise ProblemError(f"objectives.{name} has shape {array.shape}, not {size}")
        _refuse(f"objectives.{name}", ~np.isfinite(array), "is not finite")
    for first, second in (("follow_w", "follow_weight"), ("fleet_follow_w", "fleet_follow_weight")):
        if (getattr(goal, first) is None) != (getattr(goal, second) is None):
            raise ProblemError(f"objectives.{first} and objectives.{second} come together or not at all")
    for name in ("follow_weight", "fleet_follow_weight", "ageing_per_wh"):
        if getattr(goal, name) is not None:
            _refuse(f"objectives.{name}", getattr(goal, name) < 0.0, "is negative")
    for name in ("excess_weight", "peak_weight", "demand_charge_per_w", "carbon_price", "change_weight"):
        if not 0.0 <= getattr(goal, name) < np.inf:
            raise ProblemError(f"objectives.{name} is {getattr(goal, name)}, not zero or more")
    if not np.isfinite(goal.terminal_value_per_wh):
        raise ProblemError("objectives.terminal_value_per_wh is not finite")
    if goal.export_price is not None:
        if goal.import_price is None:
            raise ProblemError("objectives.export_price needs import_price")
        _refuse("objectives.export_price", goal.export_price > goal.import_price, "is above import_price")
    if goal.change_weight > 0.0 and goal.previous_w is None:
        raise ProblemError("objectives.change_weight needs previous_w")
