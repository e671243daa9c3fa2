"""A small fleet for the agent's tests: two feeders, six sites, an evening peak that exceeds one feeder's limit.

Every site draws 2000 W at the median (1900 to 2100 W at the outer quantiles), so 2000 / 0.96 = 2083.3 W AC. Feeder
`feeder-1` has four sites and a background of 100 kW, 112 kW from 17:00 to 18:30; `feeder-2` has two and stays below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from edge.plan import Plan
from edge.safety.limits import DayUse, FleetState, Limits, OperatingMode
from telemetry.model.battery import LFP_BANDS, Battery, Chemistry
from telemetry.model.incident import Incident
from telemetry.model.reading import Reading, SiteState, SiteStatus
from telemetry.model.series import QUANTILES, STEP, Forecast, Quantity
from telemetry.model.site import (
    AutonomyProfile,
    Bus,
    DispatchPath,
    Feeder,
    FeederId,
    RadioClusterId,
    RechargeTerms,
    Rectifiers,
    Site,
    SiteId,
    SiteMode,
)
from tools.deps import Fleet

NOW = datetime(2026, 3, 10, 15, 50, tzinfo=UTC)
PEAK_FROM = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)
PEAK_UNTIL = datetime(2026, 3, 10, 18, 30, tzinfo=UTC)
FEEDER, CALM = FeederId("feeder-1"), FeederId("feeder-2")
SPREAD = (-1.0, -0.8, -0.6, -0.3, 0.0, 0.3, 0.6, 0.8, 1.0)
LIMIT_W = 114_000.0
# 114000 W less 100500 W outside less four sites of 2187.5 W leave 1187 W each; nothing while the peak lasts.
SHARE_W = (1100.0,) * 17 + (0.0,) * 2 + (1100.0,) * 5
SITE_IDS = tuple(f"cbs-{number:04d}" for number in range(1, 7))


def a_site(site_id: str, feeder_id: FeederId = FEEDER, cluster: str = "cluster-1") -> Site:
    """Return a commissioned simulated site: 20 kWh LFP, 2 h of autonomy, three modules of 3 kW."""
    return Site(
        site_id=SiteId(site_id),
        name=f"Site {site_id}",
        latitude=45.0,
        longitude=9.0,
        time_zone="Europe/Rome",
        feeder_id=feeder_id,
        radio_cluster=RadioClusterId(cluster),
        mode=SiteMode.REMOTE,
        simulated=True,
        dispatch_path=DispatchPath.ISC,
        autonomy=AutonomyProfile(name="2 h", jurisdiction="test", autonomy_h=2.0, max_load_w=2200.0),
        battery=Battery(
            chemistry=Chemistry.LFP,
            rated_wh=20_000.0,
            soc_min_frac=0.15,
            soc_max_frac=1.0,
            disconnect_soc_frac=0.05,
            backstop_soc_frac=0.10,
            soc_error_frac=0.05,
            charge_efficiency=0.98,
            discharge_efficiency=1.0,
            bands=LFP_BANDS,
            max_cycles_per_day=1.0,
            calibrated_at=NOW - timedelta(days=5),
            capacity_tested_at=NOW - timedelta(days=50),
        ),
        rectifiers=Rectifiers(module_w=3000.0, count=3, efficiency=0.96),
        bus=Bus(
            float_v=54.0,
            backstop_v=47.0,
            voltage_step_v=0.005,
            device_reverts=True,
            continuity_proven_at=NOW - timedelta(days=20),
        ),
        grid_import_limit_w=12_000.0,
        ramp_w_per_step=2000.0,
        pv_rated_w=0.0,
        inverter=None,
        genset=None,
        tariff="test",
        maintenance=None,
        commissioned_at=NOW - timedelta(days=40),
        recharge=RechargeTerms(feeder_share_w=SHARE_W),
    )


def forecast_of(
    subject_id: str, quantity: Quantity, median_w: Sequence[float], spread_w: float, made_at: datetime
) -> Forecast:
    """Return a forecast that begins at the last quarter hour before it was made; its sums are sums of its steps."""
    rows = tuple(tuple(w + share * spread_w for w in median_w) for share in SPREAD)
    start = made_at.replace(minute=made_at.minute // 15 * 15, second=0, microsecond=0)
    return Forecast(
        subject_id=subject_id,
        quantity=quantity,
        made_at=made_at,
        start=start,
        values_w=rows,
        cumulative_wh=tuple(tuple(accumulate(w * 0.25 for w in row)) for row in rows),
        model="seasonal naive",
        version="1",
        reason="it did best in backtests",
    )


assert len(SPREAD) == len(QUANTILES)


@dataclass(slots=True, kw_only=True)
class World:
    """The fleet as the tests want it; change a field and the next look sees it."""

    soc: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SITE_IDS, 0.95))
    offline: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    mode: OperatingMode = OperatingMode.NORMAL
    live_plans: tuple[Plan, ...] = ()
    background_high_w: float = 112_000.0
    shadow: set[str] = field(default_factory=set)

    def fleet(self, now: datetime) -> Fleet:
        """Return the fleet as of an instant."""
        sites = {SiteId(name): self._site(name) for name in SITE_IDS}
        return Fleet(
            state=FleetState(
                at=now,
                mode=self.mode,
                readings={name: self._reading(name, now) for name in sites},
                statuses={name: self._status(name, now) for name in sites},
                quality_score=dict.fromkeys(sites, 1.0),
                load={name: forecast_of(name, Quantity.LOAD_W, [2000.0] * 384, 100.0, now) for name in sites},
                pv={},
                background={
                    FEEDER: forecast_of(FEEDER, Quantity.BACKGROUND_W, self._background(now), 500.0, now),
                    CALM: forecast_of(CALM, Quantity.BACKGROUND_W, [80_000.0] * 384, 500.0, now),
                },
                day_use=dict.fromkeys(sites, DayUse(cycles=0.0, discharged_wh=0.0)),
                live_plans=self.live_plans,
            ),
            limits=Limits(sites=sites, feeders=FEEDERS),
        )

    def _site(self, name: str) -> Site:
        feeder_id = FEEDER if name in SITE_IDS[:4] else CALM
        site = a_site(name, feeder_id, "cluster-1" if name in SITE_IDS[:2] else f"cluster-of-{name}")
        return replace(
            site,
            name=self.names.get(name, site.name),
            mode=SiteMode.SHADOW if name in self.shadow else SiteMode.REMOTE,
        )

    def _reading(self, name: SiteId, now: datetime) -> Reading:
        return Reading(
            site_id=name,
            boot_id="b1",
            sequence=1,
            at=now - timedelta(seconds=20),
            grid_v=230.0,
            grid_w=2083.3,
            load_w=2000.0,
            bus_v=54.0,
            battery_a=0.0,
            battery_w=0.0,
            soc_frac=self.soc[name],
            soh_frac=1.0,
            battery_c=30.0,
            mains_ok=True,
            alarms=self.alarms.get(name, ()),
        )

    def _status(self, name: SiteId, now: datetime) -> SiteStatus:
        online = name not in self.offline
        return SiteStatus(
            site_id=name,
            at=now - timedelta(seconds=20),
            online=online,
            state=SiteState.FLOAT if online else SiteState.OFFLINE,
            local_lock=False,
            last_sequence=0,
        )

    def _background(self, now: datetime) -> list[float]:
        start = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
        instants = [start + step * STEP for step in range(384)]
        return [self.background_high_w if PEAK_FROM <= at < PEAK_UNTIL else 100_000.0 for at in instants]


FEEDERS: Mapping[FeederId, Feeder] = {
    FEEDER: Feeder(
        feeder_id=FEEDER, name="North", substation="S", import_limit_w=LIMIT_W, export_limit_w=0.0
    ),
    CALM: Feeder(feeder_id=CALM, name="South", substation="S", import_limit_w=LIMIT_W, export_limit_w=0.0),
}
