"""A plan judged on demand: the same rules on fresh state, and nothing written."""

from datetime import timedelta

import pytest

from tests.edge.safety.examples import NOW, a_plan, schedule_of
from tests.ui.api.test_fleet import put_forecasts
from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def test_a_plan_is_judged_on_the_state_of_this_moment_and_nothing_is_written(world: World) -> None:
    plan = await world.plan(a_plan(schedule_of("site-1", (16, -512.0)), plan_id="plan-check"))
    before = world.sql("SELECT count(*) FROM plan_verdict WHERE plan_id = 'plan-check'")
    path = f"/v1/plans/{plan.plan_id}/validate"
    blind = (await world.ask("olga", "POST", path)).json()
    assert blind["approved"] is False
    assert {"S3", "S6"} <= {
        one["rule"] for one in blind["doc"]["broken"]
    }  # no forecast: nothing may be sent or fed in
    await put_forecasts(world)
    seen = (await world.ask("olga", "POST", path)).json()
    assert seen["approved"] is True, seen["doc"]
    assert {f"S{number}" for number in range(1, 22)} <= {one["rule"] for one in seen["doc"]["passed"]}
    world.clock.at = NOW + timedelta(minutes=8)
    late = (await world.ask("olga", "POST", path)).json()
    assert {one["rule"] for one in late["doc"]["broken"]} == {"S7"}  # nothing heard for nine minutes
    assert world.sql("SELECT count(*) FROM plan_verdict WHERE plan_id = 'plan-check'") == before
    assert (await world.ask("vic", "POST", path)).status_code == 403
    assert (await world.ask("olga", "POST", "/v1/plans/none-such/validate")).status_code == 404
