"""S12: neighbouring cells cover for each other, so not too many of a radio cluster may be near their floor at once."""

from dataclasses import dataclass

from edge.safety.case import Case
from edge.safety.track import Track
from edge.safety.verdict import FREE, Outcome, Place, Scope, StepRule
from telemetry.model.site import RadioClusterId


@dataclass(slots=True, kw_only=True)
class ClusterCount:
    """Sites of one radio cluster, and how many are low at each instant of the window with and without the plan."""

    sites: int
    low: list[int]
    idle_low: list[int]

    @classmethod
    def empty(cls, case: Case) -> "ClusterCount":
        """Return counts over no site."""
        return cls(sites=0, low=[0] * (case.steps + 1), idle_low=[0] * (case.steps + 1))

    def add_unknown(self) -> None:
        """Count a site that cannot be simulated as low all the time."""
        self.sites += 1
        self.low = [count + 1 for count in self.low]
        self.idle_low = [count + 1 for count in self.idle_low]

    def add(self, track: Track, margin_h: float) -> None:
        """Count a site: low means less than `margin_h` of its upper peak load above its floor."""
        self.sites += 1
        spare_wh = margin_h * track.outlook.reference_w
        floors = [
            floor + gone + spare_wh
            for floor, gone in zip(track.outlook.floor_wh, track.committed_wh[: len(self.low)], strict=False)
        ]
        idle_wh = track.pack.backup_wh
        # Written as "not enough" so that NaN counts as low.
        self.low = [
            count + (not level >= floor)
            for count, level, floor in zip(self.low, track.level_wh, floors, strict=True)
        ]
        self.idle_low = [
            count + (not idle_wh >= floor) for count, floor in zip(self.idle_low, floors, strict=True)
        ]


def cluster_low(cluster: RadioClusterId, count: ClusterCount, case: Case) -> Outcome:
    """S12: at each instant the share of low sites is within the limit, or no larger than without the plan."""
    allowed = case.limits.policy.max_cluster_low_frac * count.sites
    rule = StepRule(
        rule="S12",
        name="cluster_low",
        unit="sites",
        text="too many sites near their floor at once",
        span=case.instant,
    )
    margins = [
        FREE if low <= idle else allowed - low for low, idle in zip(count.low, count.idle_low, strict=True)
    ]
    return rule.judge(Place(scope=Scope.CLUSTER, where=cluster), margins, [allowed] * len(margins))
