"""The signing key, the key sets that vouch for it, and rotation with an overlap."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import KeySet, SigningKey, Unverified, public_bytes, sign_command, sign_keys, verify_keys
from edge.plan import Command
from telemetry.model.errors import ControlError

LIFETIME = timedelta(days=730)
OVERLAP = timedelta(days=30)
_SKEW = timedelta(hours=1)  # a gateway's clock may be behind ours when a new key set reaches it
_MOST_KEYS = 16


class KeySetError(ControlError):
    """A key set is not the root's, or does not vouch for the key that we hold."""


def key_id_of(public: bytes) -> str:
    """Return the name of a key: it follows from the key, so that two keys never share one."""
    return f"k-{hashlib.sha256(public).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one private key; the key itself is never shown."""

    _key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """The name under which key sets list it."""
        return key_id_of(public_bytes(self._key))

    @property
    def public(self) -> bytes:
        """The 32 public bytes."""
        return public_bytes(self._key)

    def sign(self, command: Command) -> tuple[bytes, str]:
        """Return the envelope bytes to publish and the payload's digest."""
        return sign_command(command, self.key_id, self._key)

    def sign_bytes(self, context: bytes, content: bytes) -> bytes:
        """Return a signature over context and content; the context keeps it from passing for a command's.

        Raises:
            ValueError: The context could begin a command's payload, which is JSON.
        """
        if not context or context.startswith(b"{"):
            raise ValueError("a signature other than a command's needs a context of its own")
        return self._key.sign(context + content)

    def vouched_for(self, keys: KeySet, now: datetime) -> bool:
        """Whether gateways that hold this key set believe us now."""
        key = keys.find(self.key_id)
        return key is not None and key.public == self.public and key.not_before <= now < key.not_after


def first_key_set(public: bytes, now: datetime, lifetime: timedelta = LIFETIME) -> KeySet:
    """Return the key set of a new installation."""
    return KeySet(epoch=1, keys=(_key(public, now, lifetime),))


def rotated(
    keys: KeySet,
    public: bytes,
    now: datetime,
    *,
    overlap: timedelta = OVERLAP,
    lifetime: timedelta = LIFETIME,
) -> KeySet:
    """Return the next key set: the new key at once, the old ones for `overlap` more, those long ended dropped.

    The overlap lets commands that were signed before the change reach sites after it.
    """
    end = now + overlap
    kept = [
        replace(key, not_after=min(key.not_after, end))
        for key in keys.keys
        if key.not_after > now and key.public != public
    ]
    newest_first = sorted(kept, key=lambda key: key.not_before, reverse=True)[: _MOST_KEYS - 1]
    return KeySet(epoch=keys.epoch + 1, keys=(_key(public, now, lifetime), *newest_first))


def sign_key_set(keys: KeySet, root: Ed25519PrivateKey) -> bytes:
    """Return the root-signed bytes for `cbs/v1/fleet/keys`."""
    return sign_keys(keys, root)


def read_key_set(envelope: bytes, root_public: bytes) -> KeySet:
    """Return the key set of root-signed bytes.

    Raises:
        KeySetError: The root did not sign them.
    """
    keys = verify_keys(envelope, root_public)
    if isinstance(keys, Unverified):
        raise KeySetError(f"key set: {keys.reason}: {keys.detail}")
    return keys


def publics_of(key_sets: Iterable[KeySet]) -> dict[str, bytes]:
    """Return every public key that the root has ever vouched for, by name: what old signatures are checked with."""
    return {key.key_id: key.public for keys in key_sets for key in keys.keys}


def _key(public: bytes, now: datetime, lifetime: timedelta) -> SigningKey:
    return SigningKey(
        key_id=key_id_of(public), public=public, not_before=now - _SKEW, not_after=now + lifetime
    )
