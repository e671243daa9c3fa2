"""A simulated fleet in domain time: drives, plant, sensors, registers and faults stepped together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from edge.modbus.profile import Profile, load_profile
from edge.modbus.site_port import DeviceSpec, PortSpec
from edge.simulator.battery import Floats
from edge.simulator.faults import Fault, TimedFault, put
from edge.simulator.load import LoadModel
from edge.simulator.modbus_server import SWITCH_PROFILE, InProcessLink, SiteDevices
from edge.simulator.plant import Plant
from edge.simulator.plant_state import Drive
from edge.simulator.registers import RECTIFIER_UNIT
from edge.simulator.sensors import Sensors
from edge.simulator.site_spec import PlantSettings, SiteSpec
from edge.simulator.sunspec_registers import SUNSPEC_UNIT
from edge.simulator.surroundings import Surroundings
from edge.simulator.switch_registers import SWITCH_UNIT

PROFILES = {"fine": "example_fine", "coarse": "example_coarse"}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Readings of the whole fleet; every array of `values` has shape (instants, sites)."""

    unix_s: Floats
    values: dict[str, Floats]

    def instants(self) -> list[datetime]:
        return [datetime.fromtimestamp(float(s), UTC) for s in self.unix_s]


class FleetSimulation:
    """Simulated sites from an instant on. Simulated throughout.

    Args:
        specs: One per site.
        seed: Of load, weather, sensors; the same seed and steps give the same run.
        start: Aware UTC.
        model: Drives; shared with whoever needs feeder load.
        outages_per_month: Mains outages per site by seed, none by default.
    """

    def __init__(
        self,
        specs: Sequence[SiteSpec],
        *,
        seed: int,
        start: datetime,
        model: LoadModel | None = None,
        settings: PlantSettings | None = None,
        outages_per_month: float = 0.0,
    ) -> None:
        self.plant = Plant(specs, settings)
        self.model = model or LoadModel(seed=seed)
        self.sensors = Sensors(self.plant, seed)
        shipped: dict[str, Profile] = {kind: load_profile(name) for kind, name in PROFILES.items()}
        self.devices = tuple(
            SiteDevices(k, self.plant, self.sensors, shipped[spec.controller])
            for k, spec in enumerate(self.plant.specs)
        )
        self.around = tuple(Surroundings() for _ in self.plant.specs)
        self._at_s = start.timestamp()
        self._outages_per_month = outages_per_month
        self._timed: list[TimedFault] = []
        self._sites = np.arange(len(self.plant.specs))
        self._peak_w = np.array([s.peak_load_w for s in self.plant.specs])
        self._pv_w = np.array([s.pv_rated_w for s in self.plant.specs])
        self._latitude = np.array([s.latitude for s in self.plant.specs])
        self._longitude = np.array([s.longitude for s in self.plant.specs])
        self._drives: tuple[Floats, Floats, Floats, Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]
        self._look_ahead(np.array([float(np.floor(self._at_s))]))

    # -- time ---------------------------------------------------------------------------------------

    @property
    def at(self) -> datetime:
        """The instant the plant has reached."""
        return datetime.fromtimestamp(self._at_s, UTC)

    def advance_to(self, until: datetime, *, most_steps: int = 240) -> None:
        """Step up to an instant: steps of 1 s or less, longer ones only when `most_steps` would not do.

        An instant in the past does nothing: the plant's time does not run backwards.
        """
        span = until.timestamp() - self._at_s
        if span <= 0.0:
            return
        step_s = max(1.0, float(np.ceil(span / most_steps)))
        self._steps(until.timestamp(), step_s, lambda: None)
        self.sensors.refresh()

    def run_history(self, until: datetime, step: timedelta = timedelta(minutes=5)) -> History:
        """Step to an instant in long steps and return what the sensors said after each."""
        names = sorted(self.sensors.values)
        rows: dict[str, list[Floats]] = {name: [] for name in names}
        instants: list[float] = []

        def note() -> None:
            self.sensors.refresh()
            instants.append(self._at_s)
            for name in names:
                rows[name].append(self.sensors.values[name].copy())

        self._steps(until.timestamp(), step.total_seconds(), note)
        return History(unix_s=np.array(instants), values={n: np.array(r) for n, r in rows.items()})

    def _steps(self, until_s: float, step_s: float, after: Callable[[], None]) -> None:
        """Step on the grid of `step_s`, so that the same span in other portions gives the same drives."""
        while self._at_s < until_s - 1e-6:
            edge_s = (np.floor(self._at_s / step_s + 1e-9) + 1.0) * step_s
            next_s = min(edge_s, until_s)
            if self._timed and self._timed[0].at_s > self._at_s:
                next_s = min(next_s, self._timed[0].at_s)
            self.plant.step(self._drive(step_s, until_s), next_s - self._at_s)
            self._at_s = next_s
            self._strike()
            after()

    def _drive(self, step_s: float, until_s: float) -> Drive:
        """Return the drives of the grid point that the present instant belongs to."""
        grid_s = float(np.floor(self._at_s / step_s + 1e-9) * step_s)
        points = self._drives[0]
        column = int(np.searchsorted(points, grid_s))
        if column >= points.size or points[column] != grid_s:
            ahead = int(np.clip(np.ceil((until_s - grid_s) / step_s), 1, 600))
            self._look_ahead(grid_s + step_s * np.arange(ahead, dtype=np.float64))
            column = 0
        _, load, air, pv, mains = self._drives
        return Drive(
            load_w=load[:, column], ambient_c=air[:, column], pv_w=pv[:, column], mains=mains[:, column]
        )

    def _look_ahead(self, unix_s: Floats) -> None:
        model, sites = self.model, self._sites
        self._drives = (
            unix_s,
            model.site_load_w(sites, unix_s, self._peak_w),
            model.ambient_c(sites, unix_s),
            model.pv_w(sites, unix_s, self._pv_w, self._latitude, self._longitude),
            model.mains_ok(sites, unix_s, self._outages_per_month),
        )

    # -- faults -------------------------------------------------------------------------------------

    def put(self, fault: Fault) -> None:
        """Put a fault in, or take it away, now."""
        put(fault, self.plant, self.sensors, self.devices[fault.site], self.around[fault.site])

    def plan_faults(self, faults: Iterable[TimedFault]) -> None:
        """Add faults to come; each strikes at its instant, between two steps."""
        self._timed = sorted([*self._timed, *faults], key=lambda f: f.at_s)

    def _strike(self) -> None:
        while self._timed and self._timed[0].at_s <= self._at_s + 1e-9:
            self.put(self._timed.pop(0).fault)

    # -- the way in ---------------------------------------------------------------------------------

    def link(self, site: int) -> InProcessLink:
        """Return a link to a site's registers without a socket."""
        return InProcessLink(self.devices[site])

    def port_spec(self, site: int, *, port: int = 0) -> PortSpec:
        """Return the device list a gateway of this site needs; `port` is its `SiteServer`'s."""
        return port_spec(self.plant.specs[site], self.plant.settings, port=port)


