"""Signed heads of the audit trail in a file outside the database.

A line says: at this instant the trail had `count` entries and the last one's hash was this. Lines are chained, so that
none can be taken out of the middle. Whoever may write both the database and this file can cut off both tails: ship the
file to another machine as it grows.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.audit_chain import AuditFault, AuditHead
from edge.control.signer import Signer

_CONTEXT = b"cellwatt audit head v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsRead:
    """The heads whose signature and chain hold, and what is wrong with the file."""

    heads: tuple[AuditHead, ...]
    faults: tuple[AuditFault, ...]


def head_line(head: AuditHead, previous: str, signer: Signer) -> bytes:
    """Return one line of the file, newline included.

    Args:
        head: What is stated.
        previous: SHA-256 of the line before it without its newline, hex; empty for the first.
        signer: The control process's key.
    """
    stated = {
        "v": 1,
        "count": head.count,
        "hash": head.hash.hex(),
        "at": head.at.isoformat(),
        "previous": previous,
        "key_id": signer.key_id,
    }
    signature = signer.sign_bytes(_CONTEXT, _canonical(stated))
    return _canonical({**stated, "signature": base64.b64encode(signature).decode()}) + b"\n"


def read_heads(content: bytes, publics: Mapping[str, bytes]) -> HeadsRead:
    """Return what the file states; `publics` are the keys that the root has vouched for, by name."""
    heads: list[AuditHead] = []
    faults: list[AuditFault] = []
    previous = ""
    for number, line in enumerate(content.splitlines(), start=1):
        head = _read_line(line, previous, publics)
        if isinstance(head, str):
            faults.append(AuditFault(kind="heads", seq=number, detail=f"line {number}: {head}"))
        else:
            heads.append(head)
        previous = hashlib.sha256(line).hexdigest()
    return HeadsRead(heads=tuple(heads), faults=tuple(faults))


class HeadFile:
    """Appends signed heads, each on the disk before `append` returns."""

    def __init__(self, path: Path, signer: Signer) -> None:
        self._path = path
        self._signer = signer
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            self._cut_torn_line(sum(len(line) for line in lines[:-1]))
            lines = lines[:-1]
        self._previous = hashlib.sha256(lines[-1].rstrip(b"\n")).hexdigest() if lines else ""
        self.last = _stated(json.loads(lines[-1])) if lines else None

    def append(self, head: AuditHead) -> bool:
        """Write a head unless it is the last one written; whether it was written."""
        if head.hash == (b"" if self.last is None else self.last.hash):
            return False
        line = head_line(head, self._previous, self._signer)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._previous = hashlib.sha256(line.rstrip(b"\n")).hexdigest()
        self.last = head
        return True

    def _cut_torn_line(self, length: int) -> None:
        # A crash in the middle of a write leaves a part of a line, which states nothing.
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, length)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_line(line: bytes, previous: str, publics: Mapping[str, bytes]) -> AuditHead | str:
    try:
        stated = json.loads(line)
        signature = base64.b64decode(stated.pop("signature"), validate=True)
        public = publics.get(stated["key_id"])
        if public is None:
            return f"unknown key {stated['key_id']}"
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _CONTEXT + _canonical(stated))
        if stated["previous"] != previous:
            return "does not follow from the line before it"
        return _stated(stated)
    except InvalidSignature:
        return "the signature does not hold"
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        return f"cannot be read: {error}"


def _stated(stated: Mapping[str, Any]) -> AuditHead:
    return AuditHead(
        count=stated["count"], hash=bytes.fromhex(stated["hash"]), at=datetime.fromisoformat(stated["at"])
    )


def _canonical(stated: Mapping[str, object]) -> bytes:
    return json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()
