"""What a centre that stores every message at once would confirm to the gateways of a bench."""

from dataclasses import dataclass, field

from telemetry.wire import VERSION, StoredMessage, TelemetryMessage


@dataclass(slots=True)
class StoredReadings:
    """The sequences of readings that came, by boot, and up to which none is missing."""

    seen: dict[str, set[int]] = field(default_factory=dict)
    _whole: dict[str, int] = field(default_factory=dict)

    def keep(self, message: TelemetryMessage) -> StoredMessage:
        """Keep the sequences of a message; return the answer to its gateway."""
        seen = self.seen.setdefault(message.boot_id, set())
        seen.update(reading.sequence for reading in message.readings)
        whole = self._whole.get(message.boot_id, 0)
        while whole + 1 in seen:
            whole += 1
        self._whole[message.boot_id] = whole
        return StoredMessage(v=VERSION, site_id=message.site_id, marks={message.boot_id: whole})

    def count(self) -> int:
        """Return how many readings of all boots came, each counted once."""
        return sum(map(len, self.seen.values()))
