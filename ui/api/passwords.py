"""Passwords (argon2) and bearer tokens. Checking a password takes tens of milliseconds, so it runs in a small pool of threads."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_PREFIX = "cw_"  # so that a leaked token is found by a scanner


def make_token() -> str:
    """Return a new bearer token, 256 bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """Return what is kept of a token; it has enough entropy for a plain hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


class Passwords:
    """Hashes and checks passwords, few at a time; the hasher says what one guess costs."""

    def __init__(self, *, at_once: int, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="argon2")
        self._nobody = self._hasher.hash(secrets.token_urlsafe(12))

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def fits(self, kept: str | None, password: str) -> bool:
        """Return whether a password fits; for an unknown user the same time is taken and nothing fits."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, kept, password)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    def _check(self, kept: str | None, password: str) -> bool:
        try:
            self._hasher.verify(self._nobody if kept is None else kept, password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None
