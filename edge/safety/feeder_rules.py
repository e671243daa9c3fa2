"""S6: a feeder's import and export with the plan, and after release of its sites at any step, until they are full again.

What is trusted: charging counts in full against the import limit and discharging in full against the export limit, and
neither pays for the other, so that any part of the plan may fail or be withheld. Released sites recharge by their own
terms, which know the feeder only as a share by hour of the day. So at every step at which a site may be recharging, all
of them together, at the fastest, must fit below the limit: a recharge that would not fit has to be deferred by its terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

from edge.safety.case import Case, Commitment, draws, feeds
from edge.safety.eligibility import forecast_serves
from edge.safety.outlook import Outlook, offset_of, on_grid
from edge.safety.recharge import Recharge, charges_by_itself, fast_ac_w, recharge_of, recharging_steps
from edge.safety.track import Track
from edge.safety.verdict import FREE, Broken, Outcome, Place, Scope, StepRule, unmet
from telemetry.model.series import LOWER, UPPER, Quantity
from telemetry.model.site import Feeder, FeederId, Site


@dataclass(slots=True, kw_only=True)
class FeederSum:
    """Sums over a feeder's sites by step, W at the AC side, filled site by site.

    `charge_w` and `discharge_w` are what the plan asks. Beyond that, `rebound_w` is what released sites may take that
    the plan drew on, `idle_w` what its other sites may take that are not full, `others_w` what sites outside it may take.
    """

    upper_w: list[float]
    lower_w: list[float]
    charge_w: list[float]
    discharge_w: list[float]
    rebound_w: list[float]
    idle_w: list[float]
    others_w: list[float]

    @classmethod
    def empty(cls, case: Case) -> "FeederSum":
        """Return sums over no site."""
        return cls(
            upper_w=[0.0] * case.horizon,
            lower_w=[0.0] * case.steps,
            charge_w=[0.0] * case.steps,
            discharge_w=[0.0] * case.steps,
            rebound_w=[0.0] * case.horizon,
            idle_w=[0.0] * case.horizon,
            others_w=[0.0] * case.horizon,
        )

    def add_base(self, track: Track) -> None:
        """Add what the site draws from the grid without the plan, with what other live plans may ask of it."""
        self._add_own(track.site, track.outlook, track.aux_ac_w)
        self._add_commitments(track.site, track.commitments)

    def add_outsider(self, track: Track, case: Case) -> None:
        """Add the recharge of a site outside the plan, where its battery is not full or other plans draw on it."""
        if charges_by_itself(track):
            steps = recharging_steps(track, recharge_of(track, case), case)
            _add(self.others_w, _fast_w(track, case), steps)

    def add_unknown(
        self, site: Site, outlook: Outlook, commitments: tuple[Commitment, ...], case: Case
    ) -> None:
        """Add a site whose battery is not known: its load, and a recharge as fast as its terms let it."""
        self._add_own(site, outlook, 0.0)
        self._add_commitments(site, commitments)
        fast = fast_ac_w(site, outlook.net_upper_w, 0.0, case.plan.window_start)
        _add(self.others_w, fast, range(case.horizon))

    def _add_own(self, site: Site, outlook: Outlook, aux_ac_w: float) -> None:
        efficiency, exports = site.rectifiers.efficiency, site.inverter is not None
        self.upper_w = [
            total + net / efficiency + aux_ac_w
            for total, net in zip(self.upper_w, map(max, outlook.net_upper_w, repeat(0.0)), strict=True)
        ]
        self.lower_w = [
            total + max(0.0, net) / efficiency + (min(0.0, net) if exports else 0.0)
            for total, net in zip(self.lower_w, outlook.net_lower_w, strict=False)
        ]

    def _add_commitments(self, site: Site, commitments: tuple[Commitment, ...]) -> None:
        for step, w in feeds(commitments):
            if step in range(len(self.upper_w)):
                self.upper_w[step] += w / site.rectifiers.efficiency
        for step, w in draws(commitments):
            if step in range(len(self.lower_w)):
                self.lower_w[step] -= w / site.rectifiers.efficiency

    def add_plan(self, track: Track, recharge: Recharge, case: Case) -> None:
        """Add what the plan asks of the site, and what the site may take when it is released from it."""
        per_w = 1.0 / track.site.rectifiers.efficiency
        charge = [max(0.0, w) * per_w for w in track.power.high_w]
        self.charge_w = [total + w for total, w in zip(self.charge_w, charge, strict=True)]
        self.discharge_w = [
            total - min(0.0, w) * per_w for total, w in zip(self.discharge_w, track.power.low_w, strict=True)
        ]
        drawn = track.power.discharges
        if not (drawn or charges_by_itself(track)):
            return
        beyond = _fast_w(track, case)
        beyond[: len(charge)] = [max(0.0, fast - w) for fast, w in zip(beyond, charge, strict=False)]
        _add(self.rebound_w if drawn else self.idle_w, beyond, recharging_steps(track, recharge, case))


def _fast_w(track: Track, case: Case) -> list[float]:
    return fast_ac_w(track.site, track.outlook.net_upper_w, track.aux_ac_w, case.plan.window_start)


def _add(total_w: list[float], row_w: Sequence[float], steps: range) -> None:
    for step in steps:
        total_w[step] += row_w[step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What is left below a feeder's import limit without the plan, W by step, and above its export limit."""

    free_w: Sequence[float]
    export_free_w: Sequence[float]


