"""Messages to people over the API: targets without their secrets, a test that really arrives, a file that is at fault."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.edge.safety.examples import NOW
from tests.tools.notify.receivers import web_receiver
from tests.ui.api.world import World, one_person_plan
from ui.api.app import create_app
from ui.api.notices import notifier
from ui.api.services import open_services
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


@asynccontextmanager
async def told_by(world: World, file: Path) -> AsyncIterator[World]:
    """Give the world's API a notification file."""
    async with open_services(
        world.database.dsn(DatabaseRole.API),
        clock=world.clock,
        policy_file=file,
        secret=bytes(32),
        wall=world.wall,
        notify_file=file,
    ) as services:
        transport = httpx.ASGITransport(app=create_app(services), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            yield World(
                database=world.database,
                services=services,
                app=world.app,
                client=client,
                clock=world.clock,
                wall=world.wall,
                tokens=world.tokens,
            )


def written(folder: Path, text: str) -> Path:
    file = folder / "notify.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


async def test_a_test_message_arrives_and_no_address_is_told(world: World, tmp_path: Path) -> None:
    with web_receiver() as receiver:
        url = receiver.url("a-secret-path")
        file = written(
            tmp_path,
            f'public_url = "https://cw.example"\n[[target]]\nname = "desk"\nurl = "{url}"\nat_least = "warning"\n',
        )
        async with told_by(world, file) as told:
            found = await told.ask("olga", "GET", "/v1/notifications/targets")
            assert [one["name"] for one in found.json()["targets"]] == ["desk"]
            assert "a-secret-path" not in found.text
            assert (await told.ask("olga", "POST", "/v1/notifications/test", {})).status_code == 403
            tested = await told.ask("ada", "POST", "/v1/notifications/test", {"target": "desk"})
            assert [(one["target"], one["ok"]) for one in tested.json()] == [("desk", True)]
            assert (
                await told.ask("ada", "POST", "/v1/notifications/test", {"target": "x"})
            ).status_code == 404
        assert len(receiver.bodies) == 1
    assert [entry[1] for entry in world.audit("notification.tested")] == ["ada"]


async def test_a_file_at_fault_is_said_and_nothing_of_it_told(world: World, tmp_path: Path) -> None:
    async with told_by(world, written(tmp_path, '[[target]]\nurl = "json://u:hunter2@h"\n')) as told:
        found = (await told.ask("olga", "GET", "/v1/notifications/targets")).json()
        assert found["targets"] == []
        assert "name" in found["fault"]
        assert "hunter2" not in found["fault"]
        assert (await told.ask("ada", "POST", "/v1/notifications/test", {})).status_code == 409


async def test_without_a_file_nobody_is_told(world: World) -> None:
    assert (await world.get("/v1/notifications/targets", "olga")) == {"fault": None, "targets": []}
    assert (await world.get("/v1/notifications", "olga")) == {"items": [], "next_cursor": None}
    assert (await world.ask("ada", "POST", "/v1/notifications/test", {})).status_code == 409


async def test_somebody_is_told_once_of_sites_that_did_not_answer(world: World, tmp_path: Path) -> None:
    plan = await world.plan(one_person_plan("plan-silent"))
    world.sql(
        "INSERT INTO command VALUES ('c-silent', 'plan-silent', 'site-1', 91, 'schedule', 'x', 'd', 'k', %s, %s, %s, %s,"
        " 'missing')", NOW, NOW, plan.window_start, plan.window_end, role=DatabaseRole.CONTROL,
    )  # fmt: skip
    with web_receiver() as receiver:
        file = written(
            tmp_path,
            f'public_url = "https://cw.example"\n[[target]]\nname = "desk"\nurl = "{receiver.url()}"\nat_least = "warning"\n',
        )
        pool = world.services.pool
        sender = notifier(pool, world.clock, world.wall, file)
        for _ in range(3):
            await sender.look()
    told = [body for body in receiver.bodies if "no answer" in str(body)]
    assert len(told) == 1
    assert "site-1 did not answer the commands of plan-silent in time" in str(told[0])
    assert "https://cw.example/m/plans/plan-silent" in str(told[0])
    world.sql("UPDATE command SET state = 'ended' WHERE command_id = 'c-silent'", role=DatabaseRole.CONTROL)
    assert await world.services.dispatch.missing(NOW) == ()
