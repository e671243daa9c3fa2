"""Sensors that stand still while energy goes through the battery: state of charge, temperature, bus voltage (pure).

These may rightly be steady for hours. What they cannot be is the very same value to the last digit while kilowatt-hours
go in or out: counted from each value's last change on, over as many batches as it takes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

SLOW = ("soc_frac", "battery_c", "bus_v")
# Site batteries hold 5 to 50 kWh (DOMAIN.md section 1): 3 kWh are at least 6 % of SoC, and 5 kWh leave 200 Wh of heat [I].
_SOC_WH, _HEAT_WH, _SAG_WH = 3_000.0, 5_000.0, 3_000.0
_LONGEST_STEP_S = 900.0  # what the battery did in a longer pause is not known
_FULL, _EMPTY = 0.97, 0.03  # a full battery takes charge and stays full


class Line(NamedTuple):
    """Samples of several sites, one site after the other, each site's last remembered sample before its new ones.

    Attributes:
        slow: Values of `SLOW`, shape (rows, 3).
        battery_w: Shape (rows,).
        at_s: Instants, s since 1970, shape (rows,).
        zero: Row of each site's last remembered sample.
        last: Row of each site's newest sample.
        is_new: Rows that are not remembered.
    """

    slow: Floats
    battery_w: Floats
    at_s: Floats
    zero: Places
    last: Places
    is_new: Bools


def moved_wh(line: Line, carried: Floats) -> Floats:
    """Return what went through the battery since each slow value last changed.

    Args:
        line: The samples.
        carried: The same up to each site's last remembered sample, shape (sites, 3, 2).

    Returns:
        Shape (rows, 3, 2): net (charging positive) and in all, Wh. Rows that are not new hold nothing of use.
    """
    step_s = np.diff(line.at_s, prepend=np.nan)
    mean_w = 0.5 * (line.battery_w + np.concatenate(([np.nan], line.battery_w[:-1])))
    step_wh = mean_w * step_s / 3600.0
    counts = line.is_new & (step_s > 0.0) & (step_s <= _LONGEST_STEP_S) & np.isfinite(step_wh)
    step_wh = np.where(counts, step_wh, 0.0)
    sums = np.stack((np.cumsum(step_wh), np.cumsum(np.abs(step_wh))), axis=1)
    rows = np.arange(len(line.at_s))
    site_of = np.searchsorted(line.zero, rows, side="right") - 1
    is_zero = np.zeros(len(rows), np.bool_)
    is_zero[line.zero] = True
    out = np.empty((len(rows), len(SLOW), 2))
    for place in range(len(SLOW)):
        value = line.slow[:, place]
        changed = line.is_new & (
            value != np.concatenate(([np.nan], value[:-1]))
        )  # not measured counts as changed
        since = np.maximum.accumulate(np.where(changed | is_zero, rows, 0))
        before = np.where(is_zero[since][:, None], carried[site_of, place], 0.0)
        out[:, place] = before + sums - sums[since]
    return out


def stuck(slow: Floats, moved: Floats) -> Sequence[tuple[str, str, Bools]]:
    """Return by field and reason which samples stand still although they cannot.

    Args:
        slow: Shape (samples, 3).
        moved: Of the same samples.
    """
    soc_frac = slow[:, 0]
    net_wh, heat_wh, sag_wh = moved[:, 0, 0], moved[:, 1, 1], moved[:, 2, 0]
    at_the_end = ((soc_frac >= _FULL) & (net_wh > 0.0)) | ((soc_frac <= _EMPTY) & (net_wh < 0.0))
    said = "stuck: the very same value while {:g} kWh went {} the battery"
    return (
        ("soc_frac", said.format(_SOC_WH / 1e3, "into or out of"), (np.abs(net_wh) > _SOC_WH) & ~at_the_end),
        ("battery_c", said.format(_HEAT_WH / 1e3, "through"), heat_wh > _HEAT_WH),
        ("bus_v", said.format(_SAG_WH / 1e3, "out of"), sag_wh < -_SAG_WH),
    )
