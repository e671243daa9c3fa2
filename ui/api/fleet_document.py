"""The fleet document from what is stored: pure, and quick enough for thousands of sites every second."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from telemetry.model.reading import Reading
from telemetry.model.series import MAX_STEPS, STEP, STEP_H
from telemetry.model.site import Feeder, FeederId, Site, SiteId
from tools.outlook import floor_step
from tools.site_needs import Store, store_of
from ui.api.fleet_store import Band, Facts, SiteRow

_SPOKEN_WITHIN = timedelta(minutes=5)  # a gateway repeats its state once a minute
_BACKGROUND_WITHIN = timedelta(minutes=30)
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a site draws from its battery in an outage: energy from `start` to each quarter hour, Wh, upper forecast.

    Beyond the forecast the profile's highest load stands in, for as long again (DOMAIN.md section 2).
    """

    start: datetime
    cumulative_wh: npt.NDArray[np.float64]


def need_of(site: Site, load: Band | None, pv: Band | None, now: datetime) -> Need:
    """Return the need of a site by its upper load and lower PV forecast."""
    start = floor_step(now) if load is None else load.start
    upper = np.full(2 * MAX_STEPS, site.autonomy.max_load_w)
    if load is not None:
        upper[: load.values_w.size] = np.maximum(load.values_w, 0.0)
        if pv is not None:
            shift = int((load.start - pv.start) / STEP)
            for step in range(max(0, -shift), min(pv.values_w.size - shift, upper.size)):
                upper[step] -= max(float(pv.values_w[step + shift]), 0.0)
    return Need(
        start=start, cumulative_wh=np.concatenate(([0.0], np.cumsum(np.maximum(upper, 0.0) * STEP_H)))
    )


def autonomy_of(need: Need, hours: float, backup_wh: float, now: datetime) -> tuple[float, float]:
    """Return for how long the backup lasts, h in whole steps and at most 96, and what `hours` of backup take, Wh."""
    offset = min(max(int((floor_step(now) - need.start) / STEP), 0), MAX_STEPS)
    rows = need.cumulative_wh
    base = rows[offset]
    required_wh = float(rows[min(offset + ceil(hours / STEP_H), rows.size - 1)] - base)
    lasting = int(np.searchsorted(rows, base + backup_wh, side="right")) - 1 - offset
    return min(max(lasting, 0), MAX_STEPS) * STEP_H, required_wh


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLine:
    """A site's part of the document and what it was made of; as long as that is the same, so is the part."""

    row: SiteRow
    step: datetime
    online: bool
    line: Document


def site_lines(
    rows: Sequence[SiteRow],
    sites: Mapping[SiteId, Site],
    needs: Mapping[str, Need],
    now: datetime,
    before: Mapping[str, SiteLine],
) -> dict[str, SiteLine]:
    """Return every registered site's part; `before` are those of the last look with the same registry and needs."""
    step = floor_step(now)
    lines: dict[str, SiteLine] = {}
    for row in rows:
        site = sites.get(SiteId(row.site_id))
        if site is None:
            continue
        online = bool(row.online) and row.status_at is not None and now - row.status_at <= _SPOKEN_WITHIN
        old = before.get(row.site_id)
        if old is not None and old.online == online and old.step == step and old.row == row:
            lines[row.site_id] = old
            continue
        line = _site_line(row, site, needs.get(row.site_id), now, online=online)
        lines[row.site_id] = SiteLine(row=row, step=step, online=online, line=line)
    return lines


def fleet_document(
    facts: Facts, known: Mapping[str, SiteLine], feeders: Mapping[FeederId, Feeder], now: datetime
) -> Document:
    """Return the document that `schemas.Fleet` describes, `version` left at 0."""
    lines = [one.line for one in known.values()]
    by_feeder: dict[str, list[Document]] = defaultdict(list)
    for line in lines:
        by_feeder[line["feeder_id"]].append(line)
    mode = facts.mode
    return {
        "version": 0,
        "at": now,
        "mode": None if mode is None else {"mode": mode[0], "who": mode[1], "since": mode[2]},
        "stopped": facts.stopped,
        "active_plans": facts.active_plans,
        "counts": _counts(lines, facts),
        "totals": _totals(lines),
        "feeders": [
            _feeder_line(feeder, by_feeder[feeder_id], facts.background.get(feeder_id), now)
            for feeder_id, feeder in feeders.items()
        ],
        "sites": lines,
    }


