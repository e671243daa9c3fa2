"""A thread store that notes when events are written, and a command written as the API does."""

from collections.abc import Mapping
from datetime import datetime
from time import perf_counter
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from agents.thread_store import ThreadStore


class TimedThreadStore(ThreadStore):
    """Keeps, beside what it writes, the instant of a run's first event and the seconds that its steps say they took."""

    first_event_s: float | None = None
    inside_s: float = 0.0

    def begin(self) -> None:
        """Forget the run before."""
        self.first_event_s, self.inside_s = None, 0.0

    async def emit(self, thread_id: str, *, at: datetime, kind: str, body: Mapping[str, Any]) -> None:
        """Write an event, and note it."""
        await super().emit(thread_id, at=at, kind=kind, body=body)
        if self.first_event_s is None:
            self.first_event_s = perf_counter()
        self.inside_s += float(body.get("seconds", 0.0)) if kind == "step" else 0.0


def ask(dsn: str, thread_id: str, body: Mapping[str, Any], at: datetime) -> None:
    """Write a message to a new thread, with the API's role."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO thread (thread_id, kind, title, who, created_at) VALUES (%s, 'chat', 'bench', 'bench', %s)",
            [thread_id, at],
        )
        connection.execute(
            "INSERT INTO thread_command (thread_id, kind, body, who, idempotency_key, at)"
            " VALUES (%s, 'message', %s, 'bench', %s, %s)",
            [thread_id, Jsonb(dict(body)), f"bench/{thread_id}", at],
        )
