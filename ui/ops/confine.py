"""Takes a process's rights away: another user, no new privileges, files and TCP by Landlock. Standard library only.

What cannot be had on a kernel is named in what `confine` returns, so that status pages can say it; nothing is assumed.
Landlock's numbers are those of linux/landlock.h (uapi), system calls 444 to 446 on every architecture.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH, _RULE_PORT = 1, 2
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPES = 0b11  # abstract UNIX sockets and signals of processes outside
# The rights a kernel of each Landlock version knows about files; a newer one keeps the last.
_FILE_RIGHTS = (0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
_NET_SINCE, _SCOPE_SINCE = 4, 6
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_MOST_FILE_BYTES = 64 << 20  # of its own log; it may write nothing else


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_fs", ctypes.c_uint64),
        ("handled_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _PortRule(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What is left to a process: a user, folders and files to read, one TCP port to listen on."""

    user: tuple[int, int] | None  # uid and gid; None: it stays who it is
    readable: Sequence[Path]
    listen_port: int
    parent_pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confined:
    """What was achieved."""

    uid: int
    files: bool
    network: bool

    def words(self) -> str:
        """Return it as people read it."""
        files = "files limited by the kernel" if self.files else "files NOT limited (kernel without Landlock)"
        network = (
            "no outgoing TCP" if self.network else "outgoing TCP NOT limited (kernel without Landlock 4)"
        )
        return f"user {self.uid}, {files}, {network}"


def confine(rights: Rights) -> Confined:
    """Give everything up but `rights`; cannot be undone. Call it before any thread is started.

    Raises:
        OSError: The user cannot be changed, or the parent is gone already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    rules = _rules(libc, rights)  # paths are opened while they can be
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_FILE_BYTES, _MOST_FILE_BYTES))
    if rights.user is not None:
        uid, gid = rights.user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    # The kernel forgot the death signal when the user changed.
    _prctl(libc, _PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != rights.parent_pid:
        raise OSError("the parent process is gone")
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    files = rules is not None and libc.syscall(_RESTRICT, rules, 0) == 0
    return Confined(uid=os.getuid(), files=files, network=files and landlock_version(libc) >= _NET_SINCE)


def landlock_version(libc: ctypes.CDLL | None = None) -> int:
    """Return which Landlock the kernel speaks; 0: none."""
    known = libc or ctypes.CDLL(None, use_errno=True)
    return max(0, int(known.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def _rules(libc: ctypes.CDLL, rights: Rights) -> int | None:
    version = landlock_version(libc)
    if version < 1:
        return None
    wanted = _Ruleset(
        handled_fs=_FILE_RIGHTS[min(version, len(_FILE_RIGHTS) - 1)],
        handled_net=_BIND_TCP | _CONNECT_TCP if version >= _NET_SINCE else 0,
        scoped=_SCOPES if version >= _SCOPE_SINCE else 0,
    )
    size = {True: 24, False: 16 if version >= _NET_SINCE else 8}[version >= _SCOPE_SINCE]
    rules = libc.syscall(_CREATE, ctypes.byref(wanted), ctypes.c_size_t(size), 0)
    if rules < 0:
        return None
    for path in rights.readable:
        _allow_path(libc, rules, path)
    if version >= _NET_SINCE:
        port = _PortRule(allowed=_BIND_TCP, port=rights.listen_port)
        libc.syscall(_ADD, rules, _RULE_PORT, ctypes.byref(port), 0)
    return int(rules)


def _allow_path(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        allowed = _READ if path.is_dir() else _READ_FILE  # no program may be started; libraries are only read
        if path == Path("/dev/null"):
            allowed = _READ_FILE | _WRITE_FILE
        rule = _PathRule(allowed=allowed, parent=opened)
        libc.syscall(_ADD, rules, _RULE_PATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")
