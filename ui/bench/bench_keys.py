"""The key set that the gateways of a bench are given: one signing key, in force for as long as any bench runs."""

from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import KeySet, SigningKey, public_bytes

KEY_ID = "bench"
_BEFORE, _AFTER = timedelta(days=1), timedelta(days=60)


def bench_keys(signer: Ed25519PrivateKey, at: datetime) -> KeySet:
    """Return the set that a root key signs; `at` is when the bench begins, domain time."""
    key = SigningKey(
        key_id=KEY_ID, public=public_bytes(signer), not_before=at - _BEFORE, not_after=at + _AFTER
    )
    return KeySet(epoch=1, keys=(key,))
