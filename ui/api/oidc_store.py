"""Sign-ins through a provider in the database: who is known by which subject, what is under way, one-time codes."""

from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from tools.planning.audit_store import append_audit

Pool = AsyncConnectionPool[AsyncConnection]


class TakenError(Exception):
    """The subject is another person's already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A sign-in under way.

    Attributes:
        browser_hash: Of the cookie of the browser that began it.
        nonce: Comes back inside the ID token.
        verifier: Proves to the provider that the code is ours (RFC 7636).
        challenge: Of the console's own verifier; empty where the sign-in leads to the phone's pages.
    """

    browser_hash: bytes
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    challenge: str
    expires_at: datetime


class OidcStore:
    """Reads and writes them; what is taken is gone, so that nothing works twice."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, state_hash: bytes, sign_in: SignIn, *, wall: datetime) -> None:
        """Keep a sign-in that begins; forget those that nobody finished."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM oidc_sign_in WHERE expires_at <= %s", [wall])
            await connection.execute(
                "INSERT INTO oidc_sign_in (state_hash, browser_hash, nonce, verifier, challenge, expires_at)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    state_hash,
                    sign_in.browser_hash,
                    sign_in.nonce,
                    sign_in.verifier,
                    sign_in.challenge,
                    sign_in.expires_at,
                ],
            )

    async def take(self, state_hash: bytes, browser_hash: bytes, *, wall: datetime) -> SignIn | None:
        """Return a sign-in and end it; None where there is none, it is too old, or another browser began it."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM oidc_sign_in WHERE state_hash = %s"
                " RETURNING browser_hash, nonce, verifier, challenge, expires_at",
                [state_hash],
            )
            row = await cursor.fetchone()
        if row is None or bytes(row[0]) != browser_hash or row[4] <= wall:
            return None
        return SignIn(
            browser_hash=browser_hash, nonce=row[1], verifier=row[2], challenge=row[3], expires_at=row[4]
        )

    async def name_of(self, issuer: str, subject: str) -> str | None:
        """Return which user a subject is."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT name FROM oidc_identity WHERE issuer = %s AND subject = %s", [issuer, subject]
            )
            row = await cursor.fetchone()
        return None if row is None else str(row[0])

    async def subjects(self, issuer: str) -> dict[str, str]:
        """Return the subject of each user who has one."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT name, subject FROM oidc_identity WHERE issuer = %s", [issuer]
            )
            return {str(name): str(subject) for name, subject in await cursor.fetchall()}

    async def link(self, name: str, issuer: str, subject: str, *, who: str, at: datetime) -> bool:
        """Say which subject a user is, instead of any other; False where there is no such user.

        Raises:
            TakenError: It is another user's.
        """
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    "DELETE FROM oidc_identity WHERE issuer = %s AND name = %s RETURNING subject",
                    [issuer, name],
                )
                row = await cursor.fetchone()
                if row is not None:
                    await _end_sessions(connection, name)
                await connection.execute(
                    "INSERT INTO oidc_identity (issuer, subject, name, linked_at) VALUES (%s, %s, %s, %s)",
                    [issuer, subject, name, at],
                )
                await append_audit(
                    connection,
                    at=at,
                    who=who,
                    action="oidc.linked",
                    subject=name,
                    before=None if row is None else {"issuer": issuer, "subject": row[0]},
                    after={"issuer": issuer, "subject": subject},
                )
        except psycopg.errors.UniqueViolation as error:
            raise TakenError(subject) from error
        except psycopg.errors.ForeignKeyViolation:
            return False
        return True

    async def unlink(self, name: str, issuer: str, *, who: str, at: datetime) -> bool:
        """Forget a user's subject and end their sessions; False where there was none."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM oidc_identity WHERE issuer = %s AND name = %s RETURNING subject", [issuer, name]
            )
            row = await cursor.fetchone()
            if row is None:
                return False
            await _end_sessions(connection, name)
            await append_audit(
                connection,
                at=at,
                who=who,
                action="oidc.unlinked",
                subject=name,
                before={"issuer": issuer, "subject": row[0]},
            )
        return True

    async def give_code(
        self, code_hash: bytes, name: str, challenge: str, *, expires_at: datetime, wall: datetime
    ) -> None:
        """Keep a one-time code that a session is given for."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM oidc_code WHERE expires_at <= %s", [wall])
            await connection.execute(
                "INSERT INTO oidc_code (code_hash, name, challenge, expires_at) VALUES (%s, %s, %s, %s)",
                [code_hash, name, challenge, expires_at],
            )

    async def take_code(self, code_hash: bytes, challenge: str, *, wall: datetime) -> str | None:
        """Return whose a one-time code is and end it; None where it is too old, or another's."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM oidc_code WHERE code_hash = %s RETURNING name, challenge, expires_at",
                [code_hash],
            )
            row = await cursor.fetchone()
        return None if row is None or row[1] != challenge or row[2] <= wall else str(row[0])

    async def tell(
        self, action: str, *, who: str, subject: str, after: dict[str, str], at: datetime, ending: str = ""
    ) -> None:
        """Write into the trail that somebody was let in or not; `ending` is the user whose sessions end with it."""
        async with self._pool.connection() as connection:
            if ending:
                await _end_sessions(connection, ending)
            await append_audit(connection, at=at, who=who, action=action, subject=subject, after=after)


async def _end_sessions(connection: AsyncConnection, name: str) -> None:
    """End a user's sessions, and the ones that a code on its way would open."""
    await connection.execute("DELETE FROM app_session WHERE name = %s", [name])
    await connection.execute("DELETE FROM oidc_code WHERE name = %s", [name])