def port_spec(spec: SiteSpec, settings: PlantSettings, *, port: int = 0) -> PortSpec:
    """Return a simulated site's device list as a gateway's file would hold it."""
    devices = [
        DeviceSpec(
            name="rectifier",
            kind="profile",
            unit=RECTIFIER_UNIT,
            host="127.0.0.1",
            port=port,
            profile=PROFILES[spec.controller],
        ),
        DeviceSpec(name="meters", kind="sunspec", unit=SUNSPEC_UNIT, host="127.0.0.1", port=port),
    ]
    if spec.transfer_switch:
        devices.append(
            DeviceSpec(
                name="transfer switch",
                kind="switch",
                unit=SWITCH_UNIT,
                host="127.0.0.1",
                port=port,
                profile=SWITCH_PROFILE,
            )
        )
    return PortSpec(
        devices=devices,
        float_v=spec.float_v,
        max_v=spec.max_v,
        backstop_v=settings.backstop_v,
        rectifier_limit_w=spec.module_w * spec.modules,
        inverter_w=spec.inverter_w,
    )


async def follow(
    fleet: FleetSimulation,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
    tick: timedelta = timedelta(milliseconds=100),
) -> None:
    """Keep a fleet at the clock's instant until cancelled; `sleep` waits wall seconds."""
    while True:
        fleet.advance_to(now())
        await sleep(tick.total_seconds())
