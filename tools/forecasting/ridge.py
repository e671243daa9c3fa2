"""Ridge regression on the calendar, solved for every site of the fleet at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.forecasting.history import LoadHistory, filled
from tools.forecasting.phase import Phase

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedRidge:
    """One Fourier x day-type design for all sites, exponential weights, one factorisation per origin.

    Because the sites share the design, a fleet costs one small factorisation and two matrix products; moving the
    origin forward only discounts what was summed before and adds the days between.

    Attributes:
        harmonics: Daily Fourier pairs on all days.
        day_harmonics: Fourier pairs of the own shape of a Saturday, and of a Sunday or holiday.
        half_life_d: Days after which a measurement counts half.
        penalty: Ridge penalty per unit of total weight; the level is not penalised.
        carry: Share of the last day's mean residual that is carried into the forecast at horizon zero.
        carry_half_life_d: Days in which that carried level halves.
    """

    harmonics: int = 8
    day_harmonics: int = 5
    half_life_d: float = 30.0
    penalty: float = 1e-3
    carry: float = 0.5
    carry_half_life_d: float = 2.0

    @property
    def name(self) -> str:
        """Name of the model."""
        return "ridge"

    @property
    def version(self) -> str:
        """Version of the rule and the settings that change its figures."""
        return f"1:h{self.harmonics}/{self.day_harmonics}:hl{self.half_life_d:g}:p{self.penalty:g}:c{self.carry:g}"

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin."""
        return 7

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> Float32:
        """Return the paths from several origins, shape (origins, sites, steps)."""
        values = filled(history)
        last = max(origins) + steps
        design = self._design(history, last)
        day = history.steps_per_day
        decay = 0.5 ** (1.0 / (self.half_life_d * day))
        out = np.empty((len(origins), values.shape[0], steps), dtype=np.float32)
        gram = np.zeros((design.shape[1], design.shape[1]))
        moment = np.zeros((design.shape[1], values.shape[0]), dtype=np.float32)
        done = 0
        for row in np.argsort(origins, kind="stable"):
            origin = origins[row]
            block = slice(done, origin)
            weight = decay ** np.arange(origin - done - 1, -1, -1, dtype=np.float64)
            weighted = (design[block] * weight[:, None]).astype(np.float32)
            past = decay ** (origin - done)
            gram = past * gram + weighted.T.astype(np.float64) @ design[block]
            moment = np.float32(past) * moment + weighted.T @ values[:, block].T
            done = origin
            coefficients = self._solve(gram, moment)
            out[row] = (design[origin : origin + steps].astype(np.float32) @ coefficients).T
            recent = slice(max(origin - day, 0), origin)
            level = (values[:, recent].T - design[recent].astype(np.float32) @ coefficients).mean(axis=0)
            out[row] += level[:, None] * self._fade(steps, day)
        return out

    def _design(self, history: LoadHistory, steps: int) -> npt.NDArray[np.float64]:
        columns = [calendar_design(history.phase(0, steps), self.harmonics, self.day_harmonics)]
        for k in range(len(history.regressors)):
            shared = history.regressor(k, 0, steps)
            if shared.shape[0] != 1:
                raise ValueError("the batched ridge takes regressors that all sites share")
            centred = (shared[0] - shared[0].mean()) / max(float(shared[0].std()), 1e-9)
            columns.append(np.column_stack([centred, centred**2, np.maximum(centred, 0.0) ** 2]))
        return np.hstack(columns)

    def _solve(self, gram: npt.NDArray[np.float64], moment: Float32) -> Float32:
        ridge = np.full(gram.shape[0], self.penalty * gram[0, 0])
        ridge[0] = 0.0
        solved = np.linalg.solve(gram + np.diag(ridge), moment.astype(np.float64))
        return solved.astype(np.float32)

    def _fade(self, steps: int, day: int) -> Float32:
        """Return the share of the last day's mean residual that each step of the horizon keeps."""
        ahead_d = (np.arange(steps, dtype=np.float32) + 1.0) / day
        return np.asarray(self.carry * 0.5 ** (ahead_d / self.carry_half_life_d), dtype=np.float32)


def calendar_design(phase: Phase, harmonics: int, day_harmonics: int) -> npt.NDArray[np.float64]:
    """Return the shared design, shape (steps, columns); column 0 is the level.

    Daily Fourier pairs for every day, and the own level and shape of Saturdays, Sundays (with holidays), Mondays
    and Fridays.
    """
    angle = 2.0 * np.pi * phase.slot / phase.steps_per_day
    pairs = [f(k * angle) for k in range(1, harmonics + 1) for f in (np.sin, np.cos)]
    daily = np.column_stack([np.ones_like(angle), *pairs])
    blocks = [daily]
    for day_type, share in ((5, 1.0), (6, 1.0), (0, 0.5), (4, 0.5)):
        own = daily[:, : 1 + 2 * max(1, int(day_harmonics * share))]
        blocks.append(own * (phase.day_type == day_type)[:, None])
    return np.hstack(blocks)
