"""Who is told what: the notification file, TOML. It holds the targets' secrets, so only its owner may read it.

Targets are Apprise URLs (`mailtos://`, `slack://`, `tgram://`, `ntfys://`, `jsons://` and some hundred others).
"""

import os
import tomllib
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from telemetry.model.errors import ControlError
from telemetry.model.incident import Severity

EXAMPLE = """\
# Who CellWatt tells what. Keep this file at mode 0600: the URLs hold passwords and tokens.
# `cellwatt notify show` lists the targets without their secrets, `cellwatt notify test` sends to each of them.
public_url = "https://cellwatt.example"   # where a phone reaches the API; links begin with it

[quiet]                                   # in these hours only what is grave enough gets through
from = "22:00"
to = "06:30"
zone = "Europe/Rome"
lets_through = "critical"

[[target]]
name = "on-call phone"
url = "ntfys://ntfy.example/a-long-secret-topic"
at_least = "warning"                      # info, warning or critical

# [[target]]
# name = "operations mail"
# url = "mailtos://user:password@mail.example?to=operations@mail.example"
# at_least = "info"
# quiet = false                           # takes messages at any hour

# [[target]]
# name = "head of operations"
# url = "tgram://bot-token/chat-id"
# direct = false                          # is told by escalation only

# [[escalation]]                          # an incident that nobody acknowledged in time
# to = "head of operations"
# after_min = 15
# at_least = "critical"
"""
_RANKS = list(Severity)
Name = Annotated[str, Field(min_length=1, max_length=60)]


class NotifySettingsError(ControlError):
    """The notification file cannot be used; the message says why and holds no secret."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quiet(_Part):
    """Hours of the day, local time of `zone`, in which only what is grave enough is sent; the rest waits for their end."""

    begins: time = Field(alias="from")
    ends: time = Field(alias="to")
    zone: str
    lets_through: Severity = Severity.CRITICAL

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"no such time zone: {value}") from error
        return value

    def holds_back(self, severity: Severity, at: datetime) -> bool:
        """Whether a message of this severity waits at this instant. Hours may reach past midnight."""
        if rank(severity) >= rank(self.lets_through) or self.begins == self.ends:
            return False
        local = at.astimezone(ZoneInfo(self.zone)).time()
        if self.begins < self.ends:
            return self.begins <= local < self.ends
        return local >= self.begins or local < self.ends


class Target(_Part):
    """One person, group or system.

    Attributes:
        url: Apprise URL; never shown, logged or stored elsewhere.
        at_least: Mildest severity that it is told.
        kinds: Kinds of incident (or `plan`) that it is told; None for all.
        quiet: Whether the quiet hours hold for it.
        direct: False for a target that is told by escalation only.
    """

    name: Name
    url: SecretStr
    at_least: Severity = Severity.WARNING
    kinds: frozenset[str] | None = None
    quiet: bool = True
    direct: bool = True

    @property
    def scheme(self) -> str:
        """What kind of service it is, without any secret (`ntfys`, `mailto`)."""
        return self.url.get_secret_value().partition("://")[0]

    def wants(self, severity: Severity, kind: str) -> bool:
        """Whether it is told of this at all."""
        return rank(severity) >= rank(self.at_least) and (self.kinds is None or kind in self.kinds)


class Escalation(_Part):
    """Whom an incident is told to when nobody has acknowledged it `after_min` minutes after it was first told."""

    to: Name
    after_min: float = Field(gt=0.0, le=7 * 24 * 60)
    at_least: Severity = Severity.CRITICAL

    @property
    def after(self) -> timedelta:
        """The time given to those who were told first."""
        return timedelta(minutes=self.after_min)


class NotifySettings(_Part):
    """The whole file.

    Attributes:
        public_url: What links begin with; empty: a message has no link.
        digest_from: From so many new messages at once a target gets one that lists them.
        max_age_h: What is older than this when first seen is not told any more (a file that comes late).
    """

    public_url: str = ""
    quiet: Quiet | None = None
    target: tuple[Target, ...] = ()
    escalation: tuple[Escalation, ...] = ()
    digest_from: int = Field(default=4, ge=2)
    max_age_h: float = Field(default=24.0, gt=0.0)
    version: Literal[1] = 1

    @model_validator(mode="after")
    def _named(self) -> "NotifySettings":
        names = [one.name for one in self.target]
        if len(set(names)) != len(names):
            raise ValueError("two targets have the same name")
        if strange := sorted({one.to for one in self.escalation} - set(names)):
            raise ValueError(f"escalation to {', '.join(strange)}, which is no target")
        return self

    def named(self, name: str) -> Target | None:
        """Return a target."""
        return next((one for one in self.target if one.name == name), None)


def rank(severity: Severity) -> int:
    """Return how grave, 0 upward."""
    return _RANKS.index(severity)


def parse_settings(text: str) -> NotifySettings:
    """Return what a notification file says.

    Raises:
        NotifySettingsError: It is not TOML or says something else than it may; no value is repeated in the message.
    """
    try:
        return NotifySettings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        # The parser's own words may quote the text around the fault, which may be a password.
        where = str(error).rpartition("(at ")[2].rstrip(")")
        raise NotifySettingsError(f"the notification file is not TOML: look at {where}") from None
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in one['loc']) or 'file'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise NotifySettingsError("the notification file: " + "; ".join(faults)) from None


def load_settings(path: Path) -> NotifySettings | None:
    """Return what the file says, None where there is none: then nobody is told anything.

    Raises:
        NotifySettingsError: It cannot be used, or others than its owner may open it.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise NotifySettingsError(
            f"{path} holds secrets and others may open it, or it is not ours; chmod 600 it"
        )
    return parse_settings(path.read_text(encoding="utf-8"))
