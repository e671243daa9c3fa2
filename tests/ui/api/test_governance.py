"""The policy in force and the model's use, as operators see them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.safety.policy import load_policy
from tests.edge.safety.examples import NOW
from tests.ui.api.world import World
from ui.api.model_use import Limits, model_settings
from ui.ops.secrets import DatabaseRole

ON_LOOP = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
ENDPOINT = {
    "OPENAI_BASE_URL": "https://who:secret@models.example:8443/v1?key=secret", "OPENAI_MODEL": "large-1",
    "OPENAI_API_KEY": "secret", "CELLWATT_TOKENS_PER_DAY": "200000", "CELLWATT_MONEY_PER_THREAD": "0.5",
    "OPENAI_PRICE_PER_MILLION_PROMPT": "2", "OPENAI_PRICE_PER_MILLION_ANSWER": "10",
}  # fmt: skip


def test_the_endpoint_is_named_by_its_host_alone() -> None:
    found = model_settings(ENDPOINT)
    assert (found.planner, found.name, found.host) == ("endpoint", "large-1", "models.example")
    assert (found.day, found.thread) == (Limits(tokens=200_000), Limits(money=0.5))
    assert found.money(1_000_000, 100_000) == 3.0
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("env", "planner"),
    [
        ({}, "policy"),
        ({"CELLWATT_LLM_URL": "http://127.0.0.1:1"}, "embedded"),
        ({"CELLWATT_LLM_URL": "http://127.0.0.1:1", "LLM": "none"}, "policy"),
        ({"OPENAI_BASE_URL": "https://models.example"}, "policy"),
        ({"OPENAI_BASE_URL": "https://[broken", "OPENAI_MODEL": "m"}, "endpoint"),
    ],
)
def test_the_planner_is_the_one_that_the_loop_takes(env: dict[str, str], planner: str) -> None:
    assert model_settings(env).planner == planner


class TestOverHttp:
    pytestmark = ON_LOOP

    async def test_the_tiers_in_force_come_least_first(self, world: World) -> None:
        found = await world.get("/v1/settings/policy", "olga")
        assert [one["tier"] for one in found["tiers"]] == ["automatic", "one_person", "two_persons"]
        assert found["why"] == ""
        first = found["tiers"][0]
        assert (first["max_total_w"], first["max_sites"], first["max_depth_frac"]) == (1024.0, 4, 0.25)
        assert (first["simulated_only"], first["modes"], first["max_validity_h"]) == (True, ["normal"], 24.0)

    async def test_without_a_policy_nobody_may_and_why_is_said(self, own_world: World) -> None:
        services = own_world.app.state.services
        own_world.app.state.services = replace(
            services, policy=lambda: load_policy(Path("/nowhere/policy.toml"))
        )
        found = await own_world.get("/v1/settings/policy", "olga")
        assert found["tiers"] == []
        assert found["why"].startswith("no approval policy in force")

    async def test_what_models_used_in_a_day_is_added_up(self, world: World) -> None:
        world.thread("chat-model", "chat")
        for hours, model, prompt, answer in [
            (25, "old", 9, 9),
            (3, "a", 100, 20),
            (2, "b", 10, 1),
            (1, "a", 200, 30),
        ]:
            world.sql(
                "INSERT INTO model_use (thread_id, at, model, prompt_tokens, answer_tokens, seconds)"
                " VALUES ('chat-model', %s, %s, %s, %s, 1.0)",
                NOW - timedelta(hours=hours), model, prompt, answer, role=DatabaseRole.LOOP,
            )  # fmt: skip
        found = await world.get("/v1/settings/model", "olga")
        assert (found["planner"], found["used_tokens"], found["used_money"]) == ("policy", 361, 0.0)
        assert [(one["model"], one["answers"], one["tokens"]) for one in found["used"]] == [
            ("a", 2, 350),
            ("b", 1, 11),
        ]
        assert found["per_day"] == {"tokens": None, "money": None}
