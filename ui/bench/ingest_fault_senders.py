"""Gateways of the fault run, a process of its own: real outboxes with real buffers over real TLS (simulated readings).

Each site samples, keeps its messages on disk and sends them until `stored` covers them, as in the field; only the device
below is missing. All links go through one TCP proxy that can be cut. Words on standard input say what happens; a file
says how far it is.
"""

import asyncio
import hashlib
import json
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing
from edge.gateway.mqtt_uplink import MqttUplink
from edge.gateway.outbox import Outbox, offline_state
from edge.simulator.link import LinkFaults, LinkProxy
from telemetry.model.reading import Reading
from telemetry.model.site import SiteId
from telemetry.mqtt import MqttClient, MqttSettings
from telemetry.wire import StoredMessage, decode
from ui.bench.mutation import bad_messages
from ui.ops.files import write_atomic

READINGS = 4
AHEAD, BEHIND = 0, 1  # places of the sites whose clocks go wrong
SKEW = timedelta(hours=1)
_STEP = timedelta(milliseconds=5)
_TELL_EVERY_S = 0.1
_BAD_IN_FLIGHT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """What is sent: `rate` messages a second in all, from `sites`; bad payloads come from `bad_site`."""

    port: int
    pki: str  # folder with ca.crt and clients/
    folder: str
    sites: list[str]
    bad_site: str
    rate: float
    resend_after_s: float
    seed: int


@dataclass(slots=True, kw_only=True)
class Status:
    """How far the senders are."""

    sampled: dict[str, int] = field(default_factory=dict)
    skewed_from: int = 0  # first sequence that the sites with wrong clocks sampled after they went wrong
    waiting: int = 0  # messages not covered by `stored`
    connected: int = 0
    pushed_out: int = 0  # readings that a buffer's bound pushed out
    bad_sent: int = 0
    bad_confirmed: int = 0


