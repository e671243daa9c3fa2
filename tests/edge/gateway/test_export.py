"""Export through a declared inverter: with the mains, up to its limit, by hand and on the plant (simulated)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as alter

from edge.gateway.acceptance import refuse_schedule
from edge.gateway.limits import Allowed, ExportRule, Reason, Site, allow, exported_w
from edge.plan import AckVerdict, CommandKind, ScheduleBody
from edge.simulator.faults import Fault
from edge.simulator.site_spec import SiteSpec
from tests.edge.gateway.bench import CONFIG, LIMITS, NOON, SPEC, TEST, bench, seal
from tests.edge.gateway.test_commands import CAPABILITIES, FIELD, SAMPLE

EXPORT = ExportRule(certificate="EN 50549-1:2019 no. 17", limit_w=1900.0)
EXPORTS = alter(LIMITS, export=EXPORT)
PAIRED = replace(FIELD, capabilities=replace(CAPABILITIES, inverter=True))
INVERTER = SiteSpec(site_id="cbs-0001", inverter_w=2000.0, initial_soc_frac=0.9)


@pytest.mark.parametrize(
    ("target_w", "mains_ok", "expected_w"),
    [
        (-1500.0, True, 0.0),  # the load of 2,000 W takes it
        (-3000.0, True, -950.0),  # 1,000 W too much at DC are 950 W at AC
        (-9000.0, True, -1900.0),
        (-3000.0, False, 0.0),
        (500.0, True, 0.0),
    ],
)
def test_the_inverter_gets_what_the_load_does_not_take(
    target_w: float, mains_ok: bool, expected_w: float
) -> None:
    sample = replace(SAMPLE, mains_ok=mains_ok)
    assert exported_w(target_w, sample, EXPORTS) == pytest.approx(expected_w)
    assert exported_w(target_w, sample, LIMITS) == 0.0


def body(watts: float) -> ScheduleBody:
    return ScheduleBody(start=NOON, step_s=900, setpoint_w=(watts,))


@pytest.mark.parametrize(
    ("watts", "limits", "expected"),
    [
        (-2600.0, LIMITS, Reason.EXPORT_NOT_DECLARED),  # 2,500 W: the load and a quarter
        (-4500.0, EXPORTS, None),  # 2,500 W and 1,900 / 0.95 = 2,000 W
        (-4502.0, EXPORTS, Reason.EXPORT_NOT_DECLARED),
        # 3,300 W of load and 2,700 W of inverter are all that the rectifiers carry with one module failed.
        (-100.0, alter(LIMITS, export=alter(EXPORT, limit_w=2565.0)), None),
        (-100.0, alter(LIMITS, export=alter(EXPORT, limit_w=2566.0)), Reason.NO_CONTINUITY),
    ],
)
def test_export_is_refused_beyond_what_is_declared_and_carried(
    watts: float, limits: object, expected: Reason | None
) -> None:
    assert isinstance(limits, type(LIMITS))
    site: Site = PAIRED
    until = NOON + timedelta(hours=1)
    assert refuse_schedule(body(watts), until, site, limits, NOON) is expected


def test_while_executing_load_and_inverter_are_the_bound() -> None:
    assert allow(-4500.0, SAMPLE, EXPORTS) == Allowed(power_w=-4000.0, reason=Reason.LOAD_BELOW_SETPOINT)
    assert allow(-4500.0, SAMPLE, LIMITS) == Allowed(power_w=-2000.0, reason=Reason.LOAD_BELOW_SETPOINT)


@pytest.mark.parametrize(
    "document", ["{limit_w: 1000}", "{certificate: '', limit_w: 1000}", "{certificate: EN 1, limit_w: 0}"]
)
def test_an_inverter_without_its_certificate_cannot_be_declared(document: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.yaml.decode(document, type=ExportRule)


async def test_a_declared_inverter_exports_the_rest_and_mains_loss_ends_it(tmp_path: Path) -> None:
    config = alter(CONFIG, limits=EXPORTS)
    order = replace(TEST, kind=CommandKind.SCHEDULE, body=body(-3500.0))
    async with bench(tmp_path, config=config, spec=INVERTER) as made:
        load_w = made.trace[-1][3]
        await made.order(seal(order))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        await made.step(count=60)  # longer than the inverter's revert time of 45 s
        state = made.fleet.plant.state
        load_w = made.trace[-1][3]
        assert made.trace[-1][1] == pytest.approx(-3500.0, abs=200.0)
        assert float(state.inverter_w[0]) == pytest.approx(-(3500.0 - load_w) * 0.95, abs=90.0)
        assert float(state.grid_w[0]) < -500.0
        assert float(state.rectifier_a[0] * state.bus_v[0]) < 200.0
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert made.last_ack().reason == "outage"
        await made.step(count=5)
        assert float(state.inverter_w[0]) == 0.0
        assert state.energy.unserved[0] == 0.0


async def test_a_bms_that_opens_while_exporting_drops_nothing_and_stops_the_inverter(tmp_path: Path) -> None:
    config = alter(CONFIG, limits=EXPORTS)
    order = replace(TEST, kind=CommandKind.SCHEDULE, body=body(-3500.0))
    async with bench(tmp_path, config=config, spec=INVERTER) as made:
        await made.order(seal(order))
        await made.step(count=40)
        made.fleet.plant.state.bus_min_v[0] = made.fleet.plant.state.bus_v[0]
        made.fleet.put(Fault(site=0, kind="battery_trip", value=-1.0))
        await made.step(count=5)
        assert made.fleet.plant.state.bus_min_v[0] >= 44.0
        assert made.fleet.plant.state.energy.unserved[0] == 0.0
        assert float(made.fleet.plant.state.inverter_w[0]) == 0.0


async def test_a_gateway_that_dies_while_exporting_leaves_nothing_behind(tmp_path: Path) -> None:
    config = alter(CONFIG, limits=EXPORTS)
    order = replace(TEST, kind=CommandKind.SCHEDULE, body=body(-3500.0))
    async with bench(tmp_path, config=config, spec=INVERTER) as made:
        await made.order(seal(order))
        await made.step(count=20)
        assert float(made.fleet.plant.state.inverter_w[0]) < -900.0
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=60))
        assert float(made.fleet.plant.state.inverter_w[0]) == 0.0
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_a_file_that_declares_export_on_devices_without_an_inverter_exports_nothing(
    tmp_path: Path,
) -> None:
    order = replace(TEST, kind=CommandKind.SCHEDULE, body=body(-3500.0))
    async with bench(tmp_path, config=alter(CONFIG, limits=EXPORTS), spec=SPEC) as made:
        await made.order(seal(order))
        assert made.last_ack().reason == "export_not_declared"
