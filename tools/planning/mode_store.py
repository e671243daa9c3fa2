"""The mode in force for the whole fleet: normal, storm or emergency."""

from datetime import datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from edge.safety.limits import OperatingMode
from telemetry.model.errors import ControlError


class ModeUnknownError(ControlError):
    """Nobody has ever set a mode: nothing may be planned."""


class ModeStore:
    """Reads and sets the one row of `fleet_mode`."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def mode(self) -> OperatingMode:
        """Return the mode in force.

        Raises:
            ModeUnknownError: The row is missing.
        """
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT mode FROM fleet_mode")).fetchone()
        if row is None:
            raise ModeUnknownError("no operating mode is set; an admin sets one (normal, storm, emergency)")
        return OperatingMode(row[0])

    async def set_mode(self, mode: OperatingMode, *, who: str, at: datetime) -> None:
        """Put a mode in force."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO fleet_mode (mode, who, since) VALUES (%s, %s, %s) ON CONFLICT (only_row)"
                " DO UPDATE SET mode = excluded.mode, who = excluded.who, since = excluded.since",
                [mode.value, who, at],
            )
