"""Which planner the installation is set to, and what language models have used: no key, no address beyond the host."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Literal
from urllib.parse import urlsplit

Planner = Literal["endpoint", "embedded", "policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that models may use in one conversation or in 24 h; None: no limit."""

    tokens: int | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What the loop is set to, as far as people may see it.

    Attributes:
        planner: Which is asked first; the policy planner stands behind the others.
        name: The model's name at the endpoint.
        host: Of the endpoint, without path, user or password.
        thread: Limits of one conversation.
        day: Limits of the last 24 h.
        prompt_per_million: Price of a million prompt tokens, in any one currency.
        answer_per_million: Price of a million answer tokens.
    """

    planner: Planner = "policy"
    name: str = ""
    host: str = ""
    thread: Limits = Limits()
    day: Limits = Limits()
    prompt_per_million: float = 0.0
    answer_per_million: float = 0.0

    def money(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return the price of so many tokens."""
        return (prompt_tokens * self.prompt_per_million + answer_tokens * self.answer_per_million) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """What one model used since an instant."""

    model: str
    answers: int
    prompt_tokens: int
    answer_tokens: int
    last_at: datetime


def model_settings(env: Mapping[str, str]) -> ModelSettings:
    """Return what the same variables tell the loop; a figure that it would refuse to start with counts as none here."""
    base_url, name = env.get("OPENAI_BASE_URL", ""), env.get("OPENAI_MODEL", "")
    planner: Planner = "policy"
    if base_url and name:
        planner = "endpoint"
    elif env.get("CELLWATT_LLM_URL") and not base_url and env.get("LLM", "").lower() != "none":
        planner = "embedded"
    at_endpoint = planner == "endpoint"
    return ModelSettings(
        planner=planner,
        name=name if at_endpoint else "",
        host=_host(base_url) if at_endpoint else "",
        thread=_limits(env, "THREAD"),
        day=_limits(env, "DAY"),
        prompt_per_million=_figure(env, "OPENAI_PRICE_PER_MILLION_PROMPT") or 0.0,
        answer_per_million=_figure(env, "OPENAI_PRICE_PER_MILLION_ANSWER") or 0.0,
    )


def _limits(env: Mapping[str, str], per: str) -> Limits:
    tokens = _figure(env, f"CELLWATT_TOKENS_PER_{per}")
    return Limits(
        tokens=None if tokens is None else int(tokens), money=_figure(env, f"CELLWATT_MONEY_PER_{per}")
    )


def _figure(env: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(env.get(name, ""))
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0.0 else None


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:
        return ""
