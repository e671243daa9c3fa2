"""`cellwatt audit verify | show PLAN | export`: the trail checked, made readable, taken out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.audit_chain import AuditEntry, AuditFault, AuditHead, ChainCheck, head_faults
from edge.control.audit_head import read_heads
from tools.planning.audit_store import AuditStore, readable


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a verification found; `last_head` is the newest signed head, None where there is none."""

    entries: int
    heads: int
    last_head: AuditHead | None
    faults: tuple[AuditFault, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def text(self) -> str:
        """Return the report for people."""
        covered = 0 if self.last_head is None else self.last_head.count
        lines = [
            f"{self.entries} entries, {self.heads} signed heads, entries 1 to {covered} covered by a signature",
            *(f"FAULT {fault.kind} at {fault.seq}: {fault.detail}" for fault in self.faults),
            "sound" if self.sound else "NOT sound",
        ]
        return "\n".join(lines)


async def verify_audit(store: AuditStore, heads: bytes, publics: Mapping[str, bytes]) -> AuditReport:
    """Check the chain, the signed heads and that one fits the other.

    Args:
        store: The trail.
        heads: Content of the file of signed heads; empty where there is no file.
        publics: The keys that the root has vouched for, by name (`edge.control.key_folder.KeyFolder.publics`).
    """
    check = ChainCheck()
    async for entry in store.entries():
        check.add(entry)
    read = read_heads(heads, publics)
    faults = [*check.faults, *read.faults, *head_faults(check.hashes, read.heads)]
    if check.hashes and not read.heads:
        faults.append(
            AuditFault(kind="heads", seq=0, detail="no signed head: a full rewrite could not be seen")
        )
    return AuditReport(
        entries=len(check.hashes),
        heads=len(read.heads),
        last_head=read.heads[-1] if read.heads else None,
        faults=tuple(faults),
    )


def heads_content(path: Path) -> bytes:
    """Return the file of signed heads, empty where there is none."""
    return path.read_bytes() if path.exists() else b""


async def show_plan(store: AuditStore, plan_id: str) -> str:
    """Return all that the trail holds on a plan and its commands, for people."""
    entries = await store.about_plan(plan_id)
    if not entries:
        return f"the trail holds nothing on plan {plan_id}"
    return "\n".join(readable(entry) for entry in entries)


async def export_audit(store: AuditStore, write: Callable[[str], object]) -> int:
    """Write every entry as one JSON line, hashes in hex, and return how many.

    `before` and `after` are texts in the database's own spelling, so that the hashes can be checked elsewhere.
    """
    written = 0
    async for entry in store.entries():
        write(json.dumps(_line(entry), ensure_ascii=False) + "\n")
        written += 1
    return written


def _line(entry: AuditEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": entry.at.isoformat(),
        "role": entry.role,
        "who": entry.who,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
        "previous_hash": entry.previous_hash.hex(),
        "hash": entry.hash.hex(),
    }
