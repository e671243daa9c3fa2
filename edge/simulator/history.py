"""The past that a new simulated installation starts with, as the telemetry its sites would have sent (simulated)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from edge.simulator.fleet import FleetSimulation, History
from edge.simulator.load import LoadModel
from edge.simulator.registry import SimulatedFleet
from edge.simulator.sensors import ALARMS
from telemetry.wire import VERSION, FeederMessage, FeederSample, ReadingWire, TelemetryMessage

BOOT_ID = "history"
STEP = timedelta(minutes=5)
_PER_MESSAGE = 288  # a day of 5-minute readings
_FIELDS = (
    "grid_v", "grid_hz", "grid_w", "aux_ac_w", "rectifier_w", "load_w", "bus_v", "battery_a", "soc_frac", "soh_frac",
    "battery_c", "ambient_c", "pv_w",
)  # fmt: skip


def site_messages(simulation: FleetSimulation, until: datetime) -> Iterator[TelemetryMessage]:
    """Run the sites at float up to an instant and yield what they would have sent, oldest day first."""
    history = simulation.run_history(until)
    instants = history.instants()
    for first in range(0, len(instants), _PER_MESSAGE):
        rows = slice(first, first + _PER_MESSAGE)
        for site, spec in enumerate(simulation.plant.specs):
            yield TelemetryMessage(
                v=VERSION,
                site_id=spec.site_id,
                boot_id=BOOT_ID,
                readings=tuple(_readings(history, instants[rows], first, site)),
            )


def _readings(history: History, instants: list[datetime], first: int, site: int) -> Iterator[ReadingWire]:
    rows = slice(first, first + len(instants))
    columns = [history.values[name][rows, site].tolist() for name in _FIELDS]
    battery_w = (history.values["bus_v"][rows, site] * history.values["battery_a"][rows, site]).tolist()
    meter_w = history.values["battery_w"][rows, site].tolist()
    mains = (history.values["mains_ok"][rows, site] > 0.5).tolist()
    bits = history.values["alarms"][rows, site].astype(np.int64).tolist()
    for row, at in enumerate(instants):
        yield ReadingWire(
            sequence=first + row + 1,
            at=at,
            battery_w=battery_w[row],
            meter_battery_w=meter_w[row],
            mains_ok=mains[row],
            alarms=tuple(name for k, name in enumerate(ALARMS) if bits[row] >> k & 1),
            **dict(zip(_FIELDS, (column[row] for column in columns), strict=True)),
        )


def feeder_messages(
    fleet: SimulatedFleet, model: LoadModel, instants: list[datetime]
) -> Iterator[FeederMessage]:
    """Yield what the substation's meters would have sent for these instants, at most a day a message."""
    unix_s = np.array([instant.timestamp() for instant in instants])
    rows = np.arange(len(fleet.background_peak_w))
    background_w = model.feeder_background_w(rows, unix_s, np.array(fleet.background_peak_w))
    for number, feeder_id in enumerate(fleet.feeders):
        for first in range(0, len(instants), _PER_MESSAGE):
            values = background_w[number, first : first + _PER_MESSAGE].tolist()
            stretch = instants[first : first + _PER_MESSAGE]
            yield FeederMessage(
                v=VERSION,
                feeder_id=feeder_id,
                samples=tuple(
                    FeederSample(at=at, background_w=value) for at, value in zip(stretch, values, strict=True)
                ),
            )
