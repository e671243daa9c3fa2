"""What a forecast by Prophet is made of: trend, the day, the week, fitted again on the past that it was made from."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Query

from telemetry.model.series import STEP, Quantity
from tools.forecast_inputs import ForecastInputs
from tools.forecasting.history import FloatArray, LoadHistory
from ui.api.access import ServicesHere, may
from ui.api.problems import ApiError, not_found
from ui.api.roles import Role
from ui.api.schemas import Name, Schema

router = APIRouter(prefix="/v1", tags=["forecasts"])
_PAST = timedelta(days=28)  # as much as the loop learns from (`ui.bootstrap.HISTORY_FOR_FORECASTS`)
_MODEL = "prophet"
_NEEDED = timedelta(days=7)
_SHOWN = timedelta(days=7)


class Components(Schema):
    """A forecast's parts by quarter hour, W, columns of one length: `expected_w` is the sum of the others.

    Fitted again on the same past, a week ahead so that every day of the week shows; late data may move them a little.
    """

    subject_id: str
    quantity: str
    made_at: datetime
    at: list[datetime]
    expected_w: list[float]
    trend_w: list[float]
    daily_w: list[float]
    weekly_w: list[float]


@router.get("/forecasts/{subject_id}/components", **may(Role.VIEWER, 404, 409))
async def components(
    subject_id: Annotated[Name, Path(description="a site_id, or a feeder_id for background_w")],
    services: ServicesHere,
    quantity: Annotated[Quantity, Query(description="of what")] = Quantity.BACKGROUND_W,
) -> Components:
    """Show trend, day and week behind a subject's newest forecast, where Prophet made it."""
    made = await services.forecasts.history(subject_id, quantity, limit=1)
    if not made:
        raise not_found(f"{quantity.value} forecast of", subject_id)
    forecast = made[0]
    if forecast.model != _MODEL:
        why = f"{subject_id} is served by {forecast.model}, which is not made of components; only Prophet is"
        raise ApiError(HTTPStatus.CONFLICT, why)
    inputs = ForecastInputs(readings=services.readings, registry=services.registry)
    start = forecast.start - _PAST
    values = await inputs.values(quantity, [subject_id], start, forecast.start)
    if np.isfinite(values).sum() < _NEEDED // STEP:
        raise ApiError(HTTPStatus.CONFLICT, f"less than a week of {subject_id}'s past is kept")
    _, zone = await inputs.subjects(quantity)
    history = LoadHistory(site_ids=(subject_id,), values=values, start=start, zone=zone)
    steps = _SHOWN // STEP
    async with services.checks:
        parts = await asyncio.to_thread(_fitted, history, steps)
    trend, daily, weekly = (
        parts.get(name, np.zeros(steps)).round(1).tolist() for name in ("trend", "daily", "weekly")
    )
    return Components(
        subject_id=subject_id,
        quantity=quantity.value,
        made_at=forecast.made_at,
        at=[forecast.start + step * STEP for step in range(steps)],
        expected_w=parts["expected"].round(1).tolist(),
        trend_w=trend,
        daily_w=daily,
        weekly_w=weekly,
    )


def _fitted(history: LoadHistory, steps: int) -> Mapping[str, FloatArray]:
    from tools.forecasting.prophet_model import ProphetModel  # noqa: PLC0415 - pandas and Stan, for who asks for this alone

    return ProphetModel().components(history, 0, steps)
