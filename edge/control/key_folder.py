"""The root-signed key sets of an installation, one file per epoch: the newest is in force, old ones check old heads."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.process import KeysInForce
from edge.control.signer import (
    KeySetError,
    Signer,
    first_key_set,
    publics_of,
    read_key_set,
    rotated,
    sign_key_set,
)
from edge.envelope import KeySet, public_bytes


class KeyFolder:
    """Reads and writes `epoch-NNNN.json`; public keys only."""

    def __init__(self, path: Path, root_public: bytes) -> None:
        self._path = path
        self._root_public = root_public

    def all(self) -> tuple[KeySet, ...]:
        """Return every key set, oldest first.

        Raises:
            KeySetError: One of them is not the root's.
        """
        return tuple(read_key_set(path.read_bytes(), self._root_public) for path in self._files())

    def publics(self) -> dict[str, bytes]:
        """Return every public key that the root has ever vouched for, by name."""
        return publics_of(self.all())

    def in_force(self) -> KeysInForce | None:
        """Return the newest key set, None before there is one."""
        files = self._files()
        if not files:
            return None
        envelope = files[-1].read_bytes()
        return KeysInForce(keys=read_key_set(envelope, self._root_public), envelope=envelope)

    def ensure(self, signer: Signer, root: Ed25519PrivateKey | None, now: datetime) -> KeysInForce:
        """Return a key set that vouches for the signer now; make the first or the next one where the root key is here.

        Raises:
            KeySetError: None does, and the root key is kept elsewhere.
        """
        current = self.in_force()
        if current is not None and signer.vouched_for(current.keys, now):
            return current
        if root is None:
            raise KeySetError(f"no key set vouches for {signer.key_id}; sign one with the root key")
        keys = (
            first_key_set(signer.public, now)
            if current is None
            else rotated(current.keys, signer.public, now)
        )
        return self._save(keys, root)

    def rotate(self, new_public: bytes, root: Ed25519PrivateKey, now: datetime) -> KeysInForce:
        """Make the next key set, with a new key and an overlap for the old one.

        Raises:
            KeySetError: There is no key set to go on from.
        """
        current = self.in_force()
        if current is None:
            raise KeySetError("there is no key set yet; start control once")
        return self._save(rotated(current.keys, new_public, now), root)

    def _save(self, keys: KeySet, root: Ed25519PrivateKey) -> KeysInForce:
        if public_bytes(root) != self._root_public:
            raise KeySetError("this is not the root key that gateways know")
        envelope = sign_key_set(keys, root)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self._path / f"epoch-{keys.epoch:06d}.json"
        fresh = target.with_suffix(".tmp")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(envelope)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(target)
        return KeysInForce(keys=keys, envelope=envelope)

    def _files(self) -> Sequence[Path]:
        return sorted(self._path.glob("epoch-*.json")) if self._path.is_dir() else []
