"""Modbus/TCP Security: the simulated site behind TLS with certificates on both sides."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace as alter

from edge.modbus.client import Patience
from edge.modbus.port import DeviceError
from edge.modbus.site_port import ModbusSitePort, PortSpec, TlsFiles, modbus_link, tls_context
from edge.simulator.modbus_server import SiteServer
from tests.edge.modbus.test_site_port import MINUTE, simulated
from ui.ops.pki import CertificateAuthority, Identity

ONCE = Patience(retries=0, back_off=timedelta(milliseconds=1))


def files(identity: Identity) -> TlsFiles:
    return TlsFiles(
        ca_file=str(identity.authority),
        certificate_file=str(identity.certificate),
        key_file=str(identity.key),
    )


def device_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(identity.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def secured(folder: Path, host: str = "127.0.0.1") -> AsyncIterator[PortSpec]:
    """Run a simulated site behind TLS; yield its device list, without files."""
    server_side = CertificateAuthority(folder / "pki", now=datetime.now(UTC)).server((host,))
    sim = simulated()
    server = SiteServer(sim.devices[0], tls=device_context(server_side))
    number = await server.start()
    try:
        yield sim.port_spec(0, port=number)
    finally:
        await server.stop()


def with_files(spec: PortSpec, tls: TlsFiles | None, **changes: object) -> PortSpec:
    return alter(spec, devices=[alter(d, tls=tls, timeout_s=1.0, **changes) for d in spec.devices])


async def test_a_site_is_read_and_written_inside_tls(tmp_path: Path) -> None:
    async with secured(tmp_path) as spec:
        gateway = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC)).site("cbs-0001")
        port = ModbusSitePort(with_files(spec, files(gateway)), patience=ONCE)
        try:
            await port.open()  # two units behind one connection: the unit id goes along
            sample = await port.read()
            assert sample.mains_ok
            assert sample.grid_hz == pytest.approx(50.0, abs=0.02)
            assert await port.write_rectifier_v(50.0, MINUTE) == pytest.approx(50.0)
            assert (await port.read()).rectifier_set_v == pytest.approx(50.0)
        finally:
            await port.close()


async def test_without_a_certificate_of_our_own_authority_nothing_is_read(tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path / "other", now=datetime.now(UTC)).site("cbs-0001")
    ours = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC)).site("cbs-0001")
    mixed = alter(files(ours), certificate_file=str(stranger.certificate), key_file=str(stranger.key))
    async with secured(tmp_path) as spec:
        for tls in (mixed, files(stranger), None):
            port = ModbusSitePort(with_files(spec, tls), patience=ONCE)
            with pytest.raises(DeviceError):
                await port.open()
            await port.close()


async def test_a_device_that_shows_another_hosts_certificate_is_not_believed(tmp_path: Path) -> None:
    async with secured(tmp_path, host="cabinet-7.example") as spec:
        gateway = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC)).site("cbs-0001")
        port = ModbusSitePort(with_files(spec, files(gateway)), patience=ONCE)
        with pytest.raises(DeviceError):
            await port.open()
        await port.close()


def test_files_that_do_not_fit_and_a_serial_line_are_refused_at_once(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    tls = files(authority.site("cbs-0001"))
    spec = simulated().port_spec(0).devices[0]
    with pytest.raises(DeviceError, match="TLS files"):
        modbus_link(alter(spec, tls=alter(tls, key_file=str(authority.site("cbs-0002").key))))
    with pytest.raises(DeviceError, match="TLS files"):
        modbus_link(alter(spec, tls=alter(tls, ca_file=str(tmp_path / "none.pem"))))
    with pytest.raises(DeviceError, match="TCP only"):
        modbus_link(alter(spec, tls=tls, serial="/dev/ttyS0"))


def test_tls_before_1_2_is_not_spoken_and_the_host_is_checked(tmp_path: Path) -> None:
    identity = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC)).site("cbs-0001")
    context = tls_context("rectifier", files(identity))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
