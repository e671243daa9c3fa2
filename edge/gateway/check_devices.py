"""The field side of `cellwatt-gateway --check`: each device tried with reads only, and what it cannot do for the file."""

from __future__ import annotations

import asyncio
from datetime import datetime

from edge.gateway.config import ConfigError, GatewayFile, SiteConfig
from edge.gateway.finding import Finding
from edge.gateway.frequency import FastPath, offered
from edge.gateway.limits import ExportRule
from edge.gateway.process import port_spec
from edge.modbus.client import Connection, Device, Patience
from edge.modbus.port import Capabilities, DeviceError, FieldSample, SwitchReading
from edge.modbus.profile import ProfileError, load_profile
from edge.modbus.site_port import DeviceSpec, ModbusSitePort, modbus_link
from edge.modbus.sunspec import open_models
from edge.modbus.switch import SwitchInputs
from telemetry.model.clock import wall_clock

_BETWEEN_LOOKS_S = 0.6  # a switch's inputs are looked at twice a second or more


async def check_devices(file: GatewayFile) -> list[Finding]:
    """Try each device by itself, then all of them as one site; with reads only."""
    try:
        spec = port_spec(file)
    except ConfigError as error:
        return [Finding(what="devices", found=str(error), fix="correct the devices section")]
    alone = [(device.kind, await check_device(device)) for device in spec.devices]
    findings = [finding for _, finding in alone]
    # Without the switch a site can still be read; without another device nothing more can be said of it.
    if any(finding.fix for kind, finding in alone if kind != "switch"):
        return findings
    return findings + await check_site(file, ModbusSitePort(spec))


async def check_device(spec: DeviceSpec) -> Finding:
    """Try one device as if it were the only one."""
    what = f"device {spec.name}"
    where = f"{spec.serial or f'{spec.host}:{spec.port}'} unit {spec.unit}"
    connection: Connection | None = None
    try:
        connection = Connection(modbus_link(spec))
        answered = await _ask(spec, Device(spec.name, connection, spec.unit, Patience()))
    except ProfileError as error:
        return Finding(what=what, found=f"profile {spec.profile}: {error}", fix="correct the profile")
    except (DeviceError, OSError) as error:
        fix = f"check power, cabling, address, unit, kind and profile of {spec.name}"
        return Finding(what=what, found=f"{where}: {error}", fix=fix)
    finally:
        if connection is not None:  # some devices take one connection at a time
            await connection.close()
    return Finding(what=what, found=f"{where} answers: {answered}")


async def _ask(spec: DeviceSpec, device: Device) -> str:
    """Return what a device answers with: every point it measures, or its SunSpec models."""
    if spec.kind == "sunspec":
        models = await open_models(device, spec.battery_sign)
        return f"SunSpec models {', '.join(str(number) for number in models) or 'none that are known here'}"
    profile = load_profile(spec.profile)
    if spec.kind == "switch":
        SwitchInputs.alone(device, profile)  # refuses a profile of something else
    for address, count in profile.blocks([p.name for p in profile.points.values() if not p.writable]):
        await device.read(address, count)
    return f"profile {profile.name}"


async def check_site(file: GatewayFile, port: ModbusSitePort) -> list[Finding]:
    """Try the devices as one site: what it cannot do for the file."""
    try:
        await port.open()
        sample = await port.read()
        mains = await port.read_mains()
        await asyncio.sleep(_BETWEEN_LOOKS_S)
        again = await port.read_switch()
    except DeviceError as error:
        fix = "check cabling, address, unit and profile of the device that is named"
        return [Finding(what="devices", found=str(error), fix=fix)]
    finally:
        await port.close()
    capabilities = port.capabilities
    found = f"bus {sample.bus_v:.2f} V, load {sample.load_w:.0f} W, mains {'present' if mains else 'absent'}"
    findings = [Finding(what="devices", found=found)]
    if not capabilities.can_revert:
        fix = "use a controller with a revert timer or watchdog; until then the site is monitored only"
        findings.append(Finding(what="revert timer", found="none", fix=fix))
    if sample.soc_frac is None or sample.battery_c is None:
        fix = "give a device that reports SoC and battery temperature: without them every schedule is refused"
        findings.append(Finding(what="battery", found="SoC or temperature is not measured", fix=fix))
    if file.site.shed.loads and sample.load_shed is None:
        fix = "use a profile with a writable load_shed point, or remove site.shed.loads: no load can be shed"
        findings.append(Finding(what="load shedding", found="the controller has no load_shed point", fix=fix))
    if file.site.limits.export is not None and not capabilities.inverter:
        fix = "list the inverter under devices with inverter_w, or remove site.limits.export"
        findings.append(Finding(what="export", found="declared, but no inverter answers", fix=fix))
    findings += check_island(file.site.limits.export, sample)
    findings += check_switch(
        file.site.limits.export,
        (sample.switch, again),
        wall_clock().now(),
        listed=capabilities.transfer_switch,
    )
    findings += check_own_rules(file.site, sample)
    findings.append(check_reserves(file.site.fast, capabilities))
    if sample.alarms:
        fix = "clear the alarms at the cabinet"
        findings.append(Finding(what="alarms", found=", ".join(sample.alarms), fix=fix))
    return findings


