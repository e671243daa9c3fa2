"""Predictive alerts with their countdown, and how good served forecasts turned out to be."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from telemetry.model.series import Quantity
from tools.alerts.countdown import Countdown, countdowns
from tools.forecasting.live_score import LiveScore, accuracy_of, drifts_of
from ui.api.access import (
    Cursor,
    Limit,
    ServicesHere,
    from_cursor,
    instant_part,
    may,
    page_after,
    text_part,
)
from ui.api.foresight_schemas import (
    AlertOut,
    Alerts,
    DriftOut,
    ForecastAccuracy,
    ModelAccuracyOut,
    SubjectAccuracyOut,
)
from ui.api.roles import Role
from ui.api.schemas import Name

router = APIRouter(prefix="/v1")
_MOST_DRIFTS = 100
_WORST = 10
_WINDOW = timedelta(days=7)


@router.get("/alerts", tags=["incidents"], **may(Role.VIEWER))
async def alerts(services: ServicesHere, cursor: Cursor = None, limit: Limit = 1000) -> Alerts:
    """List what is expected to happen if nobody acts: reserve breached, feeder over its limit, battery empty, and when."""
    now = services.clock.now()
    after = from_cursor(cursor, instant_part, text_part, text_part)
    items, following = page_after(countdowns(await services.expected.open(), now), _place, after, limit)
    return Alerts(
        at=now,
        alerts=[AlertOut.model_validate(one, from_attributes=True) for one in items],
        next_cursor=following,
    )


def _place(one: Countdown) -> tuple[datetime, str, str]:
    """Return where a countdown stands in the list: the nearest first, each at a place of its own."""
    return one.due_at, one.subject_id, one.incident_id


@router.get("/forecast-accuracy", tags=["forecasts"], **may(Role.VIEWER))
async def forecast_accuracy(
    services: ServicesHere,
    quantity: Annotated[Quantity, Query(description="of what")] = Quantity.LOAD_W,
    subject_id: Annotated[
        Name | None, Query(description="of one site or feeder alone; by default of all")
    ] = None,
) -> ForecastAccuracy:
    """Show how each model's served forecasts of the last weeks met what was measured, and whose errors grew."""
    now = services.clock.now()
    scores = await services.scores.scores(quantity, now, window=_WINDOW, subject_id=subject_id)
    models, drifts = accuracy_of(scores), drifts_of(scores, now)
    return ForecastAccuracy(
        quantity=quantity.value,
        days=_WINDOW / timedelta(days=1),
        worst=worst_of(scores),
        models=[ModelAccuracyOut.model_validate(one, from_attributes=True) for one in models],
        drifts=[DriftOut.model_validate(one, from_attributes=True) for one in drifts[:_MOST_DRIFTS]],
    )


def worst_of(scores: Sequence[LiveScore], most: int = _WORST) -> list[SubjectAccuracyOut]:
    """Return the subjects whose forecasts missed by the largest share of what was measured, worst first."""
    groups: dict[str, list[LiveScore]] = {}
    for one in scores:
        if one.steps:
            groups.setdefault(one.subject_id, []).append(one)
    found = [_subject(subject_id, members) for subject_id, members in groups.items()]
    return sorted(found, key=lambda one: (-one.wape_frac, one.subject_id))[:most]


def _subject(subject_id: str, members: Sequence[LiveScore]) -> SubjectAccuracyOut:
    # Under one name the models' scores add up by the same rule as those of one model do.
    [all_models] = accuracy_of(replace(one, model="") for one in members)
    return SubjectAccuracyOut(
        subject_id=subject_id,
        models=sorted({one.model for one in members}),
        forecasts=all_models.forecasts,
        mae_w=all_models.mae_w,
        wape_frac=all_models.wape_frac,
        over_naive_ratio=all_models.over_naive_ratio,
        covered_80_frac=all_models.covered_80_frac,
        covered_95_frac=all_models.covered_95_frac,
    )
