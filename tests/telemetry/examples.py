"""One good reading to start from; tests change what they are about with `replace`."""

from datetime import UTC, datetime

from telemetry.model.reading import Reading
from telemetry.model.site import SiteId

NOW = datetime(2026, 1, 15, 17, 0, tzinfo=UTC)
# 2,016 W DC from 2,160 W AC (60 W auxiliaries, 96 %), all of it load but 16 W that float the battery.
READING = Reading(
    site_id=SiteId("cbs-0001"),
    boot_id="boot-1",
    sequence=1,
    at=NOW,
    grid_v=230.0,
    grid_hz=50.0,
    grid_w=2160.0,
    aux_ac_w=60.0,
    rectifier_w=2016.0,
    load_w=2000.0,
    bus_v=54.4,
    battery_a=0.29,
    battery_w=16.0,
    soc_frac=0.98,
    soh_frac=0.99,
    battery_c=25.0,
    ambient_c=12.0,
    pv_w=0.0,
    mains_ok=True,
)
