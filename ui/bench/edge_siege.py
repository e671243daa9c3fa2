"""A siege of one gateway: tampered, replayed, expired, mis-addressed and re-ordered commands, each with its answer. Simulated.

The gateway is the real core with its real memory on disk and the real Modbus codecs; between the shots it runs no
control step, so that every register written is the doing of a hostile command.
"""

import asyncio
import base64
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import KeySet, SigningKey, decode_ack, public_bytes, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.core import GatewayCore
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.modbus.site_port import ModbusSitePort
from edge.plan import AckVerdict
from edge.simulator.fleet import FleetSimulation
from edge.simulator.registry import simulated_fleet
from telemetry.wire import EventMessage, decode
from ui.bench.edge_attacks import REPEATED, Besieger, Shot
from ui.bench.edge_hour import START, InstantLink, SteppedClock
from ui.processes.gateways import site_config

_EVENT_EVERY = timedelta(seconds=3.1)  # a gateway says no more than 20 times a minute that it was lied to
_HONEST_EVERY = 250


@dataclass
class Score:
    """What came of the siege."""

    shots: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    acted: int = 0
    obeyed: int = 0  # honest commands in between: a gateway that refuses everything is no use

    def figures(self) -> dict[str, object]:
        """Return counts."""
        kinds = {f"siege_{name}": count for name, count in sorted(self.shots.items())}
        return {
            "siege_commands": sum(self.shots.values()),
            **kinds,
            "siege_reasons": sorted(self.answers),
            "siege_wrong_answer": len(self.wrong),
            "siege_wrong_examples": self.wrong[:5],
            "siege_acted_on": self.acted,
            "siege_honest_obeyed": self.obeyed,
        }


class HearingLink(InstantLink):
    """A link that keeps what was said: since the last look, and the last answer to each command's bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, bytes]] = []
        self.last: dict[str, bytes] = {}  # by digest

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        leaf = topic.rsplit("/", 1)[1]
        self.heard.append((leaf, payload))
        if leaf == "ack":
            self.last[decode_ack(payload).digest] = payload
        await super().publish(topic, payload, retain=retain)

    def deliver(self, name: str, payload: bytes) -> None:
        """Hand a message to the gateway."""
        self._on_message(name, payload)


async def besiege(folder: Path, seed: int, shots: int) -> Score:
    """Throw hostile commands at one gateway and score its answers.

    Args:
        folder: For the gateway's memory.
        seed: Of the choice of commands and of the plant.
        shots: How many.
    """
    root = Ed25519PrivateKey.generate()
    keys = {name: Ed25519PrivateKey.generate() for name in ("good", "old", "stranger")}
    registered = simulated_fleet(4, seed=seed, epoch=START)
    site, other, *_ = registered.sites.values()
    fleet = FleetSimulation(registered.specs[:1], seed=seed, start=START)
    port = ModbusSitePort(fleet.port_spec(0), make_link=lambda _spec: fleet.link(0))
    await port.open()
    clock, link, buffer = SteppedClock(), HearingLink(), Buffer(folder / "buffer.db")
    config = site_config(site, base64.b64encode(public_bytes(root)).decode())
    luck = Random(seed)  # noqa: S311 (choices, not secrets)
    disk = StateFile(folder / "state.json")
    core = GatewayCore(
        config, port, link, buffer, disk, clock, luck, boot_id="siege", monotonic=clock.monotonic
    )
    working = asyncio.create_task(core.run_messages())
    besieger = Besieger(site.site_id, other.site_id, keys, Random(seed + 1))  # noqa: S311
    siege = _Siege(core, clock, link, fleet, besieger)
    try:
        await link.open()
        await siege.step()
        day = timedelta(days=1)
        known = [("good", START + 365 * day), ("old", START - day)]
        signing = tuple(
            SigningKey(
                key_id=name, public=public_bytes(keys[name]), not_before=START - 30 * day, not_after=end
            )
            for name, end in known
        )
        link.deliver(FLEET_KEYS, sign_keys(KeySet(epoch=1, keys=signing), root))
        await siege.settle()
        for number in range(shots):
            if number % _HONEST_EVERY == 0:
                await siege.obey()
            maker = luck.choice(besieger.makers)
            await siege.fire(maker(clock.now()))
        return siege.score
    finally:
        working.cancel()
        await asyncio.wait([working])
        buffer.close()
        await port.close()


class _Siege:
    """Fires and scores."""

    def __init__(
        self,
        core: GatewayCore,
        clock: SteppedClock,
        link: HearingLink,
        fleet: FleetSimulation,
        besieger: Besieger,
    ) -> None:
        self._core = core
        self._clock = clock
        self._link = link
        self._fleet = fleet
        self._besieger = besieger
        self._command = topic(core.config.name, "command")
        self.score = Score()

    async def step(self) -> None:
        """Let the gateway look at its devices and act."""
        self._clock.at += timedelta(seconds=1)
        self._fleet.advance_to(self._clock.at)
        await self._core.control_once()
        await self.settle()

    async def settle(self) -> None:
        await self._core.idle()
        for _ in range(6):
            await asyncio.sleep(0)

    async def obey(self) -> None:
        """An honest command in between must be obeyed: accepted at once, the battery set by the next control step.

        At once is no rule for the registers: after an order of the same power the voltage may stand right already.
        """
        await self.step()
        honest = self._besieger.command(self._clock.now())
        envelope = self._besieger.sign(honest)
        before, self._link.heard = len(self._fleet.devices[0].writes), []
        self._link.deliver(self._command, envelope)
        await self.settle()
        answers = [decode_ack(payload) for leaf, payload in self._link.heard if leaf == "ack"]
        mine = [ack.verdict for ack in answers if ack.command_id == honest.command_id]
        await self.step()
        if mine == [AckVerdict.ACCEPTED] and len(self._fleet.devices[0].writes) > before:
            self.score.obeyed += 1
        else:
            self.score.wrong.append(f"honest: {mine}")
        self._besieger.note(honest, envelope, honest=True)

    async def fire(self, shot: Shot) -> None:
        """Deliver one hostile message and compare the answer with what it must be."""
        self._clock.at += _EVENT_EVERY
        writes, duties = len(self._fleet.devices[0].writes), self._core.duties
        self._link.heard, known = [], dict(self._link.last)
        self._link.deliver(self._command, shot.envelope)
        await self.settle()
        said = self._answers()
        self.score.shots[shot.kind] += 1
        self.score.answers.update(reason for reason, _ in said)
        self.score.acted += len(self._fleet.devices[0].writes) - writes
        self.score.acted += self._core.duties is not duties
        if shot.reason == REPEATED:
            right = len(said) == 1 and said[0][1] == known.get(shot.digest, b"unanswered")
        else:
            right = [reason for reason, _ in said] == [shot.reason]
        if not right:
            self.score.wrong.append(f"{shot.kind}: {[reason for reason, _ in said]}, not {shot.reason}")

    def _answers(self) -> list[tuple[str, bytes]]:
        """Return what was said: the reasons of answers, and the first words of events about what is not believed."""
        said = []
        for leaf, payload in self._link.heard:
            if leaf == "ack":
                ack = decode_ack(payload)
                said.append((ack.reason or ack.verdict.value, payload))
            elif leaf == "event":
                event = decode(payload, EventMessage)
                if event.kind == "command_not_believed":
                    said.append((event.detail.split(":", 1)[0], payload))
        return said
