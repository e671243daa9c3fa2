"""The public keys that may have signed the heads of an installation's audit trail: those that the root vouched for."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.key_folder import KeyFolder
from edge.envelope import public_bytes
from telemetry.model.errors import ControlError
from ui.ops.secret_files import read_seed

KEY_SETS = "key_sets"  # one file per epoch


def publics_in_force(state_dir: Path) -> dict[str, bytes]:
    """Return every public key that the root has ever vouched for here, by name; empty before control has run.

    Raises:
        ControlError: There is no root key to check them with, or a key set is not the root's.
    """
    seed = state_dir / "secrets" / "root-signing-seed"
    if not seed.is_file():
        raise ControlError(f"{seed} is missing: nothing says which keys may sign")
    root = public_bytes(Ed25519PrivateKey.from_private_bytes(read_seed(seed)))
    return KeyFolder(state_dir / KEY_SETS, root).publics()
