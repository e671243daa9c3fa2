"""Keys: names, rotation with an overlap, the folder of key sets."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.key_folder import KeyFolder
from edge.control.signer import KeySetError, Signer, first_key_set, key_id_of, rotated
from edge.envelope import Unverified, Verified, public_bytes, verify_command
from edge.plan import Command, CommandId, CommandKind, EmptyBody
from telemetry.model.site import SiteId
from tests.edge.safety.examples import NOW

ROOT = Ed25519PrivateKey.from_private_bytes(b"r" * 32)
OLD = Signer(Ed25519PrivateKey.from_private_bytes(b"a" * 32))
NEW = Signer(Ed25519PrivateKey.from_private_bytes(b"b" * 32))
DAY = timedelta(days=1)
RELEASE = Command(
    command_id=CommandId("c-1"),
    plan_id=None,
    site_id=SiteId("site-1"),
    sequence=1,
    accept_by=NOW + DAY,
    not_before=NOW,
    valid_until=NOW + DAY,
    kind=CommandKind.RELEASE,
    body=EmptyBody(),
)


def test_a_key_s_name_follows_from_the_key() -> None:
    # SHA-256 of the 32 public bytes of the seed "aaaa...", first 24 hex digits.
    assert key_id_of(bytes(32)) == "k-66687aadf862bd776c8fc18b"
    assert OLD.key_id != NEW.key_id
    assert OLD.key_id == key_id_of(OLD.public)


def test_the_old_key_is_believed_during_the_overlap_and_not_after() -> None:
    keys = rotated(first_key_set(OLD.public, NOW - 100 * DAY), NEW.public, NOW, overlap=30 * DAY)
    assert keys.epoch == 2
    assert [key.key_id for key in keys.keys] == [NEW.key_id, OLD.key_id]
    by_old, _ = OLD.sign(RELEASE)
    by_new, _ = NEW.sign(RELEASE)
    end = NOW + 30 * DAY
    assert isinstance(verify_command(by_old, keys, end - timedelta(microseconds=1)), Verified)
    late = verify_command(by_old, keys, end)
    assert isinstance(late, Unverified)
    assert late.reason == "key_expired"
    assert isinstance(verify_command(by_new, keys, end), Verified)


def test_a_gateway_whose_clock_is_behind_believes_a_new_key() -> None:
    keys = first_key_set(NEW.public, NOW)
    envelope, _ = NEW.sign(RELEASE)
    assert isinstance(verify_command(envelope, keys, NOW - timedelta(hours=1)), Verified)
    assert isinstance(verify_command(envelope, keys, NOW - timedelta(hours=1, microseconds=1)), Unverified)


def test_rotation_drops_ended_keys_and_keeps_at_most_sixteen() -> None:
    keys = first_key_set(OLD.public, NOW - 800 * DAY)  # its 730 days are over
    assert [key.key_id for key in rotated(keys, NEW.public, NOW).keys] == [NEW.key_id]
    for number in range(30):
        seed = Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32)
        keys = rotated(keys, public_bytes(seed), NOW + number * timedelta(hours=1))
    assert len(keys.keys) == 16
    assert keys.epoch == 31


def test_a_signature_for_another_use_cannot_be_a_command_s() -> None:
    with pytest.raises(ValueError, match="context"):
        OLD.sign_bytes(b"", b"x")
    with pytest.raises(ValueError, match="context"):
        OLD.sign_bytes(b'{"v":1', b"}")


def test_the_folder_makes_keeps_and_rotates_key_sets(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", public_bytes(ROOT))
    with pytest.raises(KeySetError, match="no key set yet"):
        folder.rotate(NEW.public, ROOT, NOW)
    with pytest.raises(KeySetError, match="sign one with the root key"):
        folder.ensure(OLD, None, NOW)
    first = folder.ensure(OLD, ROOT, NOW)
    assert folder.ensure(OLD, None, NOW + DAY) == first, "a later start needs no root key"
    second = folder.rotate(NEW.public, ROOT, NOW + DAY)
    assert second.keys.epoch == 2
    assert folder.in_force() == second
    assert folder.ensure(NEW, None, NOW + DAY) == second
    assert set(folder.publics()) == {OLD.key_id, NEW.key_id}
    assert [path.name for path in sorted((tmp_path / "keys").iterdir())] == [
        "epoch-000001.json",
        "epoch-000002.json",
    ]


def test_a_key_set_of_another_root_is_refused(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, public_bytes(ROOT))
    stranger = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
    with pytest.raises(KeySetError, match="not the root key"):
        folder.ensure(OLD, stranger, NOW)
    KeyFolder(tmp_path, public_bytes(stranger)).ensure(OLD, stranger, NOW)
    with pytest.raises(KeySetError, match="bad_signature"):
        folder.in_force()


def test_a_key_is_vouched_for_only_by_its_own_bytes() -> None:
    keys = first_key_set(OLD.public, NOW)
    assert OLD.vouched_for(keys, NOW)
    assert not OLD.vouched_for(keys, NOW + timedelta(days=730))
    assert not NEW.vouched_for(keys, NOW)
    swapped = replace(keys, keys=(replace(keys.keys[0], public=NEW.public),))
    assert not OLD.vouched_for(swapped, NOW)
