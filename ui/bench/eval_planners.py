"""The planners that can be evaluated, by name, each as it is served."""

from __future__ import annotations

import os

from agents.embedded import NAME as EMBEDDED
from agents.embedded import Embedded, EmbeddedModel
from agents.model_client import ChatModel, Endpoint, EndpointModel, ModelError, WithFallback
from agents.policy import PolicyPlanner
from ui.bench.harness import BenchmarkError


def planner(name: str) -> ChatModel:
    """Return the planner of that name.

    Raises:
        BenchmarkError: There is none, or the endpoint is not set in the environment.
    """
    if name == "policy":
        return PolicyPlanner()
    if name == "embedded":
        url = os.environ.get("CELLWATT_LLM_URL")
        if not url:
            raise BenchmarkError(
                "set CELLWATT_LLM_URL to the embedded server (`cellwatt llm serve` starts one and says where)"
            )
        embedded = EmbeddedModel(embedded=Embedded(base_url=url, model=EMBEDDED))
        # As it is served: where it finds no tool or answers nonsense the policy planner takes over, which is counted.
        return WithFallback(primary=embedded, fallback=PolicyPlanner(), timeout=embedded.embedded.timeout)
    if name != "endpoint":
        raise BenchmarkError(f"no planner {name!r}; there are: embedded, policy, endpoint")
    url, model = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_MODEL")
    if not url or not model:
        raise BenchmarkError("an endpoint needs OPENAI_BASE_URL and OPENAI_MODEL (and OPENAI_API_KEY)")
    return EndpointModel(
        Endpoint(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none"), model=model)
    )


async def warmed(model: ChatModel) -> ChatModel:
    """Return the planner as it is asked in operation: the embedded server has read its prefixes, once since it started.

    Raises:
        BenchmarkError: The embedded server does not answer; the fallback's figures would be called the model's.
    """
    if isinstance(model, WithFallback) and isinstance(model.primary, EmbeddedModel):
        try:
            await model.primary.warm()
        except ModelError as error:
            raise BenchmarkError(f"{model.label}: {error.reason}") from error
    return model
