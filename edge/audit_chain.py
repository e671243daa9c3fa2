"""The audit trail's hash chain: what each entry's hash covers, and what a broken chain looks like.

Entry n's hash is SHA-256 over entry n-1's hash and a text of entry n (migration 0002, `append_audit`). A chain alone
cannot show that its tail was cut off or that all of it was written anew: for that there are signed heads, kept outside
the database.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
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


def chain_faults(entries: Iterable[AuditEntry]) -> tuple[AuditFault, ...]:
    """Return what is wrong with the chain itself; entries come in order of `seq`."""
    faults: list[AuditFault] = []
    last_seq, last_hash = 0, b""
    for entry in entries:
        if entry.seq != last_seq + 1:
            faults.append(
                AuditFault(
                    kind="removed",
                    seq=last_seq + 1,
                    detail=f"entry {last_seq + 1} to {entry.seq - 1} missing",
                )
            )
        elif entry.previous_hash != last_hash:
            faults.append(
                AuditFault(kind="edited", seq=entry.seq, detail="does not follow from the entry before it")
            )
        if entry.hash != entry_hash(entry):
            faults.append(AuditFault(kind="edited", seq=entry.seq, detail="its content and hash do not fit"))
        last_seq, last_hash = entry.seq, entry.hash
    return tuple(faults)


def head_faults(hashes: Sequence[bytes], heads: Iterable[AuditHead]) -> tuple[AuditFault, ...]:
    """Return where the trail is not the one whose heads were signed.

    Args:
        hashes: The trail's hashes in order; `hashes[n - 1]` belongs to entry n.
        heads: Heads whose signature holds, oldest first.
    """
    faults: list[AuditFault] = []
    for head in heads:
        if head.count > len(hashes):
            faults.append(
                AuditFault(
                    kind="truncated",
                    seq=head.count,
                    detail=f"there were {head.count} entries at {head.at.isoformat()}, now {len(hashes)}",
                )
            )
        elif head.count and hashes[head.count - 1] != head.hash:
            faults.append(
                AuditFault(
                    kind="rewritten",
                    seq=head.count,
                    detail=f"entry {head.count} is not the one whose hash was signed at {head.at.isoformat()}",
                )
            )
    return tuple(faults)