def headroom_of(feeder: Feeder, sums: FeederSum, case: Case) -> Headroom | Broken:
    """Return the feeder's headroom, or the breach that its background load is not known over the window."""
    background = case.state.background.get(feeder.feeder_id)
    max_age = case.limits.policy.max_background_age
    place = at_feeder(feeder.feeder_id)
    if background is None or not forecast_serves(
        background, feeder.feeder_id, Quantity.BACKGROUND_W, case.now, max_age
    ):
        return unmet("S6", "background", place, "its background load is not known")
    offset = offset_of(background, case.plan.window_start)
    if not offset + case.steps <= background.steps:
        return unmet(
            "S6", "background", place, "the forecast of its background load ends before the plan does"
        )
    # Where the forecast has ended no headroom is counted on.
    upper = on_grid(background.quantile_w(UPPER), offset, case.horizon, feeder.import_limit_w)
    lower = on_grid(background.quantile_w(LOWER), offset, case.steps, 0.0)
    limit_w = feeder.import_limit_w
    free = [limit_w - outside - own for outside, own in zip(upper, sums.upper_w, strict=True)]
    export = [outside + own + feeder.export_limit_w for outside, own in zip(lower, sums.lower_w, strict=True)]
    return Headroom(free_w=free, export_free_w=export)


def at_feeder(feeder_id: FeederId) -> Place:
    """Return a feeder as a place."""
    return Place(scope=Scope.FEEDER, where=feeder_id)


def feeder_import(feeder: Feeder, sums: FeederSum, headroom: Headroom, case: Case) -> Outcome:
    """S6: wherever the plan charges, import stays within the limit even if nothing discharges."""
    rule = StepRule(
        rule="S6", name="feeder_import", unit="W", text="import goes above the feeder's limit", span=case.span
    )
    rooms = [room - w for room, w in zip(headroom.free_w[: case.steps], sums.others_w, strict=False)]
    margins = [room - w if w > 0.0 else FREE for room, w in zip(rooms, sums.charge_w, strict=True)]
    return rule.judge(at_feeder(feeder.feeder_id), margins, rooms)


def feeder_rebound(feeder: Feeder, sums: FeederSum, headroom: Headroom, case: Case) -> Outcome:
    """S6: wherever released sites may be recharging, import stays within the limit with all of them at their fastest.

    A site that a release catches while others still charge by the plan counts beside them; one site counts once.
    """
    rule = StepRule(
        rule="S6",
        name="feeder_rebound",
        unit="W",
        text="recharge after a release lifts import above the feeder's limit",
        span=case.span,
    )
    asked = [*sums.charge_w, *[0.0] * (case.horizon - case.steps)]
    rows = (headroom.free_w, sums.others_w, sums.idle_w, asked)
    rooms = [room - other - idle - w for room, other, idle, w in zip(*rows, strict=True)]
    margins = [room - w if w > 0.0 else FREE for room, w in zip(rooms, sums.rebound_w, strict=True)]
    return rule.judge(at_feeder(feeder.feeder_id), margins, rooms)


def feeder_export(feeder: Feeder, sums: FeederSum, headroom: Headroom, case: Case) -> Outcome:
    """S6: wherever the plan discharges, export stays within the limit even if nothing charges."""
    rule = StepRule(
        rule="S6", name="feeder_export", unit="W", text="export goes above the feeder's limit", span=case.span
    )
    rooms = headroom.export_free_w
    margins = [room - w if w > 0.0 else FREE for room, w in zip(rooms, sums.discharge_w, strict=True)]
    return rule.judge(at_feeder(feeder.feeder_id), margins, rooms)
