"""What an optimiser hands back: the setpoints, how good they are, and what stood in the way."""

from dataclasses import dataclass

from tools.planning.problem import Bools, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A limit that kept a feeder from what was asked.

    Attributes:
        feeder: Row of the feeder, -1 for the fleet.
        first_step: First step of the run concerned.
        last_step: Last step, included.
        constraint: floor, load_cap, power, ramp, budget, radio_cluster, recovery, not_eligible, start_power, ceiling,
            charge_power, rectifier, connection, charge_headroom or export_limit.
        sites: Sites held back by it at the worst step.
        blocked_w: Battery power it held back at the worst step, W.
        shortfall_w: What was missing at the meter at the worst step, W.
    """

    feeder: int
    first_step: int
    last_step: int
    constraint: str
    sites: int
    blocked_w: float
    shortfall_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """The figures by which two plans are compared.

    Attributes:
        peak_w: Highest feeder import with the plan, over all feeders.
        shaved_w: Most that any feeder's import limit excess is reduced by, summed over feeders at their worst step.
        energy_wh: Discharged at the battery terminals.
        throughput_cycles: Energy moved either way over twice the usable energy of the sites used.
        min_margin_h: Smallest time any site outside recovery could run beyond its backup reserve.
        unserved_wh: What was asked for at the meter and is not delivered.
    """

    peak_w: float
    shaved_w: float
    energy_wh: float
    throughput_cycles: float
    min_margin_h: float
    unserved_wh: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DispatchSolution:
    """A plan with its proven bound.

    Attributes:
        name: Which alternative this is.
        setpoint_w: Shape (sites, steps), charging positive.
        energy_wh: Shape (sites, steps + 1), the first column is the start.
        import_without_w: Feeder import without the plan, shape (feeders, steps).
        import_with_w: Feeder import with the plan, shape (feeders, steps).
        objective: Cost of the plan under the problem's objectives.
        nothing: Cost of asking nothing of the fleet beyond what floors demand.
        bound: Proven: no plan that keeps the limits costs less.
        bound_no_ramp: The same without ramps and radio clusters.
        gap: (objective - bound) / (nothing - bound), zero where nothing can be gained.
        gap_no_ramp: The same against `bound_no_ramp`.
        recovery: Sites that only charge towards their band, shape (sites,).
        unused: Eligible sites that could not be used at all, shape (sites,).
        binding: What stood in the way, empty when everything asked is delivered.
        trade_off: Figures to compare plans by.
        seconds: CPU seconds spent.
    """

    name: str
    setpoint_w: Floats
    energy_wh: Floats
    import_without_w: Floats
    import_with_w: Floats
    objective: float
    nothing: float
    bound: float
    bound_no_ramp: float
    gap: float
    gap_no_ramp: float
    recovery: Bools
    unused: Bools
    binding: tuple[Binding, ...]
    trade_off: TradeOff
    seconds: float
