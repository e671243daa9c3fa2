"""What the API says of forecasts against what happened, and of what is expected to happen if nobody acts."""

from datetime import datetime
from typing import Literal

from ui.api.schemas import Schema


class ModelAccuracyOut(Schema):
    """One model's live accuracy over the days looked at; powers in W, `over_naive_ratio` below 1 beats last week."""

    model: str
    forecasts: int
    subjects: int
    mae_w: float
    wape_frac: float
    over_naive_ratio: float | None
    over_promised_ratio: float
    covered_80_frac: float
    covered_95_frac: float


class SubjectAccuracyOut(Schema):
    """One site's or feeder's live accuracy over the days looked at, whatever models served it."""

    subject_id: str
    models: list[str]
    forecasts: int
    mae_w: float
    wape_frac: float
    over_naive_ratio: float | None
    covered_80_frac: float
    covered_95_frac: float


class DriftOut(Schema):
    """How far a subject's errors lie from what its forecast promised; `alarmed` made the loop choose a model anew."""

    subject_id: str
    model: str
    ratio: float
    days: int
    alarmed: bool


class ForecastAccuracy(Schema):
    """Served forecasts of `days` against what was measured: by model, the worst subjects by their error's share of what was
    measured, and the subjects whose errors grew, worst first.
    """

    quantity: Literal["load_w", "pv_w", "background_w"]
    days: float
    models: list[ModelAccuracyOut]
    worst: list[SubjectAccuracyOut]
    drifts: list[DriftOut]


class AlertOut(Schema):
    """Something that is expected; `seconds_left` is 0 once its hour has come, `latest_at` null where it may not come."""

    incident_id: str
    kind: str
    subject: str
    subject_id: str
    severity: Literal["info", "warning", "critical"]
    acknowledged: bool
    due_at: datetime
    earliest_at: datetime
    latest_at: datetime | None
    seconds_left: float
    says: str
    chance_frac: float | None
    backup_h: float | None


class Alerts(Schema):
    """What is expected and not closed, the nearest first; `next_cursor` is null on the last page."""

    at: datetime
    alerts: list[AlertOut]
    next_cursor: str | None = None
