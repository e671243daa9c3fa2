"""What the trusted core answers: every broken rule, where and by how much, or why every rule passed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from sys import float_info

from edge.plan import Plan
from telemetry.model.site import SiteId


class Scope(StrEnum):
    """What kind of thing a breach is at."""

    PLAN = "plan"
    SITE = "site"
    FEEDER = "feeder"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a rule was applied: a site, a feeder, a radio cluster or the plan as a whole."""

    scope: Scope
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One rule broken at one place, over steps `step` to `last_step` (both included; None: not about a step).

    `by` is how far past the limit at the worst step, in `unit`; an unmet condition without a size has `by` 1 and no
    unit. `limit` is the tightest allowed value over those steps, where there is one.
    """

    rule: str
    name: str
    scope: Scope
    where: str
    by: float
    unit: str
    message: str
    step: int | None = None
    last_step: int | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one rule found at one place: its breaches, and the tightest margin where the rule measures one."""

    rule: str
    name: str
    place: Place
    unit: str = ""
    margin: float | None = None
    broken: tuple[Broken, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A rule that held everywhere, with its tightest margin and where that is."""

    rule: str
    name: str
    margin: float | None
    unit: str
    where: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMargin:
    """The least backup above the autonomy floor that a site keeps under the plan, hours at its upper peak load."""

    site_id: SiteId
    autonomy_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """Every rule holds; says why."""

    plan: Plan
    margins: tuple[SiteMargin, ...]
    passed: tuple[Passed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """At least one rule is broken; names all that could be judged."""

    plan: Plan
    broken: tuple[Broken, ...]


def at_plan(plan: Plan) -> Place:
    """Return the plan as a place."""
    return Place(scope=Scope.PLAN, where=str(plan.plan_id))


def at_site(site_id: str) -> Place:
    """Return a site as a place."""
    return Place(scope=Scope.SITE, where=site_id)


def finite(amount: float) -> float:
    """Return the amount, or the largest number where it is no number: a breach can always be told and stored."""
    return amount if isfinite(amount) else float_info.max


def unmet(rule: str, name: str, place: Place, message: str) -> Broken:
    """Return a breach of a condition that has no size."""
    return Broken(
        rule=rule,
        name=name,
        scope=place.scope,
        where=place.where,
        by=1.0,
        unit="",
        message=f"{place.scope} {place.where}: {message}",
    )


def over(rule: str, name: str, place: Place, by: float, unit: str, message: str) -> Broken:
    """Return a breach with a size and no step."""
    return Broken(
        rule=rule,
        name=name,
        scope=place.scope,
        where=place.where,
        by=finite(by),
        unit=unit,
        message=f"{place.scope} {place.where}: {message} ({finite(by):.6g} {unit} too much)",
    )


FREE = float_info.max  # the margin of a step on which a rule asks nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRule:
    """A rule that leaves a margin at each step: its name, its unit and its words for an operator.

    `span` turns two step indices into words such as `17:15-18:00 UTC`.
    """

    rule: str
    name: str
    unit: str
    text: str
    span: Callable[[int, int], str]

    def judge(self, place: Place, margins: Sequence[float], limits: Sequence[float] | None = None) -> Outcome:
        """Return the outcome of margins by step (zero or more: kept); runs of broken steps are told as one."""
        # Written as "not inside" so that NaN is refused too.
        bad = [step for step, margin in enumerate(margins) if not 0.0 <= margin <= FREE]
        return Outcome(
            rule=self.rule,
            name=self.name,
            place=place,
            unit=self.unit,
            margin=min(margins),
            broken=tuple(self._tell(place, run, margins, limits) for run in _runs(bad)),
        )

    def _tell(
        self, place: Place, run: tuple[int, int], margins: Sequence[float], limits: Sequence[float] | None
    ) -> Broken:
        first, last = run
        by = max(-margin if isfinite(margin) else FREE for margin in margins[first : last + 1])
        return Broken(
            rule=self.rule,
            name=self.name,
            scope=place.scope,
            where=place.where,
            by=by,
            unit=self.unit,
            message=f"{place.scope} {place.where}: {self.text} by {by:.6g} {self.unit}, {self.span(first, last)}",
            step=first,
            last_step=last,
            limit=None if limits is None else min(limits[first : last + 1]),
        )


def _runs(steps: Sequence[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of consecutive steps."""
    runs: list[tuple[int, int]] = []
    for step in steps:
        if runs and runs[-1][1] == step - 1:
            runs[-1] = (runs[-1][0], step)
        else:
            runs.append((step, step))
    return runs
