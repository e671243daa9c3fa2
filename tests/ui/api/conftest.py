from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.services import Database
from tests.ui.api.world import World, reset, world_over


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_world(
    module_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("api")
    async with world_over(module_database, folder) as opened:
        yield opened


@pytest.fixture
def world(module_world: World) -> World:
    """The module's application and database, with time, people and sessions as at first."""
    reset(module_world)
    return module_world


@pytest_asyncio.fixture(loop_scope="module")
async def own_world(module_database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """An application of the test's own over the module's database: serving ends it."""
    async with world_over(module_database, tmp_path) as opened:
        yield opened
