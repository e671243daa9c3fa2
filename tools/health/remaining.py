"""How long a battery will last, with an interval: a line through what was observed, held by what its type usually loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import NormalDist

import numpy as np

from tools.health.estimate import YEAR, NotJudged, SohEstimate

LONGEST = timedelta(days=365.25 * 30)
PRIOR_SPREAD = 0.5
"""How far a battery's rate of loss lies from its type's, relative, one standard deviation [I]."""
_CHANCES = (0.1, 0.5, 0.9)
_STEP = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingLife:
    """When the battery falls to its end of life; a date 30 years out means "not within 30 years".

    Attributes:
        early: One in ten is there by then.
        middle: Half are.
        late: Nine in ten are.
        soh_frac: State of health now, as the line has it.
        loss_frac_per_year: Loss a year, as the line has it.
        observations: Estimates behind the line.
    """

    early: datetime
    middle: datetime
    late: datetime
    soh_frac: float
    loss_frac_per_year: float
    observations: int


def remaining_life(
    estimates: Sequence[SohEstimate],
    now: datetime,
    *,
    usual_loss_frac_per_year: float,
    end_of_life_frac: float,
) -> RemainingLife | NotJudged:
    """Return when the end of life is reached.

    Level and loss are estimated together by weighted least squares, the loss with the type's usual one as prior
    (normal, relative spread `PRIOR_SPREAD`), so that one observation gives a wide answer and a history a narrow one.
    A battery does not get better: a loss below a tenth of the usual one is taken as that tenth.

    Args:
        estimates: What was observed until now.
        now: Aware UTC.
        usual_loss_frac_per_year: Of this type at this use and temperature (`ageing.wear_of` over a year, times the
            range from new to end of life), above zero.
        end_of_life_frac: State of health at which it is replaced.
    """
    past = [one for one in estimates if one.at <= now]
    if not past:
        return NotJudged(reason="no state of health was observed")
    if not usual_loss_frac_per_year > 0.0:
        raise ValueError("the usual loss must be above zero")
    ago_y = np.array([(one.at - now) / YEAR for one in past])
    design = np.column_stack([np.ones_like(ago_y), -ago_y])
    weight = 1.0 / np.array([one.sd_frac for one in past]) ** 2
    prior = 1.0 / (PRIOR_SPREAD * usual_loss_frac_per_year) ** 2
    # Level plus loss times the years ago: soh(t) = level - loss * t, so that past values lie above.
    normal = (design * weight[:, None]).T @ design + np.diag([1e-9, prior])
    moment = (design * weight[:, None]).T @ np.array([one.soh_frac for one in past])
    moment[1] += prior * usual_loss_frac_per_year
    spread = np.linalg.inv(normal)
    level, loss = (float(value) for value in spread @ moment)
    loss = max(loss, 0.1 * usual_loss_frac_per_year)
    early, middle, late = _crossings(level, loss, spread, end_of_life_frac)
    return RemainingLife(
        early=now + early,
        middle=now + middle,
        late=now + late,
        soh_frac=level,
        loss_frac_per_year=loss,
        observations=len(past),
    )


def _crossings(
    level: float, loss: float, spread: np.ndarray[tuple[int, ...], np.dtype[np.float64]], floor: float
) -> list[timedelta]:
    """Return after what time the chance to be at or below the floor passes each of `_CHANCES`."""
    normal = NormalDist()
    found: list[timedelta] = []
    ahead = timedelta(0)
    while len(found) < len(_CHANCES) and ahead < LONGEST:
        years = ahead / YEAR
        variance = spread[0, 0] - 2.0 * years * spread[0, 1] + years**2 * spread[1, 1]
        chance = normal.cdf((floor - (level - loss * years)) / sqrt(max(float(variance), 1e-12)))
        while len(found) < len(_CHANCES) and chance >= _CHANCES[len(found)]:
            found.append(ahead)
        ahead += _STEP
    return found + [LONGEST] * (len(_CHANCES) - len(found))
