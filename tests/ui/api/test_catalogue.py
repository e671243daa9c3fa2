"""Autonomy profiles, battery types and tariffs over the API, and the history of an entry."""

from typing import Any

import pytest

from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
PROFILE: dict[str, Any] = {
    "profile_id": "sweden", "jurisdiction": "Sweden", "autonomy_h": 4.0, "binding": True, "source": "4 h",
    "genset_allowed": False, "failed_start_h": 2.0,
}  # fmt: skip
BAND = {"from_c": 0.0, "to_c": 40.0, "charge_c_rate": 0.2, "discharge_c_rate": 1.0, "capacity_frac": 1.0}
TYPE: dict[str, Any] = {
    "battery_type_id": "lfp-x", "chemistry": "lfp", "soc_min_frac": 0.15, "soc_max_frac": 1.0,
    "disconnect_soc_frac": 0.03, "backstop_soc_frac": 0.08, "soc_error_frac": 0.05, "charge_efficiency": 0.98,
    "discharge_efficiency": 0.98, "max_cycles_per_day": 0.8, "source": "test", "bands": [BAND],
}  # fmt: skip
TARIFF: dict[str, Any] = {
    "tariff_id": "flat", "name": "Flat", "currency": "EUR", "time_zone": "Europe/Rome",
    "periods": [{"days": "all", "from_h": 0, "to_h": 24, "import_per_kwh": 0.2}],
    "demand_per_kw_month": 0.0, "export_per_kwh": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "entry", "change", "wrong", "field"),
    [
        ("autonomy-profiles/sweden", PROFILE, {"autonomy_h": 6.0}, {"autonomy_h": -1.0}, ""),
        ("battery-types/lfp-x", TYPE, {"max_cycles_per_day": 1.0}, {"bands": [{**BAND, "too_c": 1}]}, "bands[0].too_c"),
        ("tariffs/flat", TARIFF, {"currency": "SEK"}, {"time_zone": "Mars/Base"}, "time_zone"),
        ("tariffs/flat", TARIFF, {"currency": "NOK"}, {"periods": []}, ""),
    ],
)  # fmt: skip
async def test_an_entry_is_versioned_and_a_wrong_one_refused(
    world: World, path: str, entry: dict[str, Any], change: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    first = await world.ask("ada", "PUT", f"/v1/{path}", entry)
    assert (first.status_code, first.json()["entry"]) == (200, entry), first.text
    version = first.json()["version"]
    second = await world.ask("ada", "PUT", f"/v1/{path}", {**entry, **change})
    assert second.json()["version"] == version + 1
    refused = await world.ask("ada", "PUT", f"/v1/{path}", {**entry, **wrong})
    assert refused.status_code == 422
    assert [one["field"] for one in refused.json()["errors"]] == ([field] if field else [])
    kind, name = path.split("/")
    listed = (await world.get(f"/v1/{kind}"))["items"]
    assert listed == [{"subject_id": name, "version": version + 1, "entry": {**entry, **change}}]
    history = await world.ask("olga", "GET", f"/v1/registry/{kind}/{name}/changes?limit=1")
    (newest,) = history.json()
    assert (newest["version"], newest["who"], newest["before"], newest["after"]) == (
        version + 1, "ada", entry, {**entry, **change},
    )  # fmt: skip
    assert (await world.ask("olga", "PUT", f"/v1/{path}", entry)).status_code == 403
    stale = f'"{kind[:-1].replace("-", "_")}-{version}"'
    late = await world.ask("ada", "PUT", f"/v1/{path}", entry, headers={"If-Match": stale})
    assert late.status_code == 412
