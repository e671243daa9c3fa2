"""Small file operations that the state directory is built from: whole files or none, private from birth."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

PRIVATE_FILE_MODE = 0o600
PRIVATE_FOLDER_MODE = 0o700


class UnsafeFileError(Exception):
    """A private file or folder is open to others, or belongs to somebody else; the message says what to do."""

    def __init__(self, path: Path, fault: str, remedy: str) -> None:
        super().__init__(f"{path} {fault}; {remedy}")
        self.path = path
        self.remedy = remedy


def private_folder(path: Path) -> Path:
    """Return the folder, made with mode 0700 if it is absent.

    Raises:
        UnsafeFileError: It exists and others may enter it, or another user owns it.
    """
    path.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    require_private(path, mode=PRIVATE_FOLDER_MODE)
    return path


def require_private(path: Path, *, mode: int = PRIVATE_FILE_MODE) -> None:
    """Refuse a path that anyone but this process's user may open.

    Raises:
        UnsafeFileError: Group or others have a permission bit, or the owner is another user.
    """
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise UnsafeFileError(
            path,
            f"belongs to user {found.st_uid}, this process runs as {os.geteuid()}",
            f"run as that user, or: chown -R {os.geteuid()} {path}",
        )
    if found.st_mode & 0o077:
        raise UnsafeFileError(
            path, f"has mode {found.st_mode & 0o777:04o}, others may open it", f"run: chmod {mode:o} {path}"
        )


def write_atomic(path: Path, content: bytes, *, mode: int = PRIVATE_FILE_MODE, durable: bool = True) -> None:
    """Replace the file in one step: a reader sees the old bytes or the new ones, never a part.

    Args:
        path: Its folder exists.
        content: The whole file.
        mode: Permission bits from the first instant on; the umask does not widen or narrow them.
        durable: Wait for the disk. Off for what can be made again and comes in hundreds.
    """
    staged = _staged(path, content, mode=mode, durable=durable)
    staged.replace(path)


def create_once(path: Path, make: Callable[[], bytes], *, mode: int = PRIVATE_FILE_MODE) -> bytes:
    """Return the file's bytes, making them if the file is absent; of two starters one wins and both read the same.

    A hard link refuses to replace an existing name, which a rename would do silently.
    """
    if not path.exists():
        staged = _staged(path, make(), mode=mode, durable=True)
        try:
            path.hardlink_to(staged)
        except FileExistsError:
            pass
        finally:
            staged.unlink()
    return path.read_bytes()


def _staged(path: Path, content: bytes, *, mode: int, durable: bool) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(content)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    return Path(name)
