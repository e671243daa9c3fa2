"""One transaction of control: sequences, commands, a plan's status and the audit entry, together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from edge.control.minting import Draft, Minted, numbered
from edge.control.signer import Signer
from edge.plan import CommandId, PlanId, PlanStatus
from telemetry.model.site import SiteId, SiteMode

_SANE_SEQUENCE = 2**53  # a site that reports more is not believed


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCommand:
    """What an acknowledgement is checked against."""

    command_id: CommandId
    plan_id: PlanId | None
    site_id: SiteId | None
    kind: str
    digest: str
    state: str


class ControlTransaction:
    """What may be done inside one transaction; all of it happens or nothing."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self.connection = connection

    async def lock_plan(self, plan_id: PlanId) -> PlanStatus | None:
        """Return a plan's status and keep others from moving it until the transaction ends."""
        row = await self.one("SELECT status FROM plan WHERE plan_id = %s FOR UPDATE", [plan_id])
        return None if row is None else PlanStatus(row[0])

    async def move_plan(
        self,
        plan_id: PlanId,
        steps: Sequence[PlanStatus],
        *,
        at: datetime,
        who: str,
        after: Mapping[str, Any],
    ) -> None:
        """Take a locked plan through the statuses, with one audit entry for the whole way."""
        row = await self.one("SELECT status FROM plan WHERE plan_id = %s FOR UPDATE", [plan_id])
        for status in steps:
            await self.connection.execute(
                "UPDATE plan SET status = %s WHERE plan_id = %s", [status.value, plan_id]
            )
        await self.audit(
            at=at,
            who=who,
            action=f"plan.{steps[-1].value}",
            subject=plan_id,
            before=None if row is None else {"status": row[0]},
            after={"status": steps[-1].value, **after},
        )

    async def mint(self, drafts: Sequence[Draft], signer: Signer, at: datetime) -> tuple[Minted, ...]:
        """Give each draft its site's next sequence, sign it and put it into the outbox.

        A site's own word on the last sequence that it saw counts too, so that a database restored from a backup does
        not issue numbers that sites refuse.
        """
        if not drafts:
            return ()
        cursor = await self.connection.execute(
            "INSERT INTO command_sequence AS s (subject_id, last) SELECT subject, greatest(coalesce("
            " (SELECT last_sequence FROM site_status WHERE site_id = subject AND last_sequence < %s), 0), 0) + 1"
            " FROM unnest(%s::text[]) AS subject ON CONFLICT (subject_id)"
            " DO UPDATE SET last = greatest(s.last + 1, excluded.last) RETURNING subject_id, last",
            [_SANE_SEQUENCE, sorted({str(draft.site_id) for draft in drafts})],
        )
        minted = numbered(drafts, dict(await cursor.fetchall()), signer)
        await self._insert(minted, signer.key_id, at)
        return minted

    async def mint_fleet(self, draft: Draft, epoch: int, signer: Signer, at: datetime) -> Minted:
        """Mint a stop or a clear; its counter belongs to the key epoch but never goes back across epochs.

        It is never below the milliseconds since 1970: sites remember the last number that they obeyed, and a stop must
        reach them also after this database was lost.
        """
        row = await self.one(
            "INSERT INTO command_sequence AS s (subject_id, last) SELECT %s, greatest(coalesce(max(last), 0) + 1, %s)"
            " FROM command_sequence WHERE subject_id LIKE 'fleet/%%' ON CONFLICT (subject_id)"
            " DO UPDATE SET last = greatest(s.last + 1, excluded.last) RETURNING last",
            [f"fleet/{epoch}", round(at.timestamp() * 1000)],
        )
        (minted,) = numbered([draft], {"None": 0 if row is None else row[0]}, signer)
        await self.connection.execute(
            "UPDATE command SET state = 'ended' WHERE site_id IS NULL AND state IN ('pending', 'sent')"
        )
        await self._insert([minted], signer.key_id, at)
        return minted

    async def end_open_commands(self, plan_id: PlanId) -> None:
        """Send no more of what a plan's sites have not answered yet."""
        await self.connection.execute(
            "UPDATE command SET state = 'ended' WHERE plan_id = %s AND kind <> 'release' AND state IN ('pending', 'sent')",
            [plan_id],
        )

    async def lock_command(self, command_id: CommandId) -> SentCommand | None:
        """Return what was sent under an id, and keep others from moving it until the transaction ends."""
        row = await self.one(
            "SELECT command_id, plan_id, site_id, kind, digest, state FROM command WHERE command_id = %s FOR UPDATE",
            [command_id],
        )
        if row is None:
            return None
        return SentCommand(
            command_id=row[0], plan_id=row[1], site_id=row[2], kind=row[3], digest=row[4], state=row[5]
        )

    async def set_command_state(self, command_id: CommandId, state: str) -> None:
        """Move a locked command on."""
        await self.connection.execute(
            "UPDATE command SET state = %s WHERE command_id = %s", [state, command_id]
        )

    async def commanded_sites(self, plan_id: PlanId) -> tuple[SiteId, ...]:
        """Return the sites that a plan's commands went to, in order."""
        cursor = await self.connection.execute(
            "SELECT DISTINCT site_id FROM command WHERE plan_id = %s AND kind <> 'release' ORDER BY 1",
            [plan_id],
        )
        return tuple(row[0] for row in await cursor.fetchall())

    async def dispatched_plans(self) -> tuple[PlanId, ...]:
        """Return every plan that is under way, and lock it."""
        cursor = await self.connection.execute(
            "SELECT plan_id FROM plan WHERE status = 'dispatched' ORDER BY 1 FOR UPDATE"
        )
        return tuple(row[0] for row in await cursor.fetchall())

    async def change_site_mode(self, site_id: SiteId, mode: SiteMode, *, who: str, at: datetime) -> None:
        """Write a site's mode into the registry, with its before and after."""
        row = await self.one("SELECT doc FROM site WHERE site_id = %s FOR UPDATE", [site_id])
        if row is None or row[0]["mode"] == mode.value:
            return
        after = {**row[0], "mode": mode.value}
        await self.connection.execute(
            "UPDATE site SET mode = %s, doc = %s, version = version + 1 WHERE site_id = %s",
            [mode.value, Jsonb(after), site_id],
        )
        await self.connection.execute(
            "INSERT INTO registry_change (at, who, kind, subject_id, before, after)"
            " VALUES (%s, %s, 'site', %s, %s, %s)",
            [at, who, site_id, Jsonb(row[0]), Jsonb(after)],
        )

    async def audit(
        self,
        *,
        at: datetime,
        who: str,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Append an entry to the trail."""
        await self.connection.execute(
            "SELECT append_audit(%s, %s, %s, %s, %s, %s)",
            [
                at,
                who,
                action,
                subject,
                None if before is None else Jsonb(before),
                None if after is None else Jsonb(after),
            ],
        )

    async def one(self, query: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the first row of a query."""
        cursor = await self.connection.execute(query.encode(), parameters)
        row: tuple[Any, ...] | None = await cursor.fetchone()
        return row

    async def _insert(self, minted: Sequence[Minted], key_id: str, at: datetime) -> None:
        async with self.connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO command (command_id, plan_id, site_id, sequence, kind, envelope, digest, key_id,"
                " created_at, accept_by, not_before, valid_until, state)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending')",
                [
                    (
                        one.command.command_id,
                        one.command.plan_id,
                        one.command.site_id,
                        one.command.sequence,
                        one.command.kind.value,
                        one.envelope,
                        one.digest,
                        key_id,
                        at,
                        one.command.accept_by,
                        one.command.not_before,
                        one.command.valid_until,
                    )
                    for one in minted
                ],
            )
