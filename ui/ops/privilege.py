"""Starting servers as an unprivileged user when we are root, without opening any folder wider.

PostgreSQL refuses to run as root, and a broker should not. The user they become can often not reach the state
directory (mode 0700, perhaps below /root). Widening modes would expose secrets, so:

- The data folder is given to that user and entered *before* the user is dropped. The server then names it
  `/proc/self/cwd`, which leads there whatever the modes above it are. Nothing else changes.
- Programs in a folder that user cannot reach are copied once, read-only, to `/var/lib/cellwatt` (or the folder given).
  They hold no secrets and can be deleted at any time.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from ui.ops.process import RunAs

PROGRAM_COPIES = Path("/var/lib/cellwatt")
SELF_CWD = Path("/proc/self/cwd")


class UnreachableProgramError(Exception):
    """The unprivileged user cannot run a program, and it cannot be copied to where it could."""


def unprivileged_user(preferred: tuple[str, ...], *, owner_of: Path | None = None) -> RunAs | None:
    """Return the user that a server becomes, or None if we are not root and it simply runs as us.

    Args:
        preferred: User names in order; the first that exists is taken, `nobody` at last.
        owner_of: A data folder of an earlier start: its owner goes on owning it.

    Raises:
        UnreachableProgramError: Not even `nobody` exists.
    """
    if os.geteuid() != 0:
        return None
    if owner_of is not None and owner_of.exists() and owner_of.stat().st_uid != 0:
        found = owner_of.stat()
        return RunAs(uid=found.st_uid, gid=found.st_gid, name=str(found.st_uid))
    for name in (*preferred, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return RunAs(uid=entry.pw_uid, gid=entry.pw_gid, name=name)
    raise UnreachableProgramError(
        f"none of the users {', '.join(preferred)}, nobody exists; run as an ordinary user"
    )


def owned_folder(path: Path, run_as: RunAs | None) -> Path:
    """Return a folder with mode 0700 that belongs to the user a server becomes."""
    path.mkdir(mode=0o700, exist_ok=True)
    if run_as is not None:
        os.chown(path, run_as.uid, run_as.gid)
    path.chmod(0o700)
    return path


def give(path: Path, run_as: RunAs | None) -> None:
    """Let a server's user own one file."""
    if run_as is not None:
        os.chown(path, run_as.uid, run_as.gid)


def reachable_root(
    root: Path, parts: tuple[str, ...], program: str, run_as: RunAs | None, *, copies: Path = PROGRAM_COPIES
) -> Path:
    """Return the root if the user can run the program below it, else that of a copy where the user can.

    Args:
        root: A folder with programs and the libraries they find by their place below it.
        parts: What to copy of it.
        program: Relative to the root.
        run_as: The user, or None if the server runs as us.
        copies: Where copies go.

    Raises:
        UnreachableProgramError: The copy cannot be made.
    """
    if run_as is None or _can_start(root / program, run_as):
        return root
    copy = copies / f"{Path(program).name}-{_digest(root, parts, program)}"
    try:
        if not copy.exists():
            _copy_readable(root, parts, copy)
    except OSError as error:
        raise UnreachableProgramError(
            f"user {run_as.name} cannot reach {root / program} and it cannot be copied to {copies} ({error}); "
            "run as an ordinary user, or put the project where other users may read it"
        ) from error
    if not _can_start(copy / program, run_as):
        raise UnreachableProgramError(
            f"user {run_as.name} cannot run {copy / program}; is {copies} mounted noexec?"
        )
    return copy


def _digest(root: Path, parts: tuple[str, ...], program: str) -> str:
    """Name of one version: the program's bytes, and the name and size of every file beside it."""
    hashed = hashlib.sha256((root / program).read_bytes())
    for path in sorted(found for part in parts for found in (root / part).rglob("*")):
        hashed.update(f"{path.relative_to(root)} {path.lstat().st_size}\n".encode())
    return hashed.hexdigest()[:16]


def _can_start(program: Path, run_as: RunAs) -> bool:
    try:
        subprocess.run(  # noqa: S603 a program that we found ourselves
            [program, "--version"],
            user=run_as.uid,
            group=run_as.gid,
            extra_groups=(),
            cwd="/",
            capture_output=True,
            timeout=20,
            check=False,
        )
    except PermissionError:
        return False
    return True


def _copy_readable(root: Path, parts: tuple[str, ...], copy: Path) -> None:
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    staged = copy.with_name(f".{copy.name}.{os.getpid()}")
    shutil.rmtree(staged, ignore_errors=True)
    for part in parts:
        shutil.copytree(
            root / part,
            staged / part,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a"),
            dirs_exist_ok=True,
        )
    for path in (staged, *staged.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        staged.rename(copy)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        if not copy.exists():  # not another starter that was quicker
            raise
