"""The simulated transfer switch: where the inverter's power goes, what its contacts say, read over Modbus TCP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace as alter

from edge.modbus.client import Patience
from edge.modbus.port import DeviceError, SwitchReading
from edge.modbus.site_port import DeviceSpec, ModbusSitePort
from edge.simulator.faults import Fault, FaultKind
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.plant import Plant
from edge.simulator.site_spec import SiteSpec
from tests.edge.gateway.bench import NOON
from tests.edge.simulator.test_plant import drive, run

SPEC = SiteSpec(site_id="s", inverter_w=2000.0, transfer_switch=True, island_w=950.0, initial_soc_frac=0.9)


def commanded(watts: float = -1900.0) -> Plant:
    plant = Plant([SPEC])
    plant.commands.inverter_w[:] = watts
    plant.commands.inverter_revert_s[:] = 7200.0
    return plant


def test_behind_an_open_switch_the_section_takes_what_it_needs_and_the_books_close() -> None:
    plant = commanded()
    stored_wh = plant.stored_wh()[0]
    plant.switches.operate(0, opens=True)
    run(plant, 3600, drive(load_w=1000.0, mains=False), step_s=5.0)
    st, e = plant.state, plant.state.energy
    # The section needs 950 W of the 1,900 W offered: 1,000 W at DC beside a load of 1,000 W.
    assert -float(st.string_a.sum() * st.bus_v[0]) == pytest.approx(2000.0)
    assert (float(st.inverter_w[0]), float(st.island_w[0]), float(st.grid_w[0])) == (-950.0, 950.0, 0.0)
    assert float(e.island[0]) == pytest.approx(950.0)
    assert float(e.inverter_loss[0]) == pytest.approx(50.0)
    bus = (
        e.mains + e.genset + e.pv - e.aux - e.rectifier_loss - e.inverter_loss - e.load - e.island - e.battery
    )
    assert abs(float(bus[0])) < 1e-6
    held_wh = float(e.battery[0] - e.battery_loss[0] - (plant.stored_wh()[0] - stored_wh))
    assert abs(held_wh) < 1e-3 * 2000.0
    assert float(e.backfed[0]) == 0.0


def test_with_the_mains_a_switch_that_opens_takes_the_export_from_the_grid() -> None:
    plant = commanded()
    run(plant, 60, drive(load_w=1000.0))
    st = plant.state
    assert float(st.grid_w[0]) == pytest.approx(float(st.rectifier_in_w[0] + st.aux_ac_w[0]) - 1900.0)
    plant.switches.operate(0, opens=True)
    run(plant, 1, drive(load_w=1000.0))
    assert float(st.inverter_w[0]) == -950.0
    assert float(st.grid_w[0]) == pytest.approx(float(st.rectifier_in_w[0] + st.aux_ac_w[0]))


def test_a_closed_switch_without_mains_stops_the_inverter_and_a_lying_one_feeds_back() -> None:
    plant = commanded()
    run(plant, 2, drive(load_w=1000.0, mains=False))
    assert (float(plant.state.inverter_w[0]), float(plant.state.energy.backfed[0])) == (0.0, 0.0)
    plant.switches.says_open[0], plant.switches.says_closed[0] = 1, 0
    run(plant, 36, drive(load_w=1000.0, mains=False))
    # Its own interlock takes the same contacts: 1,900 W for 36 s are 19 Wh into a section that should be dead.
    assert float(plant.state.energy.backfed[0]) == pytest.approx(19.0)
    assert float(plant.state.grid_w[0]) == -1900.0


def test_a_site_without_a_switch_has_none_to_operate() -> None:
    plant = Plant([SiteSpec(site_id="s")])
    with pytest.raises(ValueError, match="no transfer switch"):
        plant.switches.operate(0, opens=True)


FAULTS: list[tuple[FaultKind, float | None, tuple[bool, bool] | None, bool]] = [
    ("switch_open", None, (True, False), True),
    ("switch_contradicts", 1.0, (True, True), True),
    ("switch_contradicts", 0.0, (False, False), True),
    ("switch_lies", 1.0, (True, False), True),
    ("switch_stale", None, (False, True), False),
    ("switch_lost", None, None, False),
]


@pytest.mark.parametrize(("kind", "value", "contacts", "moves"), FAULTS)
async def test_contacts_and_counter_are_read_over_modbus(
    kind: FaultKind, value: float | None, contacts: tuple[bool, bool] | None, *, moves: bool
) -> None:
    fleet = FleetSimulation([SPEC], seed=1, start=NOON)
    server = SiteServer(fleet.devices[0])
    port = ModbusSitePort(fleet.port_spec(0, port=await server.start()), patience=Patience(retries=0))
    try:
        await port.open()
        assert port.capabilities.transfer_switch
        fleet.advance_to(NOON + timedelta(seconds=2))
        assert (await port.read()).switch == SwitchReading(open_contact=False, closed_contact=True, looks=20)
        fleet.put(Fault(site=0, kind=kind, value=value))
        fleet.advance_to(NOON + timedelta(seconds=4))
        seen = await port.read_switch()
        assert (await port.read()).switch == seen  # the site goes on being read, whatever its switch does
        if contacts is None:
            assert seen is None
        else:
            looks = 40 if moves else 20
            assert seen == SwitchReading(open_contact=contacts[0], closed_contact=contacts[1], looks=looks)
    finally:
        await port.close()
        await server.stop()


def stuck(fleet: FleetSimulation) -> None:
    fleet.put(Fault(site=0, kind="switch_stuck"))
    fleet.put(Fault(site=0, kind="switch_open"))


def freed(fleet: FleetSimulation) -> None:
    stuck(fleet)
    fleet.put(Fault(site=0, kind="switch_stuck", on=False))
    fleet.put(Fault(site=0, kind="switch_open"))


@pytest.mark.parametrize(("act", "opened"), [(stuck, False), (freed, True)])
def test_a_stuck_pole_stays(act: Callable[[FleetSimulation], None], *, opened: bool) -> None:
    fleet = FleetSimulation([SPEC], seed=1, start=NOON)
    act(fleet)
    fleet.advance_to(NOON + timedelta(seconds=1))
    assert bool(fleet.plant.switches.open[0]) is opened
    assert bool(fleet.plant.switches.open_contact[0]) is opened


async def test_no_register_of_a_switch_can_be_written() -> None:
    fleet = FleetSimulation([SPEC], seed=1, start=NOON)
    link = fleet.link(0)
    for address in range(3):
        with pytest.raises(Exception, match="IllegalAddressError"):
            await link.write(3, address, [1])
    assert fleet.devices[0].writes == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda switch: [switch, switch], "a second transfer switch"),
        (lambda switch: [alter(switch, profile="example_fine")], "nothing else"),
    ],
)
async def test_a_device_list_with_a_wrong_switch_is_refused(
    change: Callable[[DeviceSpec], list[DeviceSpec]], says: str
) -> None:
    fleet = FleetSimulation([SPEC], seed=1, start=NOON)
    spec = fleet.port_spec(0)
    devices = [*spec.devices[:2], *change(spec.devices[2])]
    port = ModbusSitePort(alter(spec, devices=devices), lambda _: fleet.link(0), Patience(retries=0))
    with pytest.raises(DeviceError, match=says):
        await port.open()
