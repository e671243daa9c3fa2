"""A predictive alert: what is expected to happen, when, how sure, and what to do first."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime
from enum import StrEnum

from telemetry.model.incident import Severity


class AlertKind(StrEnum):
    """What is expected; the value is the kind of the incident that tells it."""

    TIME_TO_EMPTY = "time_to_empty"
    RESERVE_BREACH = "reserve_breach"
    FEEDER_LIMIT = "feeder_limit"
    BATTERY_TEMPERATURE = "battery_temperature_ahead"
    BATTERY_END_OF_LIFE = "battery_end_of_life"
    OUTAGE_RISK = "outage_risk"


CHECK_FIRST: dict[AlertKind, str] = {
    AlertKind.TIME_TO_EMPTY: "Ask the network operator for the mains' return; send a mobile genset to the site that is empty first.",
    AlertKind.RESERVE_BREACH: "Recharge before the hour named, or end the plan that takes the energy.",
    AlertKind.FEEDER_LIMIT: "Ask for a peak-shaving plan over the hours named; put off recharging on this feeder.",
    AlertKind.BATTERY_TEMPERATURE: "Check the cabinet's fan, filter and heater before the hour named; no dispatch outside the window.",
    AlertKind.BATTERY_END_OF_LIFE: "Order the replacement; run a guarded capacity test to confirm.",
    AlertKind.OUTAGE_RISK: "Keep the battery full and the genset's tank checked; take no dispatch that lowers the reserve tomorrow.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One expected event at one site or feeder.

    Attributes:
        subject_id: A site, or a feeder where `of_feeder`.
        feeder_id: The feeder that it hangs on; alerts of one feeder are folded together when they are many.
        due_at: When it is expected, aware UTC; now or earlier when it is so already.
        earliest_at: The cautious end of the interval (upper load, lower PV).
        latest_at: The hopeful end, None where it may not come at all.
        field: What reaches its limit, the unit at its end.
        expected: Its value at `due_at`.
        limit: The limit that it reaches.
        chance_frac: Probability where one is estimated, else None.
        backup_h: Hours of backup at stake, None where it is no matter of backup.
        says: One sentence for a person, its instants in the site's own time.
        more: Further evidence.
    """

    kind: AlertKind
    subject_id: str
    feeder_id: str
    of_feeder: bool = False
    due_at: datetime
    earliest_at: datetime
    latest_at: datetime | None
    field: str
    expected: float
    limit: float
    severity: Severity
    says: str
    chance_frac: float | None = None
    backup_h: float | None = None
    more: dict[str, float | str] = default(default_factory=dict)

    def __post_init__(self) -> None:
        if any(at.tzinfo is None for at in (self.due_at, self.earliest_at)):
            raise ValueError(f"{self.subject_id}: an alert's instants must be aware")
        if self.earliest_at > self.due_at or (self.latest_at is not None and self.latest_at < self.due_at):
            raise ValueError(f"{self.subject_id}: due_at must lie within its interval")

    @property
    def key(self) -> tuple[AlertKind, str]:
        """What makes two alerts the same matter."""
        return self.kind, self.subject_id
