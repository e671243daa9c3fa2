"""A small fleet for the control process: real database, real broker, sites that decide as the gateway does.

The sites answer through `edge.gateway.commands`, the gateway's own decision, on a constant field sample; no power
flows. Domain time starts at `examples.NOW` and runs at speed 1.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg_pool import AsyncConnectionPool

from edge.control.audit_head import HeadFile
from edge.control.command_store import CommandStore
from edge.control.dispatcher import Parts
from edge.control.gate import SafetyGate
from edge.control.ports import ControlSettings, Publish
from edge.control.process import ControlProcess, KeysInForce
from edge.control.request_store import RequestStore
from edge.control.signer import Signer, first_key_set, rotated, sign_key_set
from edge.envelope import KeySet, encode_ack, public_bytes, verify_keys
from edge.gateway.commands import Accept, FleetOrder, Repeat, Standing, decide, decide_fleet
from edge.gateway.limits import OwnLimits
from edge.gateway.limits import Site as FieldSite
from edge.modbus.port import Capabilities, FieldSample
from edge.plan import (
    Acknowledgement,
    AckVerdict,
    ApprovalTier,
    Command,
    Plan,
    PlanStatus,
)
from edge.safety.limits import FleetState, Limits
from edge.safety.policy import load_policy
from edge.safety.validator import validate
from edge.safety.verdict import Approved
from telemetry.db import open_async_pool
from telemetry.model.battery import Chemistry
from telemetry.model.clock import Pace, PacedClock, read_wall
from telemetry.model.site import SiteId, SiteMode
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.registry_store import RegistryStore
from tests.edge.safety.examples import (
    FEEDER,
    NOW,
    a_feeder,
    a_plan,
    a_policy_table,
    a_site,
    limits_of,
    schedule_of,
    state_of,
)
from tests.mqtt_clients import SOON, connected
from tests.services import Broker, Database
from tools.planning.dispatch_store import DispatchOutcome, DispatchStore
from tools.planning.plan_store import PlanStore
from ui.ops.pki import CONTROL
from ui.ops.secrets import DatabaseRole

ROOT = Ed25519PrivateKey.from_private_bytes(b"r" * 32)
KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
NEW_KEY = Signer(Ed25519PrivateKey.from_private_bytes(b"d" * 32))
SITES = tuple(SiteId(f"site-{number}") for number in (1, 2, 3))
QUICK = ControlSettings(
    accept_for=timedelta(seconds=60),
    accept_wall=timedelta(seconds=1),
    first_retry=timedelta(milliseconds=400),
    longest_retry=timedelta(milliseconds=800),
    grace=timedelta(seconds=1),
    look_every=timedelta(milliseconds=100),
    sign_head_every=timedelta(milliseconds=200),
)
SAMPLE = FieldSample(
    bus_v=54.0, load_w=1024.0, battery_a=0.0, battery_w=0.0, mains_ok=True, soc_frac=0.875, battery_c=25.0
)
CAPABILITIES = Capabilities(
    float_v=54.0,
    backstop_v=47.0,
    voltage_step_v=0.01,
    can_revert=True,
    full_load_blocks_only=False,
    inverter=False,
    max_v=56.0,
    rectifier_limit_w=6144.0,
)
OWN_LIMITS = OwnLimits(
    chemistry=Chemistry.LFP,
    rated_wh=16384.0,
    max_load_w=2048.0,
    rectifier_secure_w=4096.0,
    grid_import_limit_w=8192.0,
    continuity_proven=True,
)

Pool = AsyncConnectionPool[psycopg.AsyncConnection]
T = TypeVar("T")


def clock_at(domain: datetime = NOW) -> PacedClock:
    """Return a clock that stands at the instant now and runs at speed 1."""
    pace = Pace(wall=read_wall(), domain=domain, speed=1.0)
    return PacedClock(lambda: pace)


def rotated_world(world: "World") -> None:
    """Change the signing key, with the default overlap; sites learn of it from the broker."""
    world.keys = rotated(world.keys, NEW_KEY.public, world.clock.now())
    world.signer = NEW_KEY


async def forget(broker: Broker, sites: Sequence[SiteId]) -> None:
    """Take what other tests left off the broker, which all share: sessions with waiting messages, retained ones."""

    async def end_session(site_id: SiteId) -> None:
        async with connected(broker.site(site_id)):
            pass

    await asyncio.gather(*(end_session(site_id) for site_id in sites))
    async with connected(broker.service(CONTROL)) as client:
        await client.publish("cbs/v1/fleet/stop", b"", retain=True)
        await client.publish("cbs/v1/fleet/keys", b"", retain=True)


async def live_state(pool: Pool, state: FleetState, clock: PacedClock) -> FleetState:
    """Return the state as of now with the plans that sites may be following."""
    store = PlanStore(pool)
    live = await store.live(clock.now(), timedelta(0))
    return replace(state, at=clock.now(), live_plans=live, superseded_plans=await store.superseded(live))


def fleet_plan(plan_id: str, watts: float = -256.0, sites: Sequence[str] = SITES) -> Plan:
    """Return a plan of 4 h at one power for each site: three sites at 256 W are within the automatic tier."""
    return a_plan(*(schedule_of(site, (16, watts)) for site in sites), plan_id=plan_id)


class TestSite:
    """One site at the broker: decides as the gateway does and counts what it applied."""

    __test__ = False

    def __init__(self, site_id: SiteId, keys: KeySet, clock: PacedClock) -> None:
        self.standing = Standing(
            site_id=site_id,
            mode=SiteMode.REMOTE,
            highest_mode=SiteMode.REMOTE,
            local_lock=False,
            in_outage=False,
            last_sequence=0,
        )
        self.keys = keys
        self.clock = clock
        self.applied: list[Command] = []
        self.payloads: list[bytes] = []
        self.refused: list[str] = []
        self.fleet_orders: list[Command] = []
        self.silent = False
        self.client: MqttClient | None = None

    def on_message(self, message: InboundMessage) -> None:
        now = self.clock.now()
        if message.topic == "cbs/v1/fleet/stop":
            order = decide_fleet(message.payload, self.keys, self.standing.fleet, now)
            if isinstance(order, FleetOrder):
                self.standing = replace(self.standing, fleet=order.mark)
                self.fleet_orders.append(order.verified.command)
            return
        if message.topic == "cbs/v1/fleet/keys":
            keys = verify_keys(message.payload, public_bytes(ROOT))
            if isinstance(keys, KeySet) and keys.epoch > self.keys.epoch:
                self.keys = keys
            return
        self.payloads.append(message.payload)
        if self.silent:
            return
        field_site = FieldSite(
            sample=SAMPLE,
            sampled_at=now,
            max_age=timedelta(seconds=5),
            fault=False,
            running_w=0.0,
            cycles_today=0.0,
            capabilities=CAPABILITIES,
        )
        decision = decide(message.payload, self.keys, self.standing, field_site, OWN_LIMITS, now)
        if isinstance(decision, Repeat):
            self._answer(decision.ack)
        elif isinstance(decision, Accept):
            self.applied.append(decision.verified.command)
            self._remember(decision.verified.command, decision.verified.digest, AckVerdict.ACCEPTED, "")
        elif decision.verified is not None:
            self.refused.append(decision.reason)
            self._remember(
                decision.verified.command, decision.verified.digest, AckVerdict.REFUSED, decision.reason
            )
        else:
            self.refused.append(decision.reason)

    def _remember(self, command: Command, digest: str, verdict: AckVerdict, reason: str) -> None:
        ack = Acknowledgement(
            site_id=self.standing.site_id,
            command_id=command.command_id,
            digest=digest,
            verdict=verdict,
            reason=reason,
            at=self.clock.now(),
            read_back_v=51.25,
        )
        self.standing = replace(
            self.standing,
            last_sequence=max(self.standing.last_sequence, command.sequence),
            acks={**self.standing.acks, command.command_id: ack},
        )
        self._answer(ack)

    def _answer(self, ack: Acknowledgement) -> None:
        assert self.client is not None
        self.client.publish(f"cbs/v1/{self.standing.site_id}/ack", encode_ack(ack))


@dataclass(kw_only=True)
class World:
    """Everything a test needs at hand."""

    database: Database
    broker: Broker
    folder: Path
    clock: PacedClock
    loop: Pool
    api: Pool
    control: Pool
    state: FleetState
    limits: Limits
    keys: KeySet
    sites: dict[SiteId, TestSite] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=lambda: dict(a_policy_table()))
    settings: ControlSettings = QUICK
    signer: Signer = field(default_factory=lambda: Signer(KEY))

    @property
    def plans(self) -> PlanStore:
        return PlanStore(self.loop)

    @property
    def asks(self) -> DispatchStore:
        """What the loop may do."""
        return DispatchStore(self.loop)

    @property
    def people(self) -> DispatchStore:
        """What the API may do."""
        return DispatchStore(self.api)

    async def propose(self, plan: Plan, *, validated: bool = True) -> Plan:
        """Store a plan as the loop does, through the first gate."""
        await self.plans.insert(plan, thread_id="thread-1", who="loop", at=self.clock.now())
        if validated:
            verdict = validate(plan, await self.fleet_state(), self.limits, self.clock.now())
            await self.plans.record_verdict(verdict, at=self.clock.now(), who="loop")
            assert isinstance(verdict, Approved), verdict
        return plan

    async def approve(self, plan: Plan, who: str, tier: ApprovalTier = ApprovalTier.ONE_PERSON) -> None:
        now = self.clock.now()
        await self.people.approve(
            plan.plan_id,
            envelope_digest=plan.envelope.digest(),
            tier=tier,
            approver=who,
            at=now,
            expires_at=now + timedelta(hours=1),
        )

    async def request(self, plan: Plan) -> int:
        return await self.asks.request_dispatch(plan.plan_id, at=self.clock.now())

    async def outcome(self, plan: Plan, *wanted: str, within_s: float = 8.0) -> DispatchOutcome:
        """Wait for an outcome of one of these kinds."""

        async def look() -> DispatchOutcome | None:
            found = await self.asks.outcome(plan.plan_id)
            return found if found is not None and found.outcome in wanted else None

        return await eventually(look, within_s=within_s)

    async def status(self, plan: Plan) -> PlanStatus:
        stored = await self.plans.fetch(plan.plan_id)
        assert stored is not None
        return stored.plan.status

    async def fleet_state(self) -> FleetState:
        return await live_state(self.control, self.state, self.clock)

    @property
    def first_key_id(self) -> str:
        return Signer(KEY).key_id

    async def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database as its owner."""
        async with await psycopg.AsyncConnection.connect(self.database.dsn()) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def command_count(self) -> int:
        return int((await self.rows("SELECT count(*) FROM command"))[0][0])

    def parts(self) -> Parts:
        async def limits() -> Limits:
            return self.limits

        return Parts(
            plans=PlanStore(self.control),
            commands=CommandStore(self.control),
            requests=RequestStore(self.control, self.database.dsn(DatabaseRole.CONTROL)),
            gate=SafetyGate(load_policy(self.policy)),
            fleet_state=self.fleet_state,
            limits=limits,
            signer=self.signer,
            clock=self.clock,
            new_id=lambda: uuid4().hex,
            settings=self.settings,
        )

    def process(self, publish: Publish) -> ControlProcess:
        parts = self.parts()
        return ControlProcess(
            parts,
            keys=KeysInForce(keys=self.keys, envelope=sign_key_set(self.keys, ROOT)),
            publish=publish,
            heads=HeadFile(self.folder / "audit_heads.jsonl", parts.signer),
            monotonic_s=time.monotonic,
        )

    @asynccontextmanager
    async def running_control(self) -> AsyncIterator[ControlProcess]:
        """The control process in this process, at the real broker."""
        box: list[ControlProcess] = []
        async with connected(
            self.broker.service(CONTROL),
            "cbs/v1/+/ack",
            on_message=lambda message: box[0].on_message(message),  # noqa: PLW0108 (not made yet)
            manual_acknowledge=True,
        ) as client:
            box.append(self.process(client.publish))
            task = asyncio.create_task(box[0].run())
            try:
                yield box[0]
                if task.done():
                    task.result()
            finally:
                task.cancel()
                await asyncio.wait([task])

    @asynccontextmanager
    async def running_sites(self, *site_ids: SiteId) -> AsyncIterator[dict[SiteId, TestSite]]:
        """The sites at the real broker, subscribed."""
        async with AsyncExitStack() as stack:
            for site_id in site_ids or SITES:
                site = self.sites.setdefault(site_id, TestSite(site_id, self.keys, self.clock))
                site.client = MqttClient(
                    replace(self.broker.site(site_id), persistent_session=True),
                    on_message=site.on_message,
                    random=Random(1),
                )
                site.client.subscribe(f"cbs/v1/{site_id}/command", "cbs/v1/fleet/#")
                site.client.start()
                stack.push_async_callback(site.client.stop)
                await site.client.wait_ready(SOON)
            yield self.sites


