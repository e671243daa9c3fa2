"""The load of the ingest benchmark, a process of its own: many sites, each over its own TLS connection (simulated data).

Packets are put together by hand: a full client for each site would take as much of the machine as what is measured.
"""

import asyncio
import contextlib
import json
import ssl
import struct
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

_CONNACK = b"\x20\x02\x00\x00"
_TEN_MS = 0.01
READINGS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: `messages` of every site, `rate` in all a second, `READINGS` readings each."""

    port: int
    pki: str  # folder with ca.crt and clients/
    sites: list[str]
    boot_id: str
    messages: int
    rate: float
    start: str  # ISO instant of the first reading
    times: str  # file that takes when each message was sent, shape (sites, messages), s since 1970


def payload(site_id: str, boot_id: str, number: int, start: datetime) -> bytes:
    """Return message `number` of a site, counted from 0: four readings, ten milliseconds apart."""
    parts = []
    for sequence in range(READINGS * number + 1, READINGS * (number + 1) + 1):
        at = (start + timedelta(milliseconds=10 * sequence)).isoformat().replace("+00:00", "Z")
        parts.append(
            f'{{"sequence":{sequence},"at":"{at}","grid_v":231.2,"grid_hz":50.01,"grid_w":2160.5,"aux_ac_w":60.1,'
            f'"rectifier_w":2016.3,"load_w":{2000 + sequence % 7},"bus_v":54.4,"battery_a":0.29,"battery_w":16.1,'
            '"soc_frac":0.98,"soh_frac":0.99,"battery_c":25.1,"ambient_c":12.3,"pv_w":0.0,"mains_ok":true}'
        )
    return f'{{"v":1,"site_id":"{site_id}","boot_id":"{boot_id}","readings":[{",".join(parts)}]}}'.encode()


async def send(load: Load) -> None:
    """Send everything and wait for the broker's confirmations."""
    sent_s = np.zeros((len(load.sites), load.messages))
    context = ssl.create_default_context(cafile=f"{load.pki}/ca.crt")
    connections = []
    for site_id in load.sites:
        context.load_cert_chain(f"{load.pki}/clients/{site_id}.crt", f"{load.pki}/clients/{site_id}.key")
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port, ssl=context)
        writer.write(_connect(site_id))
        if await reader.readexactly(4) != _CONNACK:
            raise RuntimeError(f"the broker refused {site_id}")
        connections.append((site_id, reader, writer))
    began_s = time.monotonic()
    pace_s = len(load.sites) / load.rate
    await asyncio.gather(
        *(
            _send_one(
                load,
                place,
                site_id,
                reader,
                writer,
                sent_s,
                began_s + pace_s * place / len(load.sites),
                pace_s,
            )
            for place, (site_id, reader, writer) in enumerate(connections)
        )
    )
    print(json.dumps({"took_s": time.monotonic() - began_s}), flush=True)
    np.save(load.times, sent_s)


async def _send_one(
    load: Load,
    place: int,
    site_id: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    sent_s: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
    next_s: float,
    pace_s: float,
) -> None:
    topic = f"cbs/v1/{site_id}/telemetry".encode()
    start = datetime.fromisoformat(load.start)
    confirmations = asyncio.create_task(reader.readexactly(4 * load.messages))  # four bytes each
    for number in range(load.messages):
        if (wait_s := next_s - time.monotonic()) > _TEN_MS:
            await asyncio.sleep(wait_s)
        sent_s[place, number] = time.time()
        writer.write(_publish(topic, number % 65_535 + 1, payload(site_id, load.boot_id, number, start)))
        await writer.drain()
        next_s += pace_s
    await confirmations
    writer.write(b"\xe0\x00")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _connect(client_id: str) -> bytes:
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
    return b"\x10" + _length(len(body)) + body


def _publish(topic: bytes, message_id: int, content: bytes) -> bytes:
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", message_id) + content
    return b"\x32" + _length(len(body)) + body


def _length(count: int) -> bytes:
    digits = bytearray()
    while True:
        count, digit = divmod(count, 128)
        digits.append(digit | (0x80 if count else 0))
        if not count:
            return bytes(digits)


def first_instant(now: datetime) -> datetime:
    """Return an instant such that a run's readings lie in the recent past, on one day of UTC if it can be."""
    return now.astimezone(UTC) - timedelta(hours=1)


if __name__ == "__main__":
    asyncio.run(send(Load(**json.loads(Path(sys.argv[1]).read_text()))))
