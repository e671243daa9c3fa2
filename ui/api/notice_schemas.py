"""What the API says of messages to people; never an address, never a secret."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ui.api.schemas import Schema

SeverityName = Literal["info", "warning", "critical"]


class TargetOut(Schema):
    """Where messages go: `scheme` is the service (mailtos, ntfys, slack); `direct` false: by escalation only."""

    name: str
    scheme: str
    at_least: SeverityName
    kinds: list[str]
    quiet: bool
    direct: bool
    escalation_after_min: list[float]


class Targets(Schema):
    """The notification file's targets; `fault` says why the file cannot be used, and then nobody is told anything."""

    fault: str | None
    targets: list[TargetOut]


class NoticeOut(Schema):
    """A message to somebody, and what became of it."""

    message_id: str
    target: str
    subject_ids: list[str]
    reason: str
    severity: SeverityName
    title: str
    made_at: datetime
    state: Literal["due", "sending", "sent", "failed", "withdrawn"]
    attempts: int
    settled_at: datetime | None
    outcome: str


class TestAsked(Schema):
    """Which target to try; null tries all."""

    __test__ = False
    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"target": "on-call phone"}]}
    )

    target: Annotated[str, Field(min_length=1, max_length=60)] | None = None


class TestedOut(Schema):
    """How a test message fared."""

    __test__ = False
    target: str
    scheme: str
    ok: bool
    detail: str
