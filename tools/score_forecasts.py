"""Scores served forecasts once their first day is over, and says whose model no longer fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.series import STEP, Quantity
from tools.forecast_inputs import ForecastInputs
from tools.forecasting.live_score import SCORED_STEPS, LiveScore, Served, alarms, score_live
from tools.forecasting.score_store import ScoreStore
from tools.outlook import floor_step

_log = logging.getLogger(__name__)

GRACE = timedelta(hours=1)
"""How long late readings may take before a day is scored."""
_WEEK = timedelta(days=7)
_CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastScoring:
    """Keeps the scores of served forecasts up to date."""

    inputs: ForecastInputs
    scores: ScoreStore

    async def __call__(self, quantity: Quantity, now: datetime) -> Mapping[str, float]:
        """Score what is due, and return the subjects whose live errors drifted: live over promised error."""
        while due := await self.scores.due(quantity, now - GRACE, _CHUNK):
            await self.scores.put(await self._judged(quantity, due))
            if len(due) < _CHUNK:
                break
        found = alarms(await self.scores.drifts(quantity, now)).get(quantity, {})
        for subject, ratio in found.items():
            _log.warning(
                "forecast drift",
                extra={"subject_id": subject, "quantity": quantity, "ratio": round(ratio, 2)},
            )
        return found

    async def _judged(self, quantity: Quantity, due: Sequence[Served]) -> list[LiveScore]:
        names = list(dict.fromkeys(one.subject_id for one in due))
        begin = floor_step(min(one.start for one in due)) - _WEEK
        end = max(one.start for one in due) + SCORED_STEPS * STEP
        values = await self.inputs.values(quantity, names, begin, floor_step(end))
        rows = {name: row for row, name in enumerate(names)}
        return [
            score_live(
                one,
                _day(values[rows[one.subject_id]], one.start - begin),
                _day(values[rows[one.subject_id]], one.start - _WEEK - begin),
            )
            for one in due
        ]


def _day(values: npt.NDArray[np.float64], offset: timedelta) -> npt.NDArray[np.float64]:
    """Return the scored steps from an offset on, NaN where the offset lies off the grid or values end."""
    first, rest = divmod(offset, STEP)
    found = np.full(SCORED_STEPS, np.nan)
    if not rest and first >= 0:
        part = values[first : first + SCORED_STEPS]
        found[: part.size] = part
    return found
