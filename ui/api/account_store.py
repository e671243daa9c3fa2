"""Users, sessions and tokens in the database. Expiry and lock-out are wall time: they are about people, not about domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from tools.planning.audit_store import append_audit
from ui.api.roles import Principal, PrincipalKind, Role

Pool = AsyncConnectionPool[AsyncConnection]
_COLUMNS = "name, password_hash, role, active, failures, locked_until, created_at"
_ONE = f"SELECT {_COLUMNS} FROM app_user WHERE name = %s"  # noqa: S608 (constants)
_ALL = f"SELECT {_COLUMNS} FROM app_user ORDER BY name"  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who may log in."""

    name: str
    password_hash: str
    role: Role
    active: bool
    failures: int
    locked_until: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as far as it is shown: `token_id` is the beginning of its hash."""

    token_id: str
    label: str
    kind: PrincipalKind
    subject: str
    role: Role
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A password that did not fit: `act` is what the trail calls it, `who` tried as far as is known, from which address."""

    act: str
    who: str
    address: str


class LastAdminError(Exception):
    """Nobody could administer any more."""


class AccountStore:
    """Reads and writes who may use the API; every change is audited in its own transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def user(self, name: str) -> User | None:
        """Return one user."""
        rows = await self._all(_ONE, [name])
        return _user(rows[0]) if rows else None

    async def users(self) -> list[User]:
        """Return all users by name."""
        return [_user(row) for row in await self._all(_ALL, [])]

    async def add_user(self, name: str, password_hash: str, role: Role, *, who: str, at: datetime) -> bool:
        """Add a user; False where the name is taken."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO app_user (name, password_hash, role, created_at) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (name) DO NOTHING",
                [name, password_hash, role.value, at],
            )
            if not cursor.rowcount:
                return False
            await append_audit(
                connection, at=at, who=who, action="user.added", subject=name, after={"role": role.value}
            )
        return True

    async def change_user(
        self,
        name: str,
        *,
        role: Role | None,
        active: bool | None,
        password_hash: str | None,
        who: str,
        at: datetime,
    ) -> User | None:
        """Change a user; a new password, role or a deactivation ends the user's sessions. None where there is none.

        Raises:
            LastAdminError: It would leave no active admin.
        """
        async with self._pool.connection() as connection:
            # All admins are locked in one order, so that two admins cannot take each other's role at once.
            await connection.execute("SELECT 1 FROM app_user WHERE role = 'admin' ORDER BY name FOR UPDATE")
            found = await _fetch(connection, f"{_ONE} FOR UPDATE", [name])
            if not found:
                return None
            before = _user(found[0])
            await connection.execute(
                "UPDATE app_user SET role = coalesce(%s, role), active = coalesce(%s, active),"
                " password_hash = coalesce(%s, password_hash), failures = 0, locked_until = NULL WHERE name = %s",
                [None if role is None else role.value, active, password_hash, name],
            )
            (row,) = await _fetch(
                connection, "SELECT count(*) FROM app_user WHERE role = 'admin' AND active", []
            )
            if row[0] == 0:
                raise LastAdminError(name)
            await connection.execute("DELETE FROM app_session WHERE name = %s", [name])
            (changed,) = await _fetch(connection, _ONE, [name])
            after = _user(changed)
            await append_audit(
                connection,
                at=at,
                who=who,
                action="user.changed",
                subject=name,
                before={"role": before.role.value, "active": before.active},
                after={
                    "role": after.role.value,
                    "active": after.active,
                    "password": "changed" if password_hash else "kept",
                },
            )
        return after

    async def count_failure(
        self, name: str, *, lock_after: int, locked_until: datetime, at: datetime, wall: datetime
    ) -> bool:
        """Count a failed login; whether the account is locked by it."""
        async with self._pool.connection() as connection:
            rows = await _fetch(
                connection,
                "UPDATE app_user SET failures = CASE WHEN locked_until <= %(wall)s THEN 1 ELSE failures + 1 END,"
                " locked_until = CASE WHEN (CASE WHEN locked_until <= %(wall)s THEN 1 ELSE failures + 1 END)"
                " >= %(most)s THEN %(until)s ELSE NULL END WHERE name = %(name)s"
                " AND (locked_until IS NULL OR locked_until <= %(wall)s) RETURNING locked_until IS NOT NULL",
                {"wall": wall, "most": lock_after, "until": locked_until, "name": name},
            )
            locked = bool(rows and rows[0][0])
            if locked:
                await append_audit(
                    connection,
                    at=at,
                    who=name,
                    action="user.locked",
                    subject=name,
                    after={"until": locked_until.isoformat(), "failures": lock_after},
                )
        return locked

    async def tell_refusal(self, attempt: Attempt, name: str, why: str, *, at: datetime) -> None:
        """Record that a password for `name` (empty: an unknown name) was refused, and why."""
        async with self._pool.connection() as connection:
            await append_audit(
                connection,
                at=at,
                who=attempt.who,
                action=attempt.act,
                subject=name or "unknown",
                after={"why": why, "address": attempt.address},
            )

    async def open_session(
        self, name: str, token_hash: bytes, *, expires_at: datetime, at: datetime, wall: datetime
    ) -> None:
        """Keep a new session, forget the expired ones, and forgive earlier failures."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE app_user SET failures = 0, locked_until = NULL WHERE name = %s", [name]
            )
            await connection.execute("DELETE FROM app_session WHERE expires_at <= %s", [wall])
            await connection.execute(
                "INSERT INTO app_session (token_hash, name, expires_at) VALUES (%s, %s, %s)",
                [token_hash, name, expires_at],
            )
            await append_audit(connection, at=at, who=name, action="session.opened", subject=name)

    async def close_session(self, name: str, token_hash: bytes, *, at: datetime) -> None:
        """End a session."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM app_session WHERE token_hash = %s", [token_hash])
            await append_audit(connection, at=at, who=name, action="session.closed", subject=name)

    async def principal(self, token_hash: bytes, wall: datetime) -> Principal | None:
        """Return whose credentials these are; None where they are unknown, expired, revoked or of an inactive user."""
        rows = await self._all(
            "SELECT s.name, u.role, s.expires_at FROM app_session s JOIN app_user u USING (name)"
            " WHERE s.token_hash = %s AND s.expires_at > %s AND u.active",
            [token_hash, wall],
        )
        if rows:
            name, role, expires_at = rows[0]
            return Principal(
                name=name,
                kind=PrincipalKind.USER,
                role=Role(role),
                site_id="",
                expires_at=expires_at,
                token_hash=token_hash,
            )
        rows = await self._all(
            "SELECT label, kind, subject, role, expires_at FROM api_token"
            " WHERE token_hash = %s AND expires_at > %s AND revoked_at IS NULL",
            [token_hash, wall],
        )
        if not rows:
            return None
        label, kind, subject, role, expires_at = rows[0]
        return Principal(
            name=f"token:{label}",
            kind=PrincipalKind(kind),
            role=Role(role),
            site_id=subject if kind == PrincipalKind.SITE else "",
            expires_at=expires_at,
            token_hash=token_hash,
        )

    async def add_token(self, token_hash: bytes, token: Token, *, who: str, at: datetime) -> None:
        """Keep a new token's hash."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO api_token (token_hash, label, kind, subject, role, expires_at)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    token_hash,
                    token.label,
                    token.kind.value,
                    token.subject,
                    token.role.value,
                    token.expires_at,
                ],
            )
            await append_audit(
                connection,
                at=at,
                who=who,
                action="token.added",
                subject=token.token_id,
                after={
                    "label": token.label,
                    "kind": token.kind.value,
                    "subject": token.subject,
                    "role": token.role.value,
                    "expires_at": token.expires_at.isoformat(),
                },
            )

    async def tokens(self) -> list[Token]:
        """Return all tokens, the newest expiry first."""
        rows = await self._all(
            "SELECT substr(encode(token_hash, 'hex'), 1, 16), label, kind, subject, role, expires_at, revoked_at"
            " FROM api_token ORDER BY expires_at DESC, 1",
            [],
        )
        return [
            Token(
                token_id=row[0],
                label=row[1],
                kind=PrincipalKind(row[2]),
                subject=row[3],
                role=Role(row[4]),
                expires_at=row[5],
                revoked_at=row[6],
            )
            for row in rows
        ]

    async def revoke_token(self, token_id: str, *, who: str, at: datetime) -> bool:
        """Revoke a token; False where there is none that is in force."""
        async with self._pool.connection() as connection:
            rows = await _fetch(
                connection,
                "UPDATE api_token SET revoked_at = %s WHERE substr(encode(token_hash, 'hex'), 1, 16) = %s"
                " AND revoked_at IS NULL RETURNING label",
                [at, token_id],
            )
            if rows:
                await append_audit(
                    connection,
                    at=at,
                    who=who,
                    action="token.revoked",
                    subject=token_id,
                    after={"label": rows[0][0]},
                )
        return bool(rows)

    async def _all(self, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            return await _fetch(connection, query, arguments)


async def _fetch(
    connection: AsyncConnection, query: str, arguments: Sequence[Any] | dict[str, Any]
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query.encode(), arguments)
    return await cursor.fetchall()


def _user(row: Sequence[Any]) -> User:
    return User(
        name=row[0],
        password_hash=row[1],
        role=Role(row[2]),
        active=row[3],
        failures=row[4],
        locked_until=row[5],
        created_at=row[6],
    )
