"""Who may do what: four roles of people, two kinds of token; each role may do what the ones before it may."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """A person's or a token's role, least first; `site` is a site's token, which uploads its own telemetry only."""

    SITE = "site"
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    def reaches(self, needed: "Role") -> bool:
        """Return whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class PrincipalKind(StrEnum):
    """Who is asking: a person with a session, or a token."""

    USER = "user"
    SITE = "site"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking, as far as the credentials tell.

    Attributes:
        name: The user's name, or `token:<label>`; what the audit trail records.
        site_id: The one site that a site's token speaks for, else empty.
        expires_at: When the credentials end, wall time.
        token_hash: SHA-256 of the bearer token, which is all that is kept of it.
    """

    name: str
    kind: PrincipalKind
    role: Role
    site_id: str
    expires_at: datetime
    token_hash: bytes

    @property
    def identity(self) -> str:
        """Return whom limits and idempotency keys count as one: a person by name, each token by its `token_id`.

        Two tokens may carry one label; their names are alike in the trail, and still one must not use up the other's turn
        or get the other's answers.
        """
        return self.name if self.kind is PrincipalKind.USER else f"token:{self.token_hash.hex()[:16]}"
