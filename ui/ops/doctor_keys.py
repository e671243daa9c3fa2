"""Whether gateways would believe what control signs: the newest root-signed key set must vouch for its key."""

from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.key_folder import KeyFolder
from edge.control.signer import KeySetError, Signer
from edge.envelope import public_bytes
from telemetry.model.clock import ClockError, FilePace
from ui.ops.audit_keys import KEY_SETS
from ui.ops.files import UnsafeFileError
from ui.ops.finding import Finding, fine, problem, warning
from ui.ops.secret_files import SecretFileError, read_seed

_SOON = timedelta(days=30)
_ROTATE = "run: cellwatt control rotate-key, then restart control"


def domain_now(state: Path, wall: datetime) -> datetime:
    """Return the installation's own time, which keys and commands go by; wall time where it keeps no clock."""
    try:
        return FilePace(state / "clock.json")().at(wall)
    except ClockError:
        return wall


def check_keys(state: Path, wall: datetime) -> Finding:
    """The newest key set is the root's, and vouches for control's key for more than 30 days of domain time."""
    try:
        secrets = state / "secrets"
        signer = Signer(Ed25519PrivateKey.from_private_bytes(read_seed(secrets / "command-signing-seed")))
        root = Ed25519PrivateKey.from_private_bytes(read_seed(secrets / "root-signing-seed"))
        current = KeyFolder(state / KEY_SETS, public_bytes(root)).in_force()
    except KeySetError as error:
        return problem(
            "keys", f"{error}", f"restore {state / KEY_SETS} from a backup: the root key did not sign this"
        )
    except (SecretFileError, UnsafeFileError, FileNotFoundError):
        return warning("keys", "not looked at: the signing keys cannot be read", "mend the secrets first")
    if current is None:
        return warning("keys", "there is no key set yet", "start control once: it makes the first")
    now = domain_now(state, wall)
    key = current.keys.find(signer.key_id)
    if key is None or not signer.vouched_for(current.keys, now):
        if key is None:
            why = "does not know it"
        elif now < key.not_before:
            why = f"lets it begin on {key.not_before:%Y-%m-%d}"
        else:
            why = f"ended it on {key.not_after:%Y-%m-%d}"
        return problem("keys", f"gateways refuse control's key: key set {current.keys.epoch} {why}", _ROTATE)
    days = (key.not_after - now).days
    if key.not_after - now <= _SOON:
        return warning("keys", f"control's key ends in {days} days", _ROTATE)
    return fine("keys", f"key set {current.keys.epoch} vouches for control's key for {days} days")
