"""One thing that `cellwatt-gateway --check` tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was tried and found: `fix` is empty where it is in order, `unknown` where it could not be told."""

    what: str
    found: str
    fix: str = ""
    unknown: bool = False
