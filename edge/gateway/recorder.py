"""What every scan leaves behind: a reading, alarms told at once, the day's discharge, a message every ten seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Final

from edge.gateway.config import SiteConfig
from edge.gateway.limits import terminal_w
from edge.gateway.memory import Memory
from edge.gateway.outbox import Outbox
from edge.gateway.pace import Tick
from edge.modbus.port import FieldSample
from telemetry.model.reading import Reading

_MOST_PENDING: Final = 500
_MOST_ALARMS: Final = 64
_SHARED: Final = tuple(
    {field.name for field in fields(Reading)} & {field.name for field in fields(FieldSample)}
)


class Recorder:
    """Turns scans into readings and messages; sequences begin at 1 with each boot."""

    def __init__(
        self,
        config: SiteConfig,
        boot_id: str,
        memory: Memory,
        outbox: Outbox,
        switch: Callable[[], bool],
    ) -> None:
        self._config = config
        self._boot_id = boot_id
        self._memory = memory
        self._outbox = outbox
        self._switch = switch
        self._sequence = 0
        self._pending: list[Reading] = []
        self._published: Tick | None = None
        self._alarms: frozenset[str] = frozenset()
        self.sample: FieldSample | None = None
        self.sampled_at: datetime | None = None
        self.local_lock = switch()

    def note(self, sample: FieldSample, now: datetime, before: Tick | None, fault: str) -> bool:
        """Note a scan; return whether the local lock was set or released by it.

        Args:
            sample: The scan.
            now: When it was made.
            before: The scan before it, or None after a start.
            fault: The fault in force; it is reported among the alarms.
        """
        alarms = frozenset(sample.alarms) | ({fault} - {""})
        for alarm in sorted(alarms - self._alarms):
            self._outbox.event(now, "alarm", alarm)
        for alarm in sorted(self._alarms - alarms):
            self._outbox.event(now, "alarm_cleared", alarm)
        self._alarms = alarms
        if before is not None and terminal_w(sample) < 0.0:
            hours = max(0.0, min(60.0, (now - before.at).total_seconds())) / 3600.0
            self._memory.note_discharge(-terminal_w(sample) * hours, now)
        self.sample, self.sampled_at = sample, now
        self._pending.append(self._reading(sample, now))
        return self._note_lock(sample.local_lock or self._switch(), now)

    def _note_lock(self, locked: bool, now: datetime) -> bool:
        changed = locked != self.local_lock
        if changed:
            self.local_lock = locked
            self._outbox.event(now, "local_lock" if locked else "local_unlock")
        return changed

    def _reading(self, sample: FieldSample, now: datetime) -> Reading:
        self._sequence += 1
        shared = {name: getattr(sample, name) for name in _SHARED}
        shared["alarms"] = tuple(sorted(self._alarms))[:_MOST_ALARMS]
        shared["string_a"] = sample.string_a or None
        return Reading(
            site_id=self._config.name, boot_id=self._boot_id, sequence=self._sequence, at=now, **shared
        )

    def flush_when_due(self, tick: Tick) -> None:
        """Make a message of the pending readings every ten seconds of domain time, within the wall bound."""
        pacing = self._config.pacing
        last = self._published
        if last is None:  # the first reading goes at once: a site that is back shows itself
            self._published = tick
            self.flush()
            return
        passed_s = abs((tick.at - last.at).total_seconds())
        wall_s = pacing.publish_min_wall_s * min(1.0, tick.speed)
        due = passed_s >= pacing.publish_s - 0.5 * pacing.control_s and tick.wall_s - last.wall_s >= wall_s
        if due or len(self._pending) >= _MOST_PENDING:
            self._published = tick
            self.flush()

    def flush(self) -> None:
        """Put the readings since the last message into the buffer and on their way."""
        if self._pending:
            readings, self._pending = tuple(self._pending), []
            lost = self._outbox.keep(readings)
            if lost is not None:
                self._outbox.lost(readings[-1].at, lost)