def check_island(export: ExportRule | None, sample: FieldSample) -> list[Finding]:
    """Say whether the utility's terminals are measured, without which an outage's export never begins."""
    if export is None or export.island is None or sample.grid_v is not None:
        return []
    fix = "use a profile or meter that measures the utility's terminals (grid_v), or remove site.limits.export.island"
    found = "the voltage at the utility's terminals is not measured: nothing is exported in an outage"
    return [Finding(what="island", found=found, fix=fix)]


def check_switch(
    export: ExportRule | None,
    looks: tuple[SwitchReading | None, SwitchReading | None],
    now: datetime,
    *,
    listed: bool,
) -> list[Finding]:
    """Say where the transfer switch stands, by two looks, and what an export in an outage lacks."""
    island = None if export is None else export.island
    if not listed and island is None:
        return []
    what, (first, second) = "transfer switch", looks
    if not listed:
        fix = "list it under devices (kind: switch), or remove site.limits.export.island: nothing is exported"
        return [Finding(what=what, found="declared, but no device reads it back", fix=fix)]
    if first is None or second is None:
        fix = (
            "check cabling, address, unit and profile of the switch's inputs: until then nothing is exported"
        )
        return [Finding(what=what, found="it does not answer", fix=fix)]
    findings = []
    if first.looks == second.looks:
        fix = "the input module must count its looks at the contacts, at least two a second"
        findings.append(Finding(what=what, found="its counter of looks stands still", fix=fix))
    if second.open_contact == second.closed_contact:
        fix = "check both auxiliary contacts: exactly one of them must be set"
        findings.append(Finding(what=what, found="its contacts contradict each other", fix=fix))
    for name, until in (
        ()
        if island is None
        else (
            ("connection agreement", island.agreement_expires_at),
            ("switching authority", island.authority_expires_at),
        )
    ):
        if now >= until:
            fix = "renew it and write its end into site.limits.export.island, or remove the section"
            findings.append(Finding(what=name, found=f"ended at {until.isoformat()}", fix=fix))
    return findings or [Finding(what=what, found="open" if second.open_contact else "closed")]


def check_own_rules(site: SiteConfig, sample: FieldSample) -> list[Finding]:
    """Say which of the site's own rules lack a measurement or a register: they would do nothing."""
    local, strings = site.local, site.limits.parallel_strings
    phases = local.modules is not None and bool(local.modules.phases)
    checks = [
        (local.import_peak is not None and sample.grid_w is None, "import_peak", "the import (grid_w)"),
        (local.self_consumption is not None and sample.pv_w is None, "self_consumption", "the sun (pv_w)"),
        (
            local.self_consumption is not None and sample.rectifier_w is None,
            "self_consumption",
            "the rectifier's output (rectifier_w)",
        ),
        (local.modules is not None and sample.modules_off is None, "modules", "the modules_off register"),
        (phases and len(sample.phase_w) != 3, "local.modules.phases", "the power of three phases"),
        (strings > len(sample.string_a), "limits.parallel_strings", "each string's current"),
    ]
    return [
        Finding(
            what="own rules",
            found=f"{rule}: no device has {lacks}",
            fix=f"use a profile or meter that has it, or remove site.{rule if '.' in rule else 'local.' + rule}",
        )
        for broken, rule, lacks in checks
        if broken
    ]


def check_reserves(fast: FastPath | None, capabilities: Capabilities) -> Finding:
    """Say which reserve products the hardware can meet, and why it cannot meet the others."""
    found = offered(fast, capabilities)
    can = [name for name, reason in found.items() if reason is None]
    cannot = [f"{name}: {reason}" for name, reason in found.items() if reason is not None]
    if fast is None:
        return Finding(what="reserves", found="none: no fast frequency meter is declared (site.fast)")
    text = f"{', '.join(can) or 'none'}; not offered: {', '.join(cannot) or 'none'}"
    fix = "" if can else "declare what commissioning measured, or remove site.fast"
    return Finding(what="reserves", found=text, fix=fix)