class Site:
    """A gateway's way out, with a sampler in place of its device."""

    def __init__(
        self, site_id: SiteId, link: MqttUplink, buffer: Buffer, pacing: Pacing, random: Random
    ) -> None:
        self._site_id = site_id
        self._random = random
        self._load_w = random.uniform(1500.0, 4000.0)
        self.link = link
        self.outbox = Outbox(site_id, "b1", link, buffer, pacing, lambda _: None)
        self.sequence = 0
        self.skew = timedelta(0)
        self._last = datetime.min.replace(tzinfo=UTC)
        link.listen(self._arrived, self.outbox.connected)

    def _arrived(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/stored"):
            self.outbox.confirm(decode(payload, StoredMessage).marks)

    def sample(self, now: datetime) -> int:
        """Sample four readings and hand them over; returns how many readings the buffer pushed out."""
        first = max(now - _STEP * (READINGS - 1), self._last + _STEP)
        readings = tuple(self._reading(first + _STEP * k) for k in range(READINGS))
        self._last = first + _STEP * (READINGS - 1)
        lost = self.outbox.keep(readings)
        return 0 if lost is None else lost.last - lost.first + 1

    def _reading(self, at: datetime) -> Reading:
        self.sequence += 1
        self._load_w = min(6000.0, max(800.0, self._load_w + self._random.gauss(0.0, 30.0)))
        rectifier_w = self._load_w + 20.0
        return Reading(
            site_id=self._site_id, boot_id="b1", sequence=self.sequence, at=at + self.skew, grid_v=230.0,
            grid_hz=50.0, grid_w=rectifier_w / 0.96 + 60.0, aux_ac_w=60.0, rectifier_w=rectifier_w,
            load_w=self._load_w, bus_v=54.4, battery_a=0.37, battery_w=20.0, soc_frac=0.98, soh_frac=0.99,
            battery_c=25.0, ambient_c=12.0, pv_w=0.0, mains_ok=True,
        )  # fmt: skip


class Fleet:
    """All sites, the link they share, and what is told of them."""

    def __init__(self, spec: Senders, executor: ThreadPoolExecutor) -> None:
        self._spec = spec
        self._executor = executor
        self._random = Random(spec.seed)  # noqa: S311 simulation
        self._folder = Path(spec.folder)
        self.cut = LinkFaults()
        self._proxy = LinkProxy("127.0.0.1", spec.port, self.cut, self._random)
        self._buffer = Buffer(self._folder / "buffer.db")
        self._sites: list[Site] = []
        self._sampling = True
        self._status = Status()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Run until the word `exit`."""
        await self._proxy.start()
        pacing = Pacing(resend_after_s=self._spec.resend_after_s, backlog_per_s=200.0)
        for name in self._spec.sites:
            random = Random(self._random.random())  # noqa: S311 simulation
            site_id = SiteId(name)
            will = offline_state(site_id, datetime.now(UTC), 0, "bench")
            link = MqttUplink(site_id, self._settings(name), will, random, self._executor)
            site = Site(site_id, link, self._buffer, pacing, random)
            await link.open()
            self._sites.append(site)
            self._tasks.append(asyncio.create_task(site.outbox.run()))
        for site in self._sites:
            await site.link.wait_ready(timedelta(seconds=60))
        self._tasks += [asyncio.create_task(self._sample()), asyncio.create_task(self._tell())]
        listening = asyncio.create_task(self._listen())
        done, _ = await asyncio.wait([listening, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # what broke ends the process with its traceback
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for site in self._sites:
            await site.link.close()
        await self._proxy.stop()
        self._buffer.close()

    def _settings(self, name: str) -> MqttSettings:
        pki = Path(self._spec.pki)
        return MqttSettings(
            host="127.0.0.1",
            port=self._proxy.port,
            client_id=name,
            authority=pki / "ca.crt",
            certificate=pki / "clients" / f"{name}.crt",
            key=pki / "clients" / f"{name}.key",
            longest_backoff=timedelta(seconds=3),
        )

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        words: dict[str, Callable[[], None]] = {
            "cut": lambda: setattr(self.cut, "cut", True),
            "mend": lambda: setattr(self.cut, "cut", False),
            "skew": self._skew,
            "stop": lambda: setattr(self, "_sampling", False),
        }
        while (line := (await reader.readline()).decode().split()) and line[0] != "exit":
            if line[0] == "bad":
                self._tasks.append(asyncio.create_task(self._send_bad(int(line[1]))))
            else:
                words[line[0]]()

    def _skew(self) -> None:
        self._status.skewed_from = max(site.sequence for site in self._sites[:2]) + 1
        self._sites[AHEAD].skew, self._sites[BEHIND].skew = SKEW, -SKEW

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s, due_s = 1.0 / self._spec.rate, loop.time()
        turn = 0
        while True:
            if self._sampling:
                site = self._sites[turn % len(self._sites)]
                self._status.pushed_out += site.sample(datetime.now(UTC))
                turn += 1
            due_s = max(
                due_s + pause_s, loop.time() - 1.0
            )  # what a busy machine held up is made up for, in part
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    async def _send_bad(self, count: int) -> None:
        client = MqttClient(
            self._settings(self._spec.bad_site), on_message=lambda _: None, random=self._random, executor=self._executor
        )  # fmt: skip
        client.start()
        await client.wait_ready(timedelta(seconds=60))
        sent: deque[asyncio.Future[None]] = deque()
        with (self._folder / "bad.txt").open("w") as book:
            for kind, payload in bad_messages(self._spec.bad_site, datetime.now(UTC), self._random, count):
                book.write(f"{hashlib.sha256(payload).hexdigest()}\n")
                sent.append(client.publish(f"cbs/v1/{self._spec.bad_site}/{kind}", payload))
                self._status.bad_sent += 1
                while len(sent) >= _BAD_IN_FLIGHT:
                    await sent.popleft()
                    self._status.bad_confirmed += 1
            while sent:
                await sent.popleft()
                self._status.bad_confirmed += 1
        await client.stop()
        await asyncio.Event().wait()

    async def _tell(self) -> None:
        while True:
            status = self._status
            status.sampled = {
                name: site.sequence for name, site in zip(self._spec.sites, self._sites, strict=True)
            }
            status.waiting = sum(self._buffer.count(SiteId(name)) for name in self._spec.sites)
            status.connected = sum(site.link.connected for site in self._sites)
            write_atomic(self._folder / "status.json", json.dumps(asdict(status)).encode(), durable=False)
            await asyncio.sleep(_TELL_EVERY_S)


async def main(spec: Senders) -> None:
    """Run the senders until they are told to exit."""
    with ThreadPoolExecutor(max_workers=4) as executor:
        await Fleet(spec, executor).run()


if __name__ == "__main__":
    asyncio.run(main(Senders(**json.loads(Path(sys.argv[1]).read_text()))))
