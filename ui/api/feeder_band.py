"""What a feeder is expected to import: background and sites by quantile (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.series import STEP
from telemetry.model.site import Site, SiteId
from tools.outlook import floor_step
from ui.api.schemas import ForecastBand

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Lower (0.025), median and upper (0.975) rows of one subject's newest forecast: shape (3, steps), W."""

    start: datetime
    made_at: datetime
    model: str
    rows_w: Rows


def band_of(
    bands: Mapping[str, Bands],
    sites: Sequence[Site],
    aux_w: Mapping[SiteId, float],
    now: datetime,
    hours: int,
) -> ForecastBand | None:
    """Return a feeder's expected import from the present quarter hour on; None where a forecast is missing.

    Outer rows are sums of outer quantiles, which is wider than the quantile of the sum, as limits are held against it
    (`tools.outlook`). A site imports its load over its rectifiers' efficiency plus auxiliaries; no sun is counted on.

    Args:
        bands: By site, and the background under the empty name.
        sites: Of the feeder.
        aux_w: Auxiliaries as last measured, by site.
        now: Domain instant.
        hours: How far to look.
    """
    background = bands.get("")
    start = floor_step(now)
    if background is None or hours == 0 or any(site.site_id not in bands for site in sites):
        return None
    parts = [_ahead(background, start)]
    for site in sites:
        load = np.maximum(_ahead(bands[site.site_id], start), 0.0)
        parts.append(load / site.rectifiers.efficiency + aux_w.get(site.site_id, 0.0))
    steps = min(int(timedelta(hours=hours) / STEP), *(part.shape[1] for part in parts))
    if steps <= 0:
        return None
    lower, median, upper = np.sum([part[:, :steps] for part in parts], axis=0)
    return ForecastBand(
        made_at=background.made_at,
        model=background.model,
        at=[start + step * STEP for step in range(steps)],
        lower_w=np.round(lower, 1).tolist(),
        median_w=np.round(median, 1).tolist(),
        upper_w=np.round(upper, 1).tolist(),
    )


def _ahead(band: Bands, start: datetime) -> Rows:
    skipped = int((start - band.start) / STEP)
    return band.rows_w[:, skipped:] if skipped >= 0 else band.rows_w[:, :0]
