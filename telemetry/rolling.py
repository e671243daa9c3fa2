"""Roll-ups beside ingest: a task with a connection of its own, so that no message waits for one."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from telemetry.ingest_settings import IngestCounts
from telemetry.rollup_store import MOST_BUCKETS, roll_up_due

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Rolling:
    """Rolls up what is due.

    Attributes:
        connect: Opens a connection of the ingest role.
        now: Domain time.
        every: Between two looks while nothing is behind; wall time.
        retry_after: After the database was away; wall time.
        counts: Told how many buckets were rolled up.
    """

    connect: Callable[[], psycopg.Connection]
    now: Callable[[], datetime]
    every: timedelta
    retry_after: timedelta
    counts: IngestCounts
    _connection: psycopg.Connection | None = None

    async def run(self) -> None:
        """Look again and again until cancelled; a backlog goes on at once."""
        try:
            while True:
                try:
                    done = await self._step()
                except psycopg.OperationalError as error:
                    _log.warning("database away, roll-ups wait", extra={"error": str(error)})
                    await asyncio.sleep(self.retry_after.total_seconds())
                    continue
                self.counts.rolled_up += done
                if done < MOST_BUCKETS:
                    await asyncio.sleep(self.every.total_seconds())
        finally:
            if self._connection is not None:
                self._connection.close()

    async def _step(self) -> int:
        """Roll up once; a cancellation waits until the thread has let go of the connection."""
        work = asyncio.ensure_future(asyncio.to_thread(self._roll, self.now()))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise

    def _roll(self, now: datetime) -> int:
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        try:
            return roll_up_due(self._connection, now)
        except psycopg.OperationalError:
            self._connection.close()
            raise
