"""Registry files: what they become, and that every problem is named at once with file, line and column."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from telemetry.model.battery import LFP_BANDS, VRLA_BANDS
from telemetry.model.catalogue import Days, PricePeriod, Tariff, TariffId
from telemetry.model.site import FastTerms, RechargeTerms, Site, SiteMode
from telemetry.registry_columns import COLUMNS
from telemetry.registry_files import read_folder
from telemetry.registry_rows import Entries, Known, to_entries

DELIVERED = Path(__file__).parents[2] / "deploy" / "registry"
FEEDERS = "feeder_id,name,substation,import_limit_w,export_limit_w\n"


def read(folder: Path, known: Known | None = None) -> Entries:
    return to_entries(read_folder(folder, COLUMNS), known or Known())


def problems(folder: Path, known: Known | None = None) -> list[str]:
    return [one.text() for one in read(folder, known).problems]


def things(found: Entries) -> dict[str, object]:
    return {entry.subject_id: entry.thing for entry in found.entries}


def changed(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """The delivered example with one text of one file replaced."""
    for path in (DELIVERED / "example").iterdir():
        text = path.read_text()
        if path.name == name:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / path.name).write_text(text)
    return tmp_path


def test_the_delivered_example_is_sound_and_a_site_holds_a_copy_of_what_it_names() -> None:
    found = read(DELIVERED / "example")
    assert found.problems == []
    site = things(found)["ex-0001"]
    assert (site.name, site.mode, site.simulated) == ("Harbour, roof", SiteMode.SHADOW, False)  # type: ignore[attr-defined]
    assert (site.autonomy.autonomy_h, site.autonomy.max_load_w) == (2.0, 3150.0)  # type: ignore[attr-defined]
    assert (site.battery.rated_wh, site.battery.bands) == (15_360.0, LFP_BANDS)  # type: ignore[attr-defined]
    assert site.battery.calibrated_at == datetime(2026, 6, 1, tzinfo=UTC)  # type: ignore[attr-defined]
    assert site.recharge == RechargeTerms(c_rate=0.1)  # type: ignore[attr-defined]
    ridge = things(found)["ex-0002"]
    assert (ridge.genset.tank_wh, ridge.inverter, ridge.recharge) == (90_000.0, None, None)  # type: ignore[attr-defined]
    hospital = things(found)["hospital-1"]
    assert (hospital.latitude, hospital.linked_site_ids) == (59.936, ("ex-0001",))  # type: ignore[attr-defined]


def test_the_delivered_battery_types_allow_what_the_models_defaults_allow() -> None:
    found = things(read(DELIVERED / "standard"))
    assert (found["lfp-48v"].bands, found["vrla-48v"].bands) == (LFP_BANDS, VRLA_BANDS)  # type: ignore[attr-defined]
    assert found["california-fire-district"].autonomy_h == 72.0  # type: ignore[attr-defined]
    assert not found["us-none"].binding  # type: ignore[attr-defined]


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "feeders.csv").write_text(
        FEEDERS
        + 'f-1,"two\nlines",s,abc,0\nf-2,B,s,-5,0\nf-3,C,s,1,0\nf-3,D,s,1,0\nbad id,E,s,1,0\nf-6,F,s,1\n'
    )
    (tmp_path / "critical_sites.geojson").write_text(
        '{"name": "x \\" \\"features\\": [", "features": [\n'
        '{"properties": {"critical_site_id": "h", "name": "H", "kind": "k", "feeder_id": "f-9", "priority": 1.5,\n'
        '"demand_profile": "p", "peak_w": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}},\n\n'
        '{"properties": {"critical_site_id": "i", "colour": "red"}, "geometry": {"type": "Polygon"}},\n'
        '{"properties": {"critical_site_id": "j", "name": "J", "kind": "k", "feeder_id": "f-9", "priority": 1,\n'
        '"demand_profile": "p", "peak_w": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}}]}'
    )
    (tmp_path / "sights.csv").write_text("a\n")
    names = "autonomy_profiles, battery_limits, battery_types, critical_sites, feeders, sites, tariff_periods, tariffs"
    assert problems(tmp_path) == [
        "critical_sites.geojson:2:priority: 1.5 is no whole number",
        "critical_sites.geojson:5:geometry: must be a Point",
        "critical_sites.geojson:6:feeder_id: there is no 'f-9', in these files or in the database",
        "feeders.csv:2:import_limit_w: 'abc' is no number",
        "feeders.csv:4:import_limit_w: f-2: import_limit_w -5.0 must be zero or more",
        "feeders.csv:6:feeder_id: f-3 is on line 5 too",
        "feeders.csv:7:feeder_id: 'bad id' is no name: letters, digits, '.', '_' and '-', at most 64",
        "feeders.csv:8:export_limit_w: is missing",
        f"sights.csv: not a registry file: name it TABLE.csv or TABLE.geojson, with TABLE one of {names}",
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("sites.csv", "59.91,", "95.0,", "sites.csv:2:latitude: 95 is beyond 90 degrees"),
        ("sites.csv", "Europe/Oslo,north-1,harbour", "Europe/Oslow,north-1,harbour",
         "sites.csv:2:time_zone: there is no time zone 'Europe/Oslow'"),
        ("sites.csv", "norway-town", "norway-twn",
         "sites.csv:2:autonomy_profile: there is no 'norway-twn', in these files or in the database"),
        ("sites.csv", "2026-06-01T00:00:00Z", "2026-06-01T00:00:00",
         "sites.csv:2:calibrated_at: an instant needs an offset, such as Z or +01:00"),
        ("sites.csv", "lfp-48v,15360", "lfp-48v,0", "sites.csv:2:rated_wh: rated_wh 0.0 must be above zero"),
        ("sites.csv", "shadow", "shade", "sites.csv:2:mode: Invalid enum value 'shade'"),
        ("sites.csv", ",two-rates,0.1", ",two-rates,5",
         "sites.csv:2:recharge_c_rate: recharge c_rate 5.0 must be in (0, 0.5]"),
        ("sites.csv", "site_id,name", "site_id,nickname", "sites.csv:2:name: is missing"),
        ("battery_limits.csv", "lfp-48v,0,10", "lfp-48v,-5,10",
         "battery_types.csv:2: limits from -20 and from -5 degC overlap"),
        ("battery_limits.csv", "vrla-48v,40,55", "nife,40,55",
         "battery_limits.csv:10:battery_type_id: battery_types has no 'nife'"),
        ("tariff_periods.csv", "workdays,7,22", "workdays,8,22",
         "tariffs.csv:2: 0 prices hold on workdays at 7 h, not one"),
    ],
)  # fmt: skip
def test_a_problem_names_its_place(tmp_path: Path, file: str, old: str, new: str, problem: str) -> None:
    assert problem in problems(changed(tmp_path, file, old, new))


FAST_COLUMNS = "fast_meter_error_hz,fast_meter_period_s,fast_actuator_s,fast_ramp_w_per_s"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (
            "0.01,0.1,0.3,5000",
            FastTerms(meter_error_hz=0.01, meter_period_s=0.1, actuator_s=0.3, ramp_w_per_s=5000.0),
        ),
        (",,,", None),
        ("0.01,0.1,,5000", "sites.csv:2:fast_actuator_s: is missing"),
        ("0.01,0.1,0,5000", "sites.csv:2:fast_actuator_s: fast actuator_s 0.0 must be above zero"),
        (",0.1,,", "sites.csv:2:fast_meter_period_s: means nothing without fast_meter_error_hz"),
    ],
)
def test_a_fast_meter_is_declared_whole_or_not_at_all(
    tmp_path: Path, cells: str, expected: FastTerms | str | None
) -> None:
    folder = changed(tmp_path, "sites.csv", "recharge_c_rate", f"recharge_c_rate,{FAST_COLUMNS}")
    path = folder / "sites.csv"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, f"{first},{cells}", *(f"{line},,,," for line in rest)]) + "\n")
    if isinstance(expected, str):
        assert expected in problems(folder)
    else:
        site = things(read(folder))["ex-0001"]
        assert isinstance(site, Site)
        assert site.fast == expected


def test_what_the_database_has_need_not_be_in_the_files(tmp_path: Path) -> None:
    whole = read(DELIVERED / "example")
    stored = things(whole)
    (tmp_path / "sites.csv").write_text((DELIVERED / "example" / "sites.csv").read_text())
    known = Known(
        feeders=frozenset({"north-1"}),
        tariffs=frozenset({"two-rates"}),
        profiles={name: stored[name] for name in ("norway-town", "norway-rural")},  # type: ignore[misc]
        battery_types={name: stored[name] for name in ("lfp-48v", "vrla-48v")},  # type: ignore[misc]
    )
    assert problems(tmp_path, known) == []
    assert len(problems(tmp_path)) == 8  # feeder, tariff, profile and type of two sites


def test_an_unknown_column_and_broken_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "feeders.csv").write_text(FEEDERS.replace("name", "nome") + "f,N,s,1,0\nf,N,s,1,0,9\n")
    (tmp_path / "sites.geojson").write_text('{"features": [}')
    (tmp_path / "tariffs.csv").write_bytes(b"\xff\xfe")
    assert [text.partition(": ")[0] for text in problems(tmp_path)] == [
        "feeders.csv:2:name", "feeders.csv:2:nome", "feeders.csv:3", "sites.geojson:1", "tariffs.csv",
    ]  # fmt: skip
    assert problems(tmp_path / "none") == [f"{tmp_path / 'none'}: there is no such folder"]


def test_a_tariff_has_one_price_for_every_hour_in_its_own_zone() -> None:
    night = PricePeriod(days=Days.ALL, from_h=0, to_h=7, import_per_kwh=0.1)
    day = PricePeriod(days=Days.WORKDAYS, from_h=7, to_h=24, import_per_kwh=0.3)
    weekend = PricePeriod(days=Days.WEEKEND, from_h=7, to_h=24, import_per_kwh=0.2)
    tariff = Tariff(
        tariff_id=TariffId("t"),
        name="t",
        currency="EUR",
        time_zone="Europe/Rome",
        periods=(night, day, weekend),
    )
    # Friday 2026-06-05: 05:30 UTC is 07:30 in Rome, 04:59 is 06:59; Saturday at 10:00.
    assert tariff.price_per_kwh(datetime(2026, 6, 5, 5, 30, tzinfo=UTC)) == 0.3
    assert tariff.price_per_kwh(datetime(2026, 6, 5, 4, 59, tzinfo=UTC)) == 0.1
    assert tariff.price_per_kwh(datetime(2026, 6, 6, 10, 0, tzinfo=UTC)) == 0.2
