"""Predictive alerts with their countdown, and how good served forecasts turned out to be."""

from typing import Annotated

from fastapi import APIRouter, Query

from telemetry.model.series import Quantity
from tools.alerts.countdown import countdowns
from ui.api.access import ServicesHere, may
from ui.api.foresight_schemas import AlertOut, Alerts, DriftOut, ForecastAccuracy, ModelAccuracyOut
from ui.api.roles import Role

router = APIRouter(prefix="/v1")
_MOST_DRIFTS = 100


@router.get("/alerts", tags=["incidents"], **may(Role.VIEWER))
async def alerts(services: ServicesHere) -> Alerts:
    """List what is expected to happen if nobody acts: reserve breached, feeder over its limit, battery empty, and when."""
    now = services.clock.now()
    found = countdowns(await services.expected.open(), now)
    return Alerts(
        at=now,
        alerts=[AlertOut.model_validate(one, from_attributes=True) for one in found],
    )


@router.get("/forecast-accuracy", tags=["forecasts"], **may(Role.VIEWER))
async def forecast_accuracy(
    services: ServicesHere, quantity: Annotated[Quantity, Query(description="of what")] = Quantity.LOAD_W
) -> ForecastAccuracy:
    """Show how each model's served forecasts of the last weeks met what was measured, and whose errors grew."""
    now = services.clock.now()
    models = await services.scores.accuracy(quantity, now)
    drifts = await services.scores.drifts(quantity, now)
    return ForecastAccuracy(
        quantity=quantity.value,
        models=[ModelAccuracyOut.model_validate(one, from_attributes=True) for one in models],
        drifts=[DriftOut.model_validate(one, from_attributes=True) for one in drifts[:_MOST_DRIFTS]],
    )
