"""Every page of an installation in which nothing is there yet: it draws, and says what to do."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.services import DatabaseServer
from tests.ui.console.conftest import LiveApi, serving_api
from tests.ui.console.examples import PAGES
from tests.ui.console.test_pages import drawn
from tests.ui.ops.waiting import wait_for
from ui.console import texts
from ui.ops.ports import free_port

pytestmark = pytest.mark.database
# Page -> what it says where there is nothing to show. The audit trail is never empty: a login stands in it.
SAID = {
    "fleet": texts.NO_SITES,
    "site": texts.NO_SITES,
    "incidents": texts.INCIDENTS_NONE["open"],
    "chat": texts.CHAT_EMPTY,
    "plans": texts.PLANS_NONE,
    "audit": texts.AUDIT_HINT,
    "forecasts": texts.FORECASTS_NONE,
    "health": texts.NO_SITES,
    "quality": texts.QUALITY_NONE,
    "library": texts.KNOWLEDGE_NONE,
    "settings": texts.SETTINGS_NO_TOKENS,
}


@pytest.fixture(scope="module")
def empty_api(postgres_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with (
        postgres_server.fresh() as database,
        serving_api(database, tmp_path_factory.mktemp("empty-api"), free_port()) as api,
    ):
        with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
            owner.execute("TRUNCATE site, feeder, incident, plan, thread, document, api_token CASCADE")
            owner.execute("TRUNCATE site_quality, reading_latest, quarantine CASCADE")
        client = api.client("ada")
        assert wait_for(lambda: not client.get("/v1/fleet")["sites"], within_s=20.0)
        yield api


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_page_says_what_to_do(empty_api: LiveApi, page: str) -> None:
    test = drawn(empty_api, "ada", page)
    shown = [one.value for kind in (test.info, test.success, test.caption, test.warning) for one in kind]
    assert SAID[page] in shown
    assert not test.error