def _totals(lines: Sequence[Document]) -> Document:
    load_w = grid_w = battery_w = pv_w = available_w = spare_wh = 0.0
    for line in lines:
        load_w += line["load_w"] or 0.0
        grid_w += line["grid_w"] or 0.0
        battery_w += line["battery_w"] or 0.0
        pv_w += line["pv_w"] or 0.0
        available_w += line["available_w"]
        spare_wh += max(line["spare_wh"] or 0.0, 0.0)
    return {
        "load_w": round(load_w, 1),
        "grid_w": round(grid_w, 1),
        "battery_w": round(battery_w, 1),
        "pv_w": round(pv_w, 1),
        "available_w": round(available_w, 1),
        "spare_wh": round(spare_wh, 1),
    }


def _counts(lines: Sequence[Document], facts: Facts) -> Document:
    return {
        "sites": len(lines),
        "online": sum(line["online"] for line in lines),
        "simulated": sum(line["simulated"] for line in lines),
        "with_alarms": sum(bool(line["alarms"]) for line in lines),
        "below_reserve": sum(line["margin_h"] is not None and line["margin_h"] < 0.0 for line in lines),
        "by_state": dict(Counter(line["state"] for line in lines)),
        "open_incidents": facts.open_incidents,
    }


def _site_line(row: SiteRow, site: Site, need: Need | None, now: datetime, *, online: bool) -> Document:
    store = store_of(site, _reading(row)) if row.read_at is not None else None
    autonomy_h: float | None = None
    margin_h: float | None = None
    spare_wh: float | None = None
    if store is not None:
        autonomy_h, required_wh = autonomy_of(
            need or need_of(site, None, None, now), site.autonomy.autonomy_h, store.backup_wh, now
        )
        margin_h = round(autonomy_h - site.autonomy.autonomy_h, 2)
        spare_wh = round(store.backup_wh - required_wh, 1)
    return {
        "site_id": row.site_id,
        "name": site.name,
        "feeder_id": site.feeder_id,
        "latitude": site.latitude,
        "longitude": site.longitude,
        "mode": site.mode.value,
        "simulated": site.simulated,
        "online": online,
        "state": row.state or "unknown",
        "local_lock": bool(row.local_lock),
        "read_at": row.read_at,
        "load_w": row.load_w,
        "grid_w": row.grid_w,
        "battery_w": row.battery_w,
        "pv_w": row.pv_w,
        "genset_w": row.genset_w,
        "bus_v": row.bus_v,
        "soc_frac": row.soc_frac,
        "soh_frac": row.soh_frac,
        "battery_c": row.battery_c,
        "mains_ok": row.mains_ok,
        "alarms": row.alarms or [],
        "autonomy_h": autonomy_h,
        "reserve_h": site.autonomy.autonomy_h,
        "margin_h": margin_h,
        "spare_wh": spare_wh,
        "available_w": _available_w(row, store, spare_wh) if online else 0.0,
        "quality": row.quality,
        "open_incidents": row.open_incidents,
    }


def _available_w(row: SiteRow, store: Store | None, spare_wh: float | None) -> float:
    if store is None or spare_wh is None or spare_wh <= 0.0 or row.load_w is None:
        return 0.0
    return round(min(store.max_discharge_w, max(row.load_w, 0.0)), 1)


def _reading(row: SiteRow) -> Reading:
    assert row.read_at is not None
    return Reading(
        site_id=SiteId(row.site_id),
        boot_id="",
        sequence=0,
        at=row.read_at,
        soc_frac=row.soc_frac,
        soh_frac=row.soh_frac,
        battery_c=row.battery_c,
    )


def _feeder_line(
    feeder: Feeder, lines: Sequence[Document], background: tuple[datetime, float] | None, now: datetime
) -> Document:
    sites_w = sum(line["grid_w"] or 0.0 for line in lines)
    fresh = background is not None and now - background[0] <= _BACKGROUND_WITHIN
    import_w = round(background[1] + sites_w, 1) if background is not None and fresh else None
    return {
        "feeder_id": feeder.feeder_id,
        "name": feeder.name,
        "substation": feeder.substation,
        "import_limit_w": feeder.import_limit_w,
        "export_limit_w": feeder.export_limit_w,
        "background_w": None if background is None else background[1],
        "background_at": None if background is None else background[0],
        "sites_w": round(sites_w, 1),
        "import_w": import_w,
        "headroom_w": None if import_w is None else round(feeder.import_limit_w - import_w, 1),
        "sites": len(lines),
        "online": sum(line["online"] for line in lines),
    }
