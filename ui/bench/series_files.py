"""Readers of the public data sets' files, one function per set: the set's README names its columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from tools.forecasting.history import LoadHistory

MILAN_HOLIDAYS = frozenset(
    {
        date(2013, 11, 1),
        date(2013, 12, 8),
        date(2013, 12, 25),
        date(2013, 12, 26),
        date(2014, 1, 1),
    }
)


def read_milan(folder: Path) -> LoadHistory:
    """Return hourly activity records per cell; the time stamps are local and without a change of clock."""
    frame = pd.read_csv(folder / "milan_hourly.csv.gz", index_col=0)
    return LoadHistory(
        site_ids=tuple(str(c) for c in frame.columns),
        values=frame.to_numpy(dtype=np.float32).T,
        start=datetime(2013, 10, 31, 23, tzinfo=UTC),
        zone="Europe/Rome",
        step=timedelta(hours=1),
        holidays=MILAN_HOLIDAYS,
    )
