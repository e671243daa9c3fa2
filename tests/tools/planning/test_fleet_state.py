"""The fleet's state is put together from the real database, and nothing is invented where something is missing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from edge.safety.eligibility import telemetry_reasons
from edge.safety.limits import OperatingMode
from telemetry.db import open_async_pool
from telemetry.ingest_store import Batch, store_batch
from telemetry.model.clock import Pace, PacedClock
from telemetry.model.site import Site, SiteId
from telemetry.registry_store import RegistryStore
from telemetry.rollup_store import roll_up_due
from tests.contracts.contracts import EXAMPLES, FEEDER, SITE
from tests.services import Database
from tests.telemetry.examples import READING
from tools.planning.fleet_state import FleetView, midnight
from tools.planning.mode_store import ModeStore, ModeUnknownError
from ui.bootstrap import fleet_view
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database
NOW = datetime(2026, 1, 15, 17, 0, tzinfo=UTC)


@pytest.fixture
async def view(database: Database) -> AsyncIterator[FleetView]:
    pool = await open_async_pool(database.dsn(DatabaseRole.API), application_name="test")
    registry = RegistryStore(pool)
    site, feeder = EXAMPLES["site"], EXAMPLES["feeder"]
    await registry.put_feeders({FEEDER: feeder}, who="test", at=NOW)  # type: ignore[dict-item]
    await registry.put_sites({SITE: site}, who="test", at=NOW)  # type: ignore[dict-item]
    yield fleet_view(pool, PacedClock(lambda: Pace(wall=NOW, domain=NOW, speed=0.0)))
    await pool.close()


async def test_without_a_mode_in_force_there_is_no_state(view: FleetView) -> None:
    with pytest.raises(ModeUnknownError, match="no operating mode"):
        await view.state()


async def test_what_was_never_reported_is_absent_and_not_made_up(view: FleetView, database: Database) -> None:
    await _set_mode(database, OperatingMode.STORM)
    state = await view.state()
    assert state.mode is OperatingMode.STORM
    assert (state.readings, state.statuses, state.quality_score) == ({}, {}, {})
    assert (state.load, state.pv, state.background, state.live_plans) == ({}, {}, {}, ())
    limits = await view.limits()
    assert limits.sites == {SITE: EXAMPLES["site"]}
    assert limits.feeders == {FEEDER: EXAMPLES["feeder"]}


async def test_a_day_of_use_begins_at_the_sites_own_midnight(view: FleetView, database: Database) -> None:
    await _set_mode(database, OperatingMode.NORMAL)
    # 15 January in Rome begins at 23:00 UTC on the 14th; the reading at 22:50 belongs to the day before.
    giving = replace(READING, battery_w=-1536.0, meter_battery_w=None, rectifier_w=None, grid_w=None)
    readings = [
        replace(giving, sequence=1, at=datetime(2026, 1, 14, 22, 50, tzinfo=UTC)),
        replace(giving, sequence=2, at=datetime(2026, 1, 14, 23, 5, tzinfo=UTC)),
        replace(giving, sequence=3, at=datetime(2026, 1, 15, 8, 0, tzinfo=UTC)),
    ]
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        store_batch(connection, Batch(readings=readings), NOW, set())
        roll_up_due(connection, NOW)
    use = (await view.state()).day_use[SITE]
    # Two quarter hours of 1,536 W are 768 Wh: 0.05 cycles of 15,360 Wh.
    assert use.discharged_wh == pytest.approx(768.0)
    assert use.cycles == pytest.approx(0.05)


def test_midnight_holds_on_the_day_the_clocks_change() -> None:
    # Rome, 29 March 2026: 02:00 became 03:00. At noon UTC the day began 13 hours earlier, at 23:00 UTC.
    assert midnight(datetime(2026, 3, 29, 12, 0, tzinfo=UTC), "Europe/Rome") == datetime(
        2026, 3, 28, 23, 0, tzinfo=UTC
    )


async def test_what_came_in_during_the_look_is_not_of_the_future(view: FleetView, database: Database) -> None:
    await _set_mode(database, OperatingMode.NORMAL)
    during = NOW + timedelta(seconds=2)
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        store_batch(connection, Batch(readings=[replace(READING, at=during)]), during, set())
    looks = iter([NOW, NOW + timedelta(seconds=3)])
    state = await replace(view, clock=lambda: next(looks)).state()
    assert state.at == NOW + timedelta(seconds=3)
    assert state.readings[SITE].at == during
    limits = await view.limits()
    told = telemetry_reasons(limits.sites[SITE], state.readings[SITE], None, state, limits, state.at)
    assert not any("its last reading is of" in one.message for one in told)
    early = telemetry_reasons(limits.sites[SITE], state.readings[SITE], None, state, limits, NOW)
    assert any("its last reading is of" in one.message for one in early), (
        "by the begin of the look it is refused"
    )


async def _set_mode(database: Database, mode: OperatingMode) -> None:
    pool = await open_async_pool(database.owner_dsn, application_name="test-owner")
    await ModeStore(pool).set_mode(mode, who="test", at=NOW)
    await ModeStore(pool).set_mode(mode, who="test again", at=NOW + timedelta(minutes=1))
    await pool.close()


def test_the_examples_are_of_one_site() -> None:
    site = EXAMPLES["site"]
    assert isinstance(site, Site)
    assert SiteId("cbs-0001") == site.site_id == READING.site_id
