"""Hourly forecasts from one series' own past: a ridge regression for each hour ahead, refitted as the weeks pass.

Inputs are the values of the same hour on earlier days, how the last hours stood to the days before, and nothing else.
A forecast made for hour t knows the hours before t only, and so does the fit it comes from.
"""

import numpy as np

from tools.planning.problem import Floats, Ints

DAY_H, WEEK_H = 24, 168
FIRST_ROW_H = 400
"""Hours of past that a row of inputs needs, rounded up from two weeks, a day and three hours."""
RIDGE = 1.0
"""Penalty on the squared weights, for a series scaled to mean one; as taken at first, not searched for."""


def forecasts(values: Floats, first: int, count: int, leads: int, refit_h: int = 28 * DAY_H) -> Floats:
    """Return forecasts, shape (count, leads): row i, column k is hour `first + i + k` as seen before hour `first + i`.

    Args:
        values: One value an hour, none negative.
        first: Hour of the first forecast, at least 30 days after the first value.
        count: Number of hours in which a forecast is made.
        leads: Hours ahead, 48 at most.
        refit_h: Hours between two fits; each uses all hours before its first forecast.
    """
    table = np.empty((count, leads))
    padded = np.concatenate([values, np.zeros(leads)])
    for begin in range(first, first + count, refit_h):
        made_at = np.arange(begin, min(begin + refit_h, first + count))
        for lead in range(leads):
            table[made_at - first, lead] = _one_lead(padded, begin, made_at, lead)
    return table


def _one_lead(values: Floats, known: int, made_at: Ints, lead: int) -> Floats:
    """Return forecasts of one hour ahead, fitted on the hours before `known`."""
    scale = float(values[:known].mean()) or 1.0
    past = np.arange(FIRST_ROW_H, known - lead)
    inputs = _inputs(values, past, lead, scale)
    gram = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ (values[past + lead] / scale))
    asked = _inputs(values, made_at, lead, scale)
    found = np.clip(asked @ weights * scale, 0.0, values[:known].max())
    # An hour that was dark on each of the last seven days stays dark.
    return np.where(asked[:, :7].max(axis=1) > 1e-9, found, 0.0)


def _inputs(values: Floats, made_at: Ints, lead: int, scale: float) -> Floats:
    """Return the inputs of forecasts made before these hours, shape (hours, 13)."""
    target = made_at + lead
    newest = target - DAY_H * (1 + lead // DAY_H)
    same_hour = [values[newest - DAY_H * day] for day in range(7)]
    weekly = [values[target - WEEK_H], values[target - 2 * WEEK_H]]
    last = sum(values[made_at - back] for back in (1, 2, 3))
    before = sum(values[made_at - back - DAY_H * day] for back in (1, 2, 3) for day in range(1, 8)) / 7.0
    ratio = np.where(before > 1e-9 * scale, np.clip(last / np.maximum(before, 1e-9 * scale), 0.0, 3.0), 1.0)
    level = np.mean(same_hour, axis=0) * ratio
    yesterday = values[made_at - 1] - values[made_at - 1 - DAY_H]
    last_week = values[made_at - 1] - values[made_at - 1 - WEEK_H]
    columns = [*same_hour, *weekly, level, yesterday, last_week, np.full(target.size, scale)]
    return np.stack(columns, axis=1) / scale
