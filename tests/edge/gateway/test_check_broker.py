"""`--check` at a real mosquitto whose access file is wrong."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

from edge.gateway.check import check_broker
from edge.gateway.config import BrokerConfig, GatewayFile
from tests.edge.gateway.bench import CONFIG, SITE
from tests.services import service_absent
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.mosquitto_binary import BrokerAbsentError
from ui.ops.pki import CertificateAuthority

pytestmark = pytest.mark.broker


class OwnBroker:
    """A mosquitto of this test's own, whose access file it may spoil."""

    def __init__(self, folder: Path) -> None:
        self.authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
        self.server = EmbeddedBroker(private_folder(folder / "broker"), self.authority)
        self.access = folder / "broker" / "run" / "access.conf"

    def allow(self, rules: str) -> None:
        """Replace the access file and let mosquitto read it anew."""
        self.access.write_text(rules)  # the file stays the same, and so does who owns it
        self.server.process.send_signal(signal.SIGHUP)

    def file(self, folder: Path) -> GatewayFile:
        address, identity = self.server.address, self.authority.site(SITE)
        broker = BrokerConfig(
            url=f"mqtts://{address.host}:{address.port}",
            ca_file=identity.authority,
            certificate_file=identity.certificate,
            key_file=identity.key,
        )
        return GatewayFile(site=CONFIG, broker=broker, state_dir=folder, devices={})


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnBroker]:
    made = OwnBroker(tmp_path)
    try:
        made.server.start()
    except BrokerAbsentError as error:
        service_absent(str(error))
    try:
        yield made
    finally:
        made.server.stop()


async def acl(broker: OwnBroker, folder: Path) -> dict[str, str]:
    """Return what is said of the access rules, with what to fix."""
    found = await check_broker(broker.file(folder), timedelta(seconds=8))
    return {finding.found: finding.fix for finding in found if finding.what == "broker ACL"}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        # Nobody may write anything of a site's: its own topic is refused, the others' are closed.
        ("user cbs-0001\ntopic read cbs/v1/fleet/#\n", ("Not authorized", "foreign topics are closed")),
        # Everybody may write everything: its own is open, and so is the neighbour's.
        ("user cbs-0001\ntopic readwrite cbs/v1/#\n", ("own topics may be used", "foreign topics are open")),
        # Both at once: every site but itself.
        (
            "user cbs-0001\ntopic write cbs/v1/somebody-else/#\n",
            ("Not authorized", "foreign topics are open"),
        ),
    ],
)
async def test_a_wrong_access_file_is_told_with_what_to_fix(
    own_broker: OwnBroker, tmp_path: Path, rules: str, wanted: tuple[str, str]
) -> None:
    right = await acl(own_broker, tmp_path)
    assert right == {"own topics may be used": "", "foreign topics are closed": ""}  # as we install it
    own_broker.allow(rules)
    end = monotonic() + 15.0
    while await acl(own_broker, tmp_path) == right and monotonic() < end:
        await asyncio.sleep(0.05)  # until mosquitto has heard the signal
    own, foreign = (await acl(own_broker, tmp_path)).items()
    assert wanted[0].lower() in own[0].lower()
    assert wanted[1] == foreign[0]
    assert own[1] == (
        "" if "own" in wanted[0] else "the broker's ACL must let a site write cbs/v1/<its common name>/#"
    )
    assert foreign[1] == (
        ""
        if "closed" in wanted[1]
        else "the broker's ACL lets a site write another site's topics: install ours"
    )
