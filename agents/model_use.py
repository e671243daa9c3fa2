"""What a model's answers cost: counted, and limited."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agents.model_client import ChatModel, Choice, Question, UnreachableModelError


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


@dataclass(frozen=True, slots=True)
class Budgeted:
    """A model that is not asked once `spent` has reached `limit` tokens; put it inside `WithFallback`."""

    model: ChatModel
    spent: Callable[[], Awaitable[int]]
    limit: int

    @property
    def label(self) -> str:
        return self.model.label

    async def choose(self, question: Question) -> Choice:
        if await self.spent() >= self.limit:
            raise UnreachableModelError(f"its budget of {self.limit} tokens is used up")
        return await self.model.choose(question)
