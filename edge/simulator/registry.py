"""The simulated fleet as the registry sees it: sites, feeders and critical sites, made by count and seed.

Every site is marked simulated. Most take part; a few are there to be refused: one in shadow mode, one whose capacity
test is too old, and the lead-acid ones, whose few cycles are kept for emergencies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

import numpy as np

from edge.simulator.load import LoadModel
from edge.simulator.site_spec import SiteSpec
from telemetry.model.battery import LFP_BANDS, VRLA_BANDS, Battery, Chemistry
from telemetry.model.catalogue import Days, PricePeriod, Tariff, TariffId
from telemetry.model.site import (
    AutonomyProfile,
    Bus,
    CriticalSite,
    CriticalSiteId,
    DispatchPath,
    FastTerms,
    Feeder,
    FeederId,
    RadioClusterId,
    RechargeTerms,
    Rectifiers,
    Site,
    SiteId,
    SiteMode,
)

FEEDERS = 4
TIME_ZONE = "Europe/Rome"
_CENTRE = (45.464, 9.190)
_SITES_PER_CLUSTER = 6
_BACKGROUND_W_PER_SITE = (
    200_000.0  # makes the sites about 1 % of their feeder's load (DOMAIN.md section 1 [I])
)
_LIMIT_FRAC = (0.985, 0.975, 1.08, 1.12)  # of tonight's peak: two feeders are short, two are not
_HOURS_OF_BATTERY = 6.5  # rated energy over peak load
_DC_NOMINAL_V = 51.2
_MODULE_W = 3_000.0
_CHARGE_C_RATE = 0.2
_RECHARGE_C_RATE = 0.1
# What `cellwatt bench reserve` measured of the simulated meter and rectifier; simulated, as they are.
SIMULATED_FAST = FastTerms(meter_error_hz=0.01, meter_period_s=0.1, actuator_s=0.3, ramp_w_per_s=5000.0)
_HEADROOM_FACTOR = (
    1.25  # the highest load of an hour in four weeks, and a quarter more, must leave a site its share
)
# Dearer in the evening, cheaper at night and on weekends: made up for the simulation [I].
TARIFF = Tariff(
    tariff_id=TariffId("simulated"),
    name="Simulated business tariff",
    currency="EUR",
    time_zone=TIME_ZONE,
    periods=(
        PricePeriod(days=Days.WORKDAYS, from_h=0, to_h=7, import_per_kwh=0.14),
        PricePeriod(days=Days.WORKDAYS, from_h=7, to_h=17, import_per_kwh=0.22),
        PricePeriod(days=Days.WORKDAYS, from_h=17, to_h=21, import_per_kwh=0.32),
        PricePeriod(days=Days.WORKDAYS, from_h=21, to_h=24, import_per_kwh=0.18),
        PricePeriod(days=Days.WEEKEND, from_h=0, to_h=24, import_per_kwh=0.16),
    ),
    demand_per_kw_month=4.0,
    export_per_kwh=0.06,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFleet:
    """The registry's side (`sites`, `feeders`, `critical_sites`, `tariffs`) and the hardware's (`specs`) of one fleet."""

    sites: Mapping[SiteId, Site]
    feeders: Mapping[FeederId, Feeder]
    critical_sites: Mapping[CriticalSiteId, CriticalSite]
    specs: tuple[SiteSpec, ...]
    background_peak_w: tuple[float, ...]
    tariffs: Mapping[TariffId, Tariff]


def simulated_fleet(count: int, *, seed: int, epoch: datetime) -> SimulatedFleet:
    """Return a fleet of `count` sites on 4 feeders with 2 critical sites.

    Args:
        count: Sites, at least one per feeder.
        seed: Sizes, places and loads follow from it.
        epoch: Domain instant of the first start; proofs are dated and feeder limits set from it.

    Raises:
        ValueError: Fewer sites than feeders.
    """
    if count < FEEDERS:
        raise ValueError(f"{count} sites cannot fill {FEEDERS} feeders")
    model = LoadModel(seed=seed)
    peaks = model.peak_load_w(np.arange(count))
    specs = tuple(_spec(index, float(peak)) for index, peak in enumerate(peaks))
    sites = {SiteId(spec.site_id): _site(index, spec, count, epoch) for index, spec in enumerate(specs)}
    background = tuple(
        _BACKGROUND_W_PER_SITE * len(_members(feeder, count)) * (1.0 + 0.1 * feeder)
        for feeder in range(FEEDERS)
    )
    feeders = {
        _feeder_id(feeder): Feeder(
            feeder_id=_feeder_id(feeder),
            name=f"Simulated feeder {feeder + 1}",
            substation="Simulated substation",
            import_limit_w=round(_LIMIT_FRAC[feeder] * peak, -2),
            export_limit_w=0.0,
        )
        for feeder, peak in enumerate(_tonight_w(model, specs, background, epoch))
    }
    shares = _shares_w(model, specs, background, [one.import_limit_w for one in feeders.values()], epoch)
    sites = {
        site_id: replace(
            site,
            recharge=RechargeTerms(c_rate=_RECHARGE_C_RATE, feeder_share_w=shares[feeder_of(index, count)]),
            fast=SIMULATED_FAST if site.battery.chemistry is Chemistry.LFP else None,
        )
        for index, (site_id, site) in enumerate(sites.items())
    }
    return SimulatedFleet(
        sites=sites,
        feeders=feeders,
        critical_sites=_critical_sites(sites),
        specs=specs,
        background_peak_w=background,
        tariffs={TARIFF.tariff_id: TARIFF},
    )


def feeder_of(index: int, count: int) -> int:
    """Return which feeder a site is on: whole clusters in turn; a fleet too small for that is dealt one by one."""
    if count < FEEDERS * _SITES_PER_CLUSTER:
        return index % FEEDERS
    return index // _SITES_PER_CLUSTER % FEEDERS


def _members(feeder: int, count: int) -> list[int]:
    return [index for index in range(count) if feeder_of(index, count) == feeder]


def _feeder_id(feeder: int) -> FeederId:
    return FeederId(f"feeder-{feeder + 1}")


def _spec(index: int, peak_w: float) -> SiteSpec:
    vrla = index % 12 == 10
    string_wh = 100.0 * (48.0 if vrla else _DC_NOMINAL_V)
    strings = ceil(_HOURS_OF_BATTERY * peak_w / string_wh)
    charge_w = _CHARGE_C_RATE * strings * string_wh
    return SiteSpec(
        site_id=f"cbs-{index + 1:04d}",
        chemistry="vrla" if vrla else "lfp",
        strings=strings,
        module_w=_MODULE_W,
        modules=ceil((peak_w + charge_w) / _MODULE_W) + 1,
        peak_load_w=peak_w,
        pv_rated_w=1_500.0 if index % 6 == 2 else 0.0,
        latitude=_CENTRE[0] + 0.012 * (index // 6 % 8) - 0.04,
        longitude=_CENTRE[1] + 0.016 * (index % 6) - 0.04,
    )


def _site(index: int, spec: SiteSpec, count: int, epoch: datetime) -> Site:
    feeder = feeder_of(index, count)
    return Site(
        site_id=SiteId(spec.site_id),
        name=f"Simulated site {index + 1}",
        latitude=spec.latitude,
        longitude=spec.longitude,
        time_zone=TIME_ZONE,
        feeder_id=_feeder_id(feeder),
        radio_cluster=RadioClusterId(f"cluster-{feeder + 1}-{index // (FEEDERS * _SITES_PER_CLUSTER) + 1}"),
        mode=SiteMode.SHADOW if index % 24 == 23 else SiteMode.REMOTE,
        simulated=True,
        dispatch_path=DispatchPath.ISC,
        autonomy=AutonomyProfile(
            name="4 h on battery" if index % 2 else "2 h on battery",
            jurisdiction="simulated, after Norway's 2 h in towns and 4 h outside",
            autonomy_h=4.0 if index % 2 else 2.0,
            max_load_w=round(1.05 * spec.peak_load_w),
        ),
        battery=_battery(index, spec, epoch),
        rectifiers=Rectifiers(module_w=spec.module_w, count=spec.modules, efficiency=0.96),
        bus=Bus(
            float_v=spec.float_v,
            backstop_v=47.0,
            voltage_step_v=0.001,
            device_reverts=True,
            continuity_proven_at=epoch - timedelta(days=30),
        ),
        grid_import_limit_w=spec.modules * spec.module_w / 0.96 + 3_000.0,
        ramp_w_per_step=round(spec.peak_load_w),
        pv_rated_w=spec.pv_rated_w,
        inverter=None,
        genset=None,
        tariff=TARIFF.tariff_id,
        maintenance=None,
        commissioned_at=epoch - timedelta(days=30),
    )


def _battery(index: int, spec: SiteSpec, epoch: datetime) -> Battery:
    vrla = spec.chemistry == "vrla"
    tested_days_ago = 500 if index % 24 == 17 else 60
    return Battery(
        chemistry=Chemistry(spec.chemistry),
        rated_wh=spec.rated_wh,
        soc_min_frac=0.25 if vrla else 0.15,
        soc_max_frac=1.0,
        disconnect_soc_frac=0.12 if vrla else 0.03,
        backstop_soc_frac=0.20 if vrla else 0.08,
        soc_error_frac=0.10 if vrla else 0.05,
        charge_efficiency=0.88 if vrla else 0.98,
        discharge_efficiency=0.98,
        bands=VRLA_BANDS if vrla else LFP_BANDS,
        max_cycles_per_day=0.0 if vrla else 0.8,
        calibrated_at=epoch - timedelta(days=10),
        capacity_tested_at=epoch - timedelta(days=tested_days_ago),
    )


def _critical_sites(sites: Mapping[SiteId, Site]) -> dict[CriticalSiteId, CriticalSite]:
    by_feeder = {site.feeder_id: site for site in reversed(list(sites.values()))}
    kinds = (
        ("hospital", "Simulated hospital", 400_000.0),
        ("water_works", "Simulated water works", 150_000.0),
    )
    found = {}
    for number, (kind, name, peak_w) in enumerate(kinds):
        near = by_feeder[_feeder_id(number)]
        critical_site_id = CriticalSiteId(f"critical-{kind.replace('_', '-')}")
        found[critical_site_id] = CriticalSite(
            critical_site_id=critical_site_id,
            name=name,
            kind=kind,
            latitude=near.latitude + 0.003,
            longitude=near.longitude + 0.003,
            feeder_id=near.feeder_id,
            priority=number + 1,
            demand_profile=kind,
            peak_w=peak_w,
            linked_site_ids=(),
        )
    return found


def _tonight_w(
    model: LoadModel, specs: tuple[SiteSpec, ...], background_peak_w: tuple[float, ...], epoch: datetime
) -> list[float]:
    """Return each feeder's peak import over the day after `epoch`, quarter-hour means, sites at float."""
    unix_s = epoch.timestamp() + np.arange(0.0, 86_400.0, 60.0)
    background = model.feeder_background_w(np.arange(FEEDERS), unix_s, np.array(background_peak_w))
    peaks_w = np.array([spec.peak_load_w for spec in specs])
    load = model.site_load_w(np.arange(len(specs)), unix_s, peaks_w) / 0.96
    found = []
    for feeder in range(FEEDERS):
        total = background[feeder] + load[_members(feeder, len(specs))].sum(axis=0)
        found.append(float(total.reshape(-1, 15).mean(axis=1).max()))
    return found


def _shares_w(
    model: LoadModel,
    specs: tuple[SiteSpec, ...],
    background_peak_w: tuple[float, ...],
    limits_w: Sequence[float],
    epoch: datetime,
) -> list[tuple[float, ...]]:
    """Return what commissioning writes to each feeder's sites: an equal share of the headroom by hour of the UTC day, W.

    Headroom is the limit over a margin, less the highest background of that hour in four weeks and all sites at full load.
    """
    hour = round(epoch.timestamp()) // 3600
    unix_s = 3600.0 * hour + np.arange(0.0, 28 * 86_400.0, 900.0)
    background = model.feeder_background_w(np.arange(FEEDERS), unix_s, np.array(background_peak_w))
    of_hour = (hour + np.arange(unix_s.size) // 4) % 24
    highest = [[float(row[of_hour == one].max()) for one in range(24)] for row in background]
    found = []
    for feeder in range(FEEDERS):
        members = _members(feeder, len(specs))
        own_w = sum(specs[index].peak_load_w for index in members) / 0.96
        room = [limits_w[feeder] / _HEADROOM_FACTOR - outside - own_w for outside in highest[feeder]]
        found.append(tuple(float(max(0.0, w) // len(members)) for w in room))
    return found
