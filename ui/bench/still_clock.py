"""Domain time that passes only where somebody sleeps."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class StillClock:
    """A clock whose sleeps take no time."""

    at: datetime

    def now(self) -> datetime:
        """Return the domain instant."""
        return self.at

    async def sleep(self, duration: timedelta) -> None:
        """Let domain time pass."""
        self.at += duration
        await asyncio.sleep(0)

    def to_wall(self, _duration: timedelta, /) -> timedelta:
        """Return no time at all."""
        return timedelta(0)
