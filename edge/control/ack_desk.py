"""Takes the sites' answers: checked against what was sent, stored, and the command's state moved on."""

import logging
from dataclasses import replace

from edge.control.command_store import CommandStore
from edge.control.request_store import put_acknowledgement
from edge.control.transaction_store import ControlTransaction, SentCommand
from edge.envelope import decode_ack
from edge.plan import Acknowledgement, AckVerdict
from telemetry.model.clock import Clock
from telemetry.wire import WireError

_log = logging.getLogger(__name__)

_STATE_AFTER = {
    AckVerdict.ACCEPTED: "acknowledged",
    AckVerdict.LIMITED: "acknowledged",
    AckVerdict.REFUSED: "refused",
    AckVerdict.SUPERSEDED: "ended",
    AckVerdict.COMPLETED: "ended",
    AckVerdict.EXPIRED: "ended",
}
_RANK = {"pending": 0, "sent": 0, "missing": 0, "acknowledged": 1, "refused": 2, "ended": 2}


def state_after(state: str, verdict: AckVerdict) -> str:
    """Return a command's state after an answer; an answer that comes late or twice never takes it back."""
    after = _STATE_AFTER[verdict]
    return after if _RANK[after] > _RANK[state] else state


def site_of(topic: str) -> str | None:
    """Return the site whose topic this is: the broker lets only that site write there."""
    parts = topic.split("/")
    return parts[2] if len(parts) == 4 and parts[:2] == ["cbs", "v1"] and parts[3] == "ack" else None


class AckDesk:
    """Handles one answer at a time."""

    def __init__(self, store: CommandStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._told: set[tuple[str, str]] = set()

    async def take(self, topic: str, payload: bytes) -> bool:
        """Store an answer if it fits what was sent; whether it did. What does not fit changes nothing."""
        site_id = site_of(topic)
        try:
            ack = decode_ack(payload)
        except WireError as error:
            _log.warning("an answer cannot be read", extra={"topic": topic, "error": str(error)})
            return False
        ack = replace(ack, reason=ack.reason.replace("\0", "?")[:500])  # a text that any database can store
        if ack.site_id != site_id:
            _log.warning("an answer in another site's name", extra={"topic": topic, "site_id": ack.site_id})
            return False
        async with self._store.transaction() as transaction:
            sent = await transaction.lock_command(ack.command_id)
            if sent is None:
                _log.warning("an answer to an unknown command", extra={"command_id": ack.command_id})
                return False
            if (sent.site_id is not None and sent.site_id != site_id) or sent.digest != ack.digest:
                await self._tell_mismatch(transaction, ack, sent)
                return False
            await self._store_ack(transaction, ack, sent)
        return True

    async def _store_ack(
        self, transaction: ControlTransaction, ack: Acknowledgement, sent: SentCommand
    ) -> None:
        now = self._clock.now()
        if not await put_acknowledgement(transaction, ack, now):
            return
        after = state_after(sent.state, ack.verdict)
        if sent.site_id is not None and after != sent.state:
            await transaction.set_command_state(sent.command_id, after)
        if ack.verdict is AckVerdict.REFUSED or sent.state == "missing":
            await transaction.audit(
                at=now,
                who=str(ack.site_id),
                action="command.refused" if ack.verdict is AckVerdict.REFUSED else "command.answered_late",
                subject=sent.command_id,
                before={"state": sent.state},
                after={
                    "state": after,
                    "plan_id": sent.plan_id,
                    "kind": sent.kind,
                    "site_id": ack.site_id,
                    "verdict": ack.verdict.value,
                    "reason": ack.reason,
                },
            )

    async def _tell_mismatch(
        self, transaction: ControlTransaction, ack: Acknowledgement, sent: SentCommand
    ) -> None:
        _log.warning(
            "an answer that fits no command", extra={"site_id": ack.site_id, "command_id": ack.command_id}
        )
        if (ack.site_id, ack.command_id) in self._told:  # a site cannot flood the trail
            return
        self._told.add((ack.site_id, ack.command_id))
        await transaction.audit(
            at=self._clock.now(),
            who=str(ack.site_id),
            action="acknowledgement.mismatch",
            subject=ack.command_id,
            after={
                "site_id": ack.site_id,
                "digest": ack.digest,
                "sent_to": sent.site_id,
                "sent_digest": sent.digest,
            },
        )
