"""`cellwatt-gateway --check`: everything a gateway needs, tried once, with what to fix for each thing that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from edge.gateway.check_clock import ClockState, check_clock, system_clock_state
from edge.gateway.check_devices import check_devices
from edge.gateway.config import ConfigError, GatewayFile
from edge.gateway.finding import Finding
from edge.gateway.process import mqtt_settings
from edge.gateway.state_file import StateFile, StateFileError
from edge.gateway.uplink import topic
from telemetry.model.clock import wall_clock
from telemetry.model.site import SiteId
from telemetry.mqtt import MqttClient, MqttError, MqttProtocol, PublishRefusedError
from telemetry.wire import VERSION, EventMessage, encode

_EXPIRES_SOON = timedelta(days=30)
_BROKER_WITHIN = timedelta(seconds=8)


def report(findings: Sequence[Finding]) -> int:
    """Print the findings; return the exit status: 1 if anything must be fixed."""
    for finding in findings:
        mark = "FIX" if finding.fix else "?  " if finding.unknown else "ok "
        sys.stdout.write(f"{mark} {finding.what}: {finding.found}\n")
        if finding.fix:
            sys.stdout.write(f"      -> {finding.fix}\n")
    return 1 if any(finding.fix for finding in findings) else 0


async def check_all(
    file: GatewayFile,
    broker_within: timedelta = _BROKER_WITHIN,
    clock_state: Callable[[], ClockState] = system_clock_state,
) -> list[Finding]:
    """Try everything, in the order in which it must work; run it while the gateway itself is stopped."""
    now = wall_clock().now()
    findings = [Finding(what="config", found=f"site {file.site.site_id}, mode {file.site.mode.value}")]
    findings += check_limits(file)
    findings.append(check_state(file, now))
    tolerance = timedelta(seconds=file.site.pacing.clock_jump_s)
    findings.append(check_clock(now, clock_state(), tolerance))
    findings += check_certificates(file, now)
    findings += await check_devices(file)
    findings += await check_broker(file, broker_within)
    return findings


def check_limits(file: GatewayFile) -> list[Finding]:
    """Say what the site's own limits rule out."""
    limits = file.site.limits
    if not limits.continuity_proven:
        return [
            Finding(
                what="continuity",
                found="the backstop was never shown to carry the whole load: every schedule is refused",
                fix="test at the site that the rectifiers at the backstop carry the load, then set "
                "site.limits.continuity_proven: true",
            )
        ]
    return [Finding(what="continuity", found="declared proven")]


def check_state(file: GatewayFile, now: datetime) -> Finding:
    """Try that the state folder can be written and what is in it read."""
    folder = file.state_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = StateFile(folder / f"{file.site.site_id}.state.json").load()
    except (OSError, StateFileError) as error:
        return Finding(
            what="state", found=str(error), fix=f"make {folder} writable, or restore the state file"
        )
    if not os.access(folder, os.W_OK):
        return Finding(what="state", found=f"{folder} cannot be written", fix=f"chown {folder} to this user")
    if held.seen_at is not None and held.seen_at > now:
        found = f"last written at {held.seen_at.isoformat()}, which is in the future"
        return Finding(what="state", found=found, fix="set the clock (NTP) before the gateway starts")
    keys = "a key set" if held.key_set else "no key set yet"
    return Finding(what="state", found=f"last sequence {held.last_sequence}, {keys}")


def check_certificates(file: GatewayFile, now: datetime) -> list[Finding]:
    """Try that certificate, key and authority belong together, name this site and are in date."""
    broker, site_id = file.broker, file.site.site_id
    try:
        authority = x509.load_pem_x509_certificate(broker.ca_file.read_bytes())
        certificate = x509.load_pem_x509_certificate(broker.certificate_file.read_bytes())
        key = load_pem_private_key(broker.key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        return [
            Finding(what="certificate", found=str(error), fix="install the three PEM files named in broker")
        ]
    findings = []
    names = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [site_id]:
        fix = f"have the authority issue a certificate whose common name is {site_id}"
        findings.append(Finding(what="certificate", found=f"common name {names}", fix=fix))
    if key.public_key() != certificate.public_key():
        fix = "the key file must be the one that the certificate was requested with"
        findings.append(Finding(what="certificate", found="key and certificate do not match", fix=fix))
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        fix = "install the ca_file of the authority that issued the certificate"
        findings.append(Finding(what="certificate", found="not issued by ca_file", fix=fix))
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now < end - _EXPIRES_SOON:
        fix = (
            "renew the certificate" if now >= start else "set the clock, or wait until the certificate begins"
        )
        findings.append(Finding(what="certificate", found=f"valid {start} to {end}", fix=fix))
    if (broker.key_file.stat().st_mode & 0o077) != 0:
        fix = f"chmod 600 {broker.key_file}"
        findings.append(Finding(what="certificate", found="the key can be read by others", fix=fix))
    return findings or [Finding(what="certificate", found=f"{site_id}, until {end.date().isoformat()}")]


async def check_broker(file: GatewayFile, within: timedelta) -> list[Finding]:
    """Try the connection, and that the broker lets this site use its own topics and no others.

    MQTT 5, because only there does the broker say that a publish was forbidden.
    """
    try:
        settings = replace(mqtt_settings(file.broker, file.site.site_id), protocol=MqttProtocol.V5)
        client = MqttClient(settings, on_message=lambda _message: None, random=Random(1))  # noqa: S311 (jitter)
    except (ConfigError, OSError, ValueError) as error:
        return [Finding(what="broker", found=str(error), fix="correct the broker section and its files")]
    client.start()
    try:
        await client.wait_ready(within)
        findings = [Finding(what="broker", found=f"connected to {settings.host}:{settings.port}")]
        own = SiteId(file.site.site_id)
        note = EventMessage(v=VERSION, site_id=own, at=wall_clock().now(), kind="check")
        try:
            await client.publish(topic(own, "event"), encode(note))
            findings.append(Finding(what="broker ACL", found="own topics may be used"))
        except PublishRefusedError as error:
            fix = "the broker's ACL must let a site write cbs/v1/<its common name>/#"
            findings.append(Finding(what="broker ACL", found=str(error), fix=fix))
        try:
            await client.publish(topic(SiteId("somebody-else"), "event"), encode(note))
            fix = "the broker's ACL lets a site write another site's topics: install ours"
            findings.append(Finding(what="broker ACL", found="foreign topics are open", fix=fix))
        except PublishRefusedError:
            findings.append(Finding(what="broker ACL", found="foreign topics are closed"))
    except MqttError as error:
        fix = "check name, port and firewall; the broker must trust ca_file and this site's certificate"
        return [Finding(what="broker", found=str(error), fix=fix)]
    finally:
        await client.stop()
    return findings
