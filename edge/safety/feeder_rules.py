"""S6: a feeder's import and export with the plan, after release of all its sites at any step, and their recharge.

What is trusted: charging counts in full against the import limit and discharging in full against the export limit, and
neither pays for the other, so that any part of the plan may fail or be withheld. After a release a site waits one step
(its start is randomised) and then recharges only within the feeder's headroom below the limit, shared in proportion to
what the sites can take; where there is no headroom the recharge is deferred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import add, mul, sub

from edge.safety.case import Case, Commitment, draws, feeds
from edge.safety.eligibility import forecast_serves
from edge.safety.outlook import Outlook, offset_of, on_grid
from edge.safety.track import Track
from edge.safety.verdict import FREE, Broken, Outcome, Place, Scope, StepRule, at_site, unmet
from telemetry.model.series import LOWER, STEP_H, UPPER, Quantity
from telemetry.model.site import Feeder, FeederId, Site

_WAIT = 1  # steps between a release and the first recharge that is counted on


@dataclass(slots=True, kw_only=True)
class FeederSum:
    """Sums over a feeder's sites by step, W at the AC side, filled site by site."""

    upper_w: list[float]
    lower_w: list[float]
    charge_w: list[float]
    discharge_w: list[float]
    takes_w: list[float]

    @classmethod
    def empty(cls, case: Case) -> "FeederSum":
        """Return sums over no site."""
        return cls(
            upper_w=[0.0] * case.horizon,
            lower_w=[0.0] * case.steps,
            charge_w=[0.0] * case.steps,
            discharge_w=[0.0] * case.steps,
            takes_w=[0.0] * case.horizon,
        )

    def add_base(self, track: Track) -> None:
        """Add what the site draws from the grid without the plan, with what other live plans may ask of it."""
        self._add_own(track.site, track.outlook, track.aux_ac_w)
        self._add_commitments(track.site, track.commitments)
        if track.commitments:
            self._add_taker(track.site, track.charge_cap_w)

    def add_unknown(self, site: Site, outlook: Outlook, commitments: tuple[Commitment, ...]) -> None:
        """Add a site whose battery is not known: its load, and recharge as hard as its rectifiers can."""
        self._add_own(site, outlook, 0.0)
        self._add_commitments(site, commitments)
        if commitments:
            self._add_taker(site, [site.rectifiers.secure_w] * len(self.takes_w))

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

    def _add_taker(self, site: Site, caps_w: Sequence[float]) -> None:
        per_w = 1.0 / site.rectifiers.efficiency
        self.takes_w = list(map(add, self.takes_w, [w * per_w for w in map(max, caps_w, repeat(0.0))]))

    def add_plan(self, track: Track) -> None:
        """Add what the plan asks of the site."""
        per_w = 1.0 / track.site.rectifiers.efficiency
        self.charge_w = [
            total + max(0.0, w) * per_w for total, w in zip(self.charge_w, track.power.high_w, strict=True)
        ]
        self.discharge_w = [
            total - min(0.0, w) * per_w for total, w in zip(self.discharge_w, track.power.low_w, strict=True)
        ]
        if not track.commitments:
            self._add_taker(track.site, track.charge_cap_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What is left below a feeder's import limit without the plan, W by step, and the share of each site's recharge."""

    free_w: Sequence[float]
    export_free_w: Sequence[float]
    share: Sequence[float]


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
    share = [
        min(1.0, max(0.0, room) / max(takes, 1e-9)) for room, takes in zip(free, sums.takes_w, strict=True)
    ]
    return Headroom(free_w=free, export_free_w=export, share=share)


def at_feeder(feeder_id: FeederId) -> Place:
    """Return a feeder as a place."""
    return Place(scope=Scope.FEEDER, where=feeder_id)


def feeder_import(feeder: Feeder, sums: FeederSum, headroom: Headroom, case: Case) -> Outcome:
    """S6: wherever the plan charges, import stays within the limit even if nothing discharges."""
    rule = StepRule(
        rule="S6", name="feeder_import", unit="W", text="import goes above the feeder's limit", span=case.span
    )
    rooms = headroom.free_w[: case.steps]
    margins = [room - w if w > 0.0 else FREE for room, w in zip(rooms, sums.charge_w, strict=True)]
    return rule.judge(at_feeder(feeder.feeder_id), margins, rooms)


def feeder_export(feeder: Feeder, sums: FeederSum, headroom: Headroom, case: Case) -> Outcome:
    """S6: wherever the plan discharges, export stays within the limit even if nothing charges."""
    rule = StepRule(
        rule="S6", name="feeder_export", unit="W", text="export goes above the feeder's limit", span=case.span
    )
    rooms = headroom.export_free_w
    margins = [room - w if w > 0.0 else FREE for room, w in zip(rooms, sums.discharge_w, strict=True)]
    return rule.judge(at_feeder(feeder.feeder_id), margins, rooms)


def recharge(track: Track, headroom: Headroom, case: Case) -> list[Outcome]:
    """S6 and S1 after a release at any instant of the window, its end included.

    The energy that the plan took goes back within the longest allowed recharge time (S6), and until then the backup
    stays above the autonomy floor or the level that the site would have had anyway (S1). O(steps).
    """
    place = at_site(track.site.site_id)
    if not track.power.discharges:
        return [
            Outcome(rule="S6", name="recharge", place=place),
            Outcome(rule="S1", name="recharge_floor", place=place),
        ]
    back_wh = _recharged_wh(track, headroom)
    longest = case.horizon - case.steps - _WAIT
    idle_wh = track.pack.backup_wh
    fits = [
        back_wh[at + _WAIT + longest] - back_wh[at + _WAIT] - (idle_wh - level)
        for at, level in enumerate(track.level_wh)
    ]
    still = StepRule(
        rule="S6",
        name="recharge",
        unit="Wh",
        text="cannot be recharged in time after a release",
        span=case.instant,
    )
    keep = StepRule(
        rule="S1",
        name="recharge_floor",
        unit="Wh",
        text="backup falls below the autonomy floor before it is recharged after a release",
        span=case.instant,
    )
    hardest = _hardest_wh(track, back_wh)
    waits = [level - back_wh[at + _WAIT] - hardest[at + _WAIT] for at, level in enumerate(track.level_wh)]
    return [
        still.judge(
            place,
            [FREE if level >= idle_wh else fit for fit, level in zip(fits, track.level_wh, strict=True)],
        ),
        keep.judge(
            place,
            [FREE if level >= idle_wh else wait for wait, level in zip(waits, track.level_wh, strict=True)],
        ),
    ]


def _recharged_wh(track: Track, headroom: Headroom) -> list[float]:
    """Return what a recharge from the plan's start would have put back at each instant, as backup, Wh."""
    shared = map(mul, headroom.share, map(max, track.charge_cap_w, repeat(0.0)))
    per_w = track.pack.credit_frac * STEP_H
    return [0.0, *(w_steps * per_w for w_steps in accumulate(shared))]


def _hardest_wh(track: Track, back_wh: Sequence[float]) -> list[float]:
    """Return the highest floor still to come at each instant, less what is put back before it is due, Wh."""
    due = map(sub, track.due_wh, back_wh)
    hardest = list(accumulate(reversed(list(due)), max))
    hardest.reverse()
    return hardest
