"""The audit trail's hash chain: what each entry's hash covers, and what a broken chain looks like.

Entry n's hash is SHA-256 over entry n-1's hash and a text of entry n (migration 0002, `append_audit`). A chain alone
cannot show that its tail was cut off or that all of it was written anew: for that there are signed heads, kept outside
the database.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry; `before` and `after` are JSON in the database's own spelling, which is what was hashed."""

    seq: int
    at: datetime
    role: str
    who: str
    action: str
    subject: str
    before: str | None
    after: str | None
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """How many entries the trail had at an instant, and the hash of the last."""

    count: int
    hash: bytes
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """What is wrong with the trail, and at which entry: `edited`, `removed`, `truncated`, `rewritten`, `heads`."""

    kind: str
    seq: int
    detail: str


def entry_hash(entry: AuditEntry) -> bytes:
    """Return the hash that the entry should carry."""
    text = json.dumps(
        [
            str(entry.seq),
            str((entry.at - _EPOCH) // _MICROSECOND),
            entry.role,
            entry.who,
            entry.action,
            entry.subject,
            entry.before,
            entry.after,
        ],
        ensure_ascii=False,
    )
    return hashlib.sha256(entry.previous_hash + text.encode()).digest()


class ChainCheck:
    """Follows the chain entry by entry, in order of `seq`; keeps only the hashes."""

    def __init__(self) -> None:
        self.faults: list[AuditFault] = []
        self.hashes: dict[int, bytes] = {}
        self._seq = 0
        self._hash = b""

    def add(self, entry: AuditEntry) -> None:
        """Look at the next entry."""
        expected = self._seq + 1
        if entry.seq != expected:
            self._blame("removed", expected, f"entries {expected} to {entry.seq - 1} are missing")
        elif entry.previous_hash != self._hash:
            self._blame("edited", entry.seq, "does not follow from the entry before it")
        if entry.hash != entry_hash(entry):
            self._blame("edited", entry.seq, "its content and its hash do not fit")
        self.hashes[entry.seq] = entry.hash
        self._seq, self._hash = entry.seq, entry.hash

    def _blame(self, kind: str, seq: int, detail: str) -> None:
        self.faults.append(AuditFault(kind=kind, seq=seq, detail=detail))


def head_faults(hashes: Mapping[int, bytes], heads: Iterable[AuditHead]) -> tuple[AuditFault, ...]:
    """Return where the trail is not the one whose heads were signed.

    Args:
        hashes: The trail's hashes by entry.
        heads: Heads whose signature holds, oldest first.
    """
    faults: list[AuditFault] = []
    most = 0
    last = max(hashes, default=0)
    for head in heads:
        at = head.at.isoformat()
        if head.count < most:
            faults.append(
                AuditFault(
                    kind="truncated", seq=most, detail=f"had {most} entries, then {head.count} at {at}"
                )
            )
        elif head.count > last:
            faults.append(
                AuditFault(
                    kind="truncated", seq=head.count, detail=f"had {head.count} entries at {at}, now {last}"
                )
            )
        elif head.count and hashes.get(head.count) != head.hash:
            detail = f"entry {head.count} is not the one whose hash was signed at {at}"
            faults.append(AuditFault(kind="rewritten", seq=head.count, detail=detail))
        most = max(most, head.count)
    return tuple(faults)
