"""The fleet document's arithmetic: as the planner's own, which is slower."""

from datetime import timedelta

import numpy as np
import pytest

from edge.safety.limits import DayUse, FleetState, Limits, OperatingMode
from tests.edge.safety.examples import NOW, SITE, a_forecast, a_reading, a_site, a_status
from tools.deps import Fleet as ToolFleet
from tools.site_needs import lasting_h, needs_of, store_of
from ui.api.fleet_document import autonomy_of, need_of, site_lines
from ui.api.fleet_store import Band, SiteRow

QUARTER = timedelta(minutes=15)


def a_fleet(with_pv: bool) -> ToolFleet:
    pv = a_forecast(SITE, median_w=[256.0 * (step % 8) for step in range(384)], spread_w=[-64.0] * 9)
    state = FleetState(
        at=NOW, mode=OperatingMode.NORMAL, readings={SITE: a_reading()}, statuses={SITE: a_status()},
        quality_score={SITE: 1.0}, load={SITE: a_forecast()}, pv={SITE: pv} if with_pv else {}, background={},
        day_use={SITE: DayUse(cycles=0.0, discharged_wh=0.0)}, live_plans=(),
    )  # fmt: skip
    return ToolFleet(state=state, limits=Limits(sites={SITE: a_site()}, feeders={}))


@pytest.mark.parametrize("with_pv", [False, True])
@pytest.mark.parametrize("backup_wh", [0.0, 100.0, 287.9, 288.0, 11776.0, 100_000.0, 1e6])
@pytest.mark.parametrize("steps_on", [0, 5, 300])
def test_the_quick_autonomy_is_the_planners(with_pv: bool, backup_wh: float, steps_on: int) -> None:
    fleet, site = a_fleet(with_pv), a_site()
    load, pv = fleet.state.load[SITE], fleet.state.pv.get(SITE)
    band = Band(start=load.start, values_w=np.array(load.quantile_w(0.975)))
    dark = None if pv is None else Band(start=pv.start, values_w=np.array(pv.quantile_w(0.025)))
    now = load.start + steps_on * QUARTER
    autonomy_h, required_wh = autonomy_of(need_of(site, band, dark, now), 4.0, backup_wh, now)
    assert autonomy_h == lasting_h(fleet, SITE, steps_on, backup_wh)
    assert required_wh == pytest.approx(needs_of(fleet, site, steps_on, 0, 4.0).floor_wh[0])


def test_the_store_is_the_planners() -> None:
    store = store_of(a_site(), a_reading())
    assert store is not None
    assert store.backup_wh == 11776.0


def a_row(load_w: float = 1024.0) -> SiteRow:
    return SiteRow(
        site_id=SITE, read_at=NOW, load_w=load_w, grid_w=1100.0, battery_w=0.0, genset_w=None, pv_w=None, bus_v=54.0, soc_frac=0.875,
        soh_frac=1.0, battery_c=25.0, mains_ok=True, alarms=[], status_at=NOW, online=True, state="float",
        local_lock=False, quality=1.0, open_incidents=0,
    )  # fmt: skip


def test_a_site_that_has_not_changed_is_not_worked_out_again() -> None:
    sites = {SITE: a_site()}
    first = site_lines([a_row()], sites, {}, NOW, {})
    again = site_lines([a_row()], sites, {}, NOW + timedelta(minutes=1), first)
    assert again[SITE] is first[SITE]
    moved = site_lines([a_row(load_w=1030.0)], sites, {}, NOW, first)
    assert moved[SITE].line["load_w"] == 1030.0
    # Five minutes without a word: offline, though no row has changed; and a new quarter hour counts autonomy anew.
    silent = site_lines([a_row()], sites, {}, NOW + timedelta(minutes=5, seconds=1), first)
    assert (first[SITE].line["online"], silent[SITE].line["online"]) == (True, False)
    later = site_lines([a_row()], sites, {}, NOW + QUARTER, first)
    assert later[SITE] is not first[SITE]
