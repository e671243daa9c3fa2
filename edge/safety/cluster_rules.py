"""S12: neighbouring cells cover for each other, so not too many of a radio cluster may be near their floor at once."""

from dataclasses import dataclass
from itertools import pairwise
from operator import add

from edge.safety.case import Case
from edge.safety.track import Track
from edge.safety.verdict import FREE, Outcome, Place, Scope, StepRule
from telemetry.model.site import RadioClusterId


@dataclass(slots=True, kw_only=True)
class ClusterCount:
    """Sites of one radio cluster: how many are low at some time of each step, and how many of those by the plan's doing."""

    sites: int
    low: list[int]
    worse: list[int]

    @classmethod
    def empty(cls, case: Case) -> "ClusterCount":
        """Return counts over no site."""
        return cls(sites=0, low=[0] * case.steps, worse=[0] * case.steps)

    def add_unknown(self) -> None:
        """Count a site that cannot be simulated as low all the time."""
        self.sites += 1
        self.low = [count + 1 for count in self.low]

    def add(self, track: Track, margin_h: float) -> None:
        """Count a site: low means less than `margin_h` of its upper peak load above its floor.

        Levels and floors are straight lines within a step: low in it means low at one of its ends, and low anyway
        means low without the plan at both.
        """
        self.sites += 1
        spare_wh, idle_wh = margin_h * track.outlook.reference_w, track.pack.backup_wh
        floors = [
            floor + gone + spare_wh
            for floor, gone, _ in zip(
                track.outlook.floor_wh, track.committed_wh, track.level_wh, strict=False
            )
        ]
        # Written as "not enough" so that NaN counts as low.
        low = [not level >= floor for level, floor in zip(track.level_wh, floors, strict=True)]
        anyway = [not idle_wh >= floor for floor in floors]
        drawn = [level < idle_wh for level in track.level_wh]
        at_some_time = [a or b for a, b in pairwise(low)]
        by_plan = [
            here and (a or b) and not (c and d)
            for here, (a, b), (c, d) in zip(at_some_time, pairwise(drawn), pairwise(anyway), strict=True)
        ]
        self.low = list(map(add, self.low, at_some_time))
        self.worse = list(map(add, self.worse, by_plan))


def cluster_low(cluster: RadioClusterId, count: ClusterCount, case: Case) -> Outcome:
    """S12: wherever the plan makes a site low, the share of low sites is within the limit."""
    allowed = case.limits.policy.max_cluster_low_frac * count.sites
    rule = StepRule(
        rule="S12",
        name="cluster_low",
        unit="sites",
        text="too many sites near their floor at once",
        span=case.span,
    )
    margins = [allowed - low if worse else FREE for low, worse in zip(count.low, count.worse, strict=True)]
    return rule.judge(Place(scope=Scope.CLUSTER, where=cluster), margins, [allowed] * len(margins))