async def eventually(look: Callable[[], Awaitable[T | None]], *, within_s: float = 8.0) -> T:
    """Return what the look finds, once it finds something.

    Raises:
        TimeoutError: It does not in time.
    """
    deadline = time.monotonic() + within_s
    while (found := await look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def world_of(
    database: Database, broker: Broker, folder: Path, sites: Sequence[SiteId] = SITES
) -> AsyncIterator[World]:
    """Build a world: pools of each role, the registry filled, a key set; nothing runs yet."""
    clock = clock_at()
    async with AsyncExitStack() as stack:
        pools: dict[DatabaseRole, Pool] = {}
        for role in (DatabaseRole.LOOP, DatabaseRole.API, DatabaseRole.CONTROL):
            pool = await open_async_pool(database.dsn(role), application_name=f"test-{role.value}")
            stack.push_async_callback(pool.close)
            pools[role] = pool
        limits = limits_of([a_site(site, cluster=f"cluster-{site}") for site in sites])
        registry = RegistryStore(pools[DatabaseRole.API])
        await registry.put_feeders({FEEDER: a_feeder()}, who="test", at=NOW)
        await registry.put_sites(dict(limits.sites), who="test", at=NOW)
        await forget(broker, sites)
        yield World(
            database=database,
            broker=broker,
            folder=folder,
            clock=clock,
            loop=pools[DatabaseRole.LOOP],
            api=pools[DatabaseRole.API],
            control=pools[DatabaseRole.CONTROL],
            state=state_of(sites),
            limits=limits,
            keys=first_key_set(public_bytes(KEY), clock.now()),
        )
