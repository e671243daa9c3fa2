"""What a model's answers cost: counted, and limited in tokens and money; and a model that is not there yet."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from agents.embedded import SLOTS, EmbeddedModel
from agents.model_client import ChatModel, Choice, ModelError, Question

_FIRST = (
    "topic",
    "watch",
)  # what most questions begin with; the other prefixes are read while it already answers
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counted:
    """A model whose answers that cost tokens are told to `count`."""

    model: ChatModel
    count: Callable[[Choice], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.model.label

    async def choose(self, question: Question) -> Choice:
        choice = await self.model.choose(question)
        if choice.prompt_tokens or choice.answer_tokens:
            await self.count(choice)
        return choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was used, in a thread or on a day: tokens, and money where the tokens have a price."""

    tokens: int = 0
    money: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What tokens cost, in any one currency per million; zero for a model of one's own."""

    prompt_per_million: float = 0.0
    answer_per_million: float = 0.0

    def of(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return the money for so many tokens."""
        return (prompt_tokens * self.prompt_per_million + answer_tokens * self.answer_per_million) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that may be used; None: as much as is asked for."""

    tokens: int | None = None
    money: float | None = None

    def used_up_by(self, spent: Spent) -> str:
        """Return which limit is reached, in words; empty while none is."""
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"{self.tokens} tokens"
        if self.money is not None and spent.money >= self.money:
            return f"{self.money:g} in money"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits per thread and per day (the last 24 h), and the price that turns tokens into money."""

    thread: Budget = Budget()
    day: Budget = Budget()
    price: Price = Price()

    @property
    def unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self.thread == self.day == Budget()


class OverBudgetError(ModelError):
    """A budget is used up: the fallback answers this question, and the next where it still is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeted:
    """A model that is not asked once what was spent reaches a limit; put it inside `WithFallback`."""

    model: ChatModel
    spent: Callable[[], Awaitable[Spent]]
    budget: Budget
    what: str = "its budget"

    @property
    def label(self) -> str:
        return self.model.label

    async def choose(self, question: Question) -> Choice:
        if limit := self.budget.used_up_by(await self.spent()):
            raise OverBudgetError(f"{self.what} of {limit} is used up")
        return await self.model.choose(question)


@dataclass(slots=True, kw_only=True)
class WhenReady:
    """The embedded model once its server answers and its prefixes are read; until then the fallback answers at once."""

    model: EmbeddedModel
    look_every: timedelta = timedelta(seconds=5)
    told: Callable[[], None] = lambda: None
    _ready: bool = field(default=False)

    @property
    def label(self) -> str:
        return self.model.label

    @property
    def is_ready(self) -> bool:
        """Whether it is asked."""
        return self._ready

    async def choose(self, question: Question) -> Choice:
        if not self._ready:
            raise ModelError("it is not ready yet (it is being fetched or loaded)")
        return await self.model.choose(question)

    async def watch(self) -> None:
        """Look until the server answers, let it read its prefixes, and from then on ask it. Runs beside the loop."""
        while not self._ready:
            if await self.model.ready():
                with suppress(ModelError):
                    await self.model.warm(_FIRST)
                    self._ready = True
                    self.told()
                    _log.info("the embedded language model is asked from now on", extra={"model": self.label})
                    await self.model.warm(name for name in SLOTS if name not in _FIRST)
                    return
            await asyncio.sleep(self.look_every.total_seconds())
