from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services import Database
from tests.ui.api.world import World, world_over


@pytest.fixture
async def world(module_database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """The module's database with the application opened afresh for each test."""
    async with world_over(module_database, tmp_path) as opened:
        yield opened
