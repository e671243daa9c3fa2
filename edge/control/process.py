"""The control process: hears requests, answers them, sends, takes answers, and signs the trail's head."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from edge.audit_chain import AuditHead
from edge.control.ack_desk import AckDesk
from edge.control.audit_head import HeadFile
from edge.control.command_store import CommandStore
from edge.control.dispatcher import Dispatcher, Parts
from edge.control.orders import Orders
from edge.control.ports import Publish, Topics
from edge.control.request_store import RequestStore
from edge.control.sender import Sender
from edge.control.signer import KeySetError
from edge.envelope import KeySet
from telemetry.mqtt import InboundMessage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysInForce:
    """The key set that gateways are told, and the root-signed bytes that say so."""

    keys: KeySet
    envelope: bytes


class ControlProcess:
    """One per installation: it holds a database lock that a second one does not get."""

    def __init__(
        self,
        parts: Parts,
        *,
        keys: KeysInForce,
        publish: Publish,
        heads: HeadFile,
        monotonic_s: Callable[[], float],
    ) -> None:
        """Prepare; `run` works until cancelled.

        Raises:
            KeySetError: Gateways that hold this key set would not believe our key now.
        """
        if not parts.signer.vouched_for(keys.keys, parts.clock.now()):
            raise KeySetError(f"key set {keys.keys.epoch} does not vouch for {parts.signer.key_id} now")
        self._parts = parts
        self._keys = keys
        self._publish = publish
        self._heads = heads
        self._commands: CommandStore = parts.commands
        self._requests: RequestStore = parts.requests
        self._dispatcher = Dispatcher(parts)
        self._orders = Orders(
            store=parts.commands,
            limits=parts.limits,
            signer=parts.signer,
            epoch=keys.keys.epoch,
            clock=parts.clock,
            new_id=parts.new_id,
            settings=parts.settings,
        )
        self._sender = Sender(parts.commands, publish, parts.clock, parts.settings, monotonic_s)
        self._desk = AckDesk(parts.commands, parts.clock)
        self._inbox: asyncio.Queue[InboundMessage | None] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._topics = Topics()
        self._monotonic_s = monotonic_s
        self._stopped = False
        self._approved: set[str] = set()  # plans that somebody said yes to since the last look
        self._look_at_waiting_s = 0.0
        self._fleet_sending: asyncio.Task[None] | None = None

    def on_message(self, message: InboundMessage) -> None:
        """Take a message from the broker; it is acknowledged to the broker once its content is committed."""
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            AnotherControlError: Another control process works on this database.
            psycopg.Error: The database went away; a new start takes up where this one ended.
        """
        async with self._requests.listening() as connection, asyncio.TaskGroup() as group:
            _log.info("control process ready", extra={"key_id": self._parts.signer.key_id})
            await self._orders.renew_stop()
            await self.sign_head()
            group.create_task(self._tell_keys())
            group.create_task(self._send_fleet_order())
            group.create_task(self._sender.run())
            group.create_task(self._take_answers())
            group.create_task(self._answer_requests())
            group.create_task(self._sign_heads())
            try:
                async for notice in connection.notifies():
                    if notice.channel == "approval":
                        self._approved.add(notice.payload)
                    self._wake.set()
            finally:
                self._stop()

    def _stop(self) -> None:
        """End every loop by itself too: a cancellation that a library swallows must not keep us."""
        self._stopped = True
        self._wake.set()
        self._sender.stop()
        self._inbox.put_nowait(None)
        if self._fleet_sending is not None:
            self._fleet_sending.cancel()

    async def _tell_keys(self) -> None:
        await self._publish(self._topics.fleet_keys, self._keys.envelope, retain=True)

    async def _send_fleet_order(self) -> None:
        """Publish the newest stop or clear, retained; again at every start, in case the broker lost it."""
        order = await self._commands.newest_fleet_order()
        if order is None:
            return
        await self._publish(self._topics.fleet_stop, order.envelope, retain=True)
        await self._commands.mark_sent(order.command_id, self._parts.clock.now())

    async def _answer_requests(self) -> None:
        while not self._stopped:
            self._wake.clear()
            await self._answer_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._parts.settings.look_every.total_seconds()):
                    await self._wake.wait()

    async def _answer_all(self) -> None:
        await self._carry_out_orders()
        approved, self._approved = self._approved, set()
        all_waiting = self._monotonic_s() >= self._look_at_waiting_s
        if all_waiting:
            self._look_at_waiting_s = (
                self._monotonic_s() + self._parts.settings.look_at_waiting_every.total_seconds()
            )
        for request in await self._requests.dispatch_requests():
            if request.waiting and not (all_waiting or request.plan_id in approved):
                continue
            if await self._dispatcher.answer(request):
                self._sender.wake()
            await self._carry_out_orders()  # a stop does not wait behind a queue of plans
        now = self._parts.clock.now()
        await self._commands.complete_plans(now, now - self._parts.settings.overdue_after)

    async def _carry_out_orders(self) -> None:
        for request in await self._requests.control_requests():
            outcome = await self._orders.carry_out(request)
            if outcome == "done" and request.kind in {"stop", "clear"}:
                await self._replace_fleet_sending()
            self._sender.wake()

    async def _replace_fleet_sending(self) -> None:
        # In the background: a broker that is away must not keep us from signing releases.
        if self._fleet_sending is not None:
            self._fleet_sending.cancel()
        self._fleet_sending = asyncio.get_running_loop().create_task(self._send_fleet_order())

    async def _take_answers(self) -> None:
        while (message := await self._inbox.get()) is not None:
            await self._desk.take(message.topic, message.payload)
            message.acknowledge()

    async def _sign_heads(self) -> None:
        pause = self._parts.settings.sign_head_every.total_seconds()
        while not self._stopped:
            await self.sign_head()
            await asyncio.sleep(pause)

    async def sign_head(self) -> bool:
        """State the trail's present length and last hash outside the database; whether that was news.

        A trail that is not the one stated last is not signed again, and nothing more is dispatched: stops and aborts
        go on.
        """
        signed = self._heads.last
        if signed is not None and await self._commands.audit_hash(signed.count) != signed.hash:
            _log.critical("the audit trail is not the one that was signed", extra={"entries": signed.count})
            self._dispatcher.hold("audit_broken", f"entry {signed.count} is not the one that was signed")
            return False
        count, last = await self._commands.audit_head()
        head = AuditHead(count=count, hash=last, at=self._parts.clock.now())
        return await asyncio.to_thread(self._heads.append, head)
