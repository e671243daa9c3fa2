"""When ingest flushes and what it may hold; what it has done."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """When a batch is flushed, and how often roll-ups run (wall time); what may be held in memory."""

    flush_messages: int = (
        2_000  # half of what the broker hands out unacknowledged, so that both sides keep busy
    )
    flush_bytes: int = 4 * 1024 * 1024
    flush_age: timedelta = timedelta(milliseconds=250)
    roll_up_every: timedelta = timedelta(seconds=2)
    retry_after: timedelta = timedelta(seconds=1)
    gaps_every: timedelta = timedelta(seconds=60)
    answer_every: timedelta = timedelta(seconds=10)  # per site; gateways send again after 60 s
    held_messages: int = 20_000
    held_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class IngestCounts:
    """What this worker has done since it started."""

    messages: int = 0
    readings: int = 0
    refused: int = 0
    batches: int = 0
    failures: int = 0
    rolled_up: int = 0
    spilled: int = 0
    replayed: int = 0
    spill_full: int = 0  # times that the spill would take no more
    dropped_states: int = 0  # replaced by a newer state of the same site while the spill was full
    most_held: int = 0  # messages in memory at once
    not_taken: int = 0  # messages left with the broker because memory was full
