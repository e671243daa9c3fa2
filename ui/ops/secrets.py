"""The state directory and the secrets in it: made on first start, reused afterwards, readable by one user."""

import base64
import secrets
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from ui.ops.files import create_once, private_folder, require_private

DEFAULT_STATE_DIR = Path(".cellwatt")
SEED_BYTES = 32


class DatabaseRole(StrEnum):
    """The PostgreSQL roles: the owner migrates, every process has one of its own (the console has none)."""

    OWNER = "cellwatt_owner"
    INGEST = "cellwatt_ingest"
    API = "cellwatt_api"
    LOOP = "cellwatt_loop"
    CONTROL = "cellwatt_control"


class SecretStore:
    """One file per secret, so that each can be handed to one process and rotated alone."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, making it if it is absent.

        Raises:
            UnsafeFileError: The folder is open to others.
        """
        self._folder = private_folder(folder)

    def make_all(self) -> None:
        """Make every secret that does not exist yet."""
        for role in DatabaseRole:
            self.database_password(role)
        self.admin_password()
        self.session_secret()
        self.browser_key()
        self.command_signing_seed()
        self.root_signing_seed()

    def database_password(self, role: DatabaseRole) -> str:
        """Password of one PostgreSQL role, URL-safe, 192 bits."""
        return self._text(f"database-{role.value}", lambda: secrets.token_urlsafe(24))

    def database_passwords(self) -> dict[str, str]:
        """Passwords of all roles."""
        return {role: self.database_password(role) for role in DatabaseRole}

    def admin_password(self) -> str:
        """Password of the first login of the console, short enough to type from a screen (96 bits)."""
        return self._text("admin-password", lambda: secrets.token_urlsafe(12))

    def session_secret(self) -> bytes:
        """Key that signs the console's and API's sessions, 32 bytes."""
        return self._seed("session-secret")

    def browser_key(self) -> bytes:
        """Key by which the API believes the console which browser it asks for, 32 bytes."""
        return self._seed("browser-key")

    def command_signing_seed(self) -> bytes:
        """Ed25519 seed that signs commands, 32 bytes. The control process alone asks for it."""
        return self._seed("command-signing-seed")

    def root_signing_seed(self) -> bytes:
        """Ed25519 seed that signs the set of valid command keys, 32 bytes. Production keeps it off this machine."""
        return self._seed("root-signing-seed")

    def _seed(self, name: str) -> bytes:
        text = self._text(name, lambda: base64.b64encode(secrets.token_bytes(SEED_BYTES)).decode())
        seed = base64.b64decode(text, validate=True)
        if len(seed) != SEED_BYTES:
            raise ValueError(
                f"{self._folder / name} holds {len(seed)} bytes where {SEED_BYTES} belong; restore it from a backup"
            )
        return seed

    def _text(self, name: str, make: Callable[[], str]) -> str:
        path = self._folder / name
        content = create_once(path, lambda: make().encode())
        require_private(path)
        if not content.strip():
            raise ValueError(f"{path} is empty; restore it from a backup")
        return content.decode().strip()


class StateDirectory:
    """Where one installation keeps what must survive a restart."""

    def __init__(self, path: Path = DEFAULT_STATE_DIR) -> None:
        """Open the folder, making it with mode 0700 if it is absent.

        Raises:
            UnsafeFileError: The folder is open to others, or belongs to another user.
        """
        self.path = private_folder(path.absolute())

    @property
    def secrets(self) -> SecretStore:
        """Passwords and keys."""
        return SecretStore(self.path / "secrets")

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return private_folder(self.path / "logs")

    @property
    def status_path(self) -> Path:
        """What the supervisor says about its processes."""
        return self.path / "status.json"

    def folder(self, name: str) -> Path:
        """A private folder for one part (`postgres`, `broker`, `pki`)."""
        return private_folder(self.path / name)
