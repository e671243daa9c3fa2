"""A conversation followed over the API's stream, through a relay that can be cut: what comes, and what is asked for then."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.edge.safety.examples import NOW
from tests.ui.api.world import PASSWORD
from tests.ui.console.conftest import LiveApi
from tests.ui.ops.waiting import wait_for
from ui.console.api_client import ApiClient, log_in, open_http
from ui.console.following import Following
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database
SOON_S = 20.0


@dataclass(slots=True, kw_only=True)
class Relay:
    """Passes connections on to the API, as a proxy does, and can cut them all."""

    loop: asyncio.AbstractEventLoop
    port: int = 0
    streams: bool = True
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """End every connection; the loop runs in another thread."""
        self.loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port)
        self._open |= {writer, there_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))
        for one in (writer, there_writer):
            one.close()
            self._open.discard(one)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while part := await source.read(65_536):
            if b"text/event-stream" in part and not self.streams:
                target.transport.abort()
                return
            target.write(part)
        target.transport.abort()


@pytest.fixture
def relay(live_api: LiveApi) -> Iterator[Relay]:
    there = urlsplit(live_api.url)
    loop = asyncio.new_event_loop()
    made, ready, stop = Relay(loop=loop), threading.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening() -> AsyncIterator[None]:
        server = await asyncio.start_server(
            lambda reader, writer: made.pass_on(reader, writer, there.hostname or "", there.port or 0),
            "127.0.0.1",
            0,
        )
        made.port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        made._cut()

    async def run() -> None:
        async with listening():
            ready.set()
            await stop.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert ready.wait(SOON_S)
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(SOON_S)
        loop.close()


@pytest.fixture
def thread_id(live_api: LiveApi, request: pytest.FixtureRequest) -> str:
    name = f"follow-{request.node.name[:60]}".replace("[", "-").replace("]", "")
    with psycopg.connect(live_api.database.dsn(DatabaseRole.LOOP), autocommit=True) as loop:
        loop.execute("INSERT INTO thread VALUES (%s, 'chat', 'Followed', 'loop', %s)", [name, NOW])
    return name


def tell(live_api: LiveApi, thread_id: str, *texts: str) -> None:
    """Add events as the loop does."""
    with psycopg.connect(live_api.database.dsn(DatabaseRole.LOOP), autocommit=True) as loop:
        for text in texts:
            loop.execute(
                "INSERT INTO thread_event (thread_id, at, kind, body) VALUES (%s, %s, 'token', %s)",
                [thread_id, NOW, Jsonb({"text": text})],
            )


def texts_of(follow: Following) -> list[str]:
    return [one["body"]["text"] for one in follow.events()]


@contextlib.contextmanager
def followed(relay: Relay, thread_id: str, **settings: float) -> Iterator[tuple[Following, list[str]]]:
    """Give somebody who follows a thread, and every path that they ask for beside the stream."""
    asked: list[str] = []
    with open_http(f"http://127.0.0.1:{relay.port}") as http:
        token, _ = log_in(http, "vic", PASSWORD)
        http.event_hooks["request"].append(lambda request: asked.append(request.url.path))
        follow = Following(ApiClient(http=http, token=token), thread_id, **settings)
        try:
            yield follow, asked
        finally:
            follow.leave()


def test_what_is_said_comes_over_the_stream_and_nobody_asks(
    live_api: LiveApi, relay: Relay, thread_id: str
) -> None:
    tell(live_api, thread_id, "before")
    with followed(relay, thread_id) as (follow, asked):
        assert texts_of(follow) == ["before"]
        assert wait_for(lambda: follow.standing, within_s=SOON_S)
        before = len(asked)
        tell(live_api, thread_id, "one", "two")
        assert wait_for(lambda: texts_of(follow) == ["before", "one", "two"], within_s=SOON_S)
        assert len(asked) == before


def test_when_the_stream_breaks_events_are_asked_for_and_none_is_lost_or_doubled(
    live_api: LiveApi, relay: Relay, thread_id: str
) -> None:
    with followed(relay, thread_id, again_after_s=0.2) as (follow, asked):
        assert texts_of(follow) == []
        assert wait_for(lambda: follow.standing, within_s=SOON_S)
        relay.streams = False
        relay.cut()
        assert wait_for(lambda: not follow.standing, within_s=SOON_S)
        tell(live_api, thread_id, "one")
        before = len(asked)
        assert texts_of(follow) == ["one"]
        assert len(asked) > before
        relay.streams = True
        assert wait_for(lambda: texts_of(follow) == ["one"] and follow.standing, within_s=SOON_S)
        tell(live_api, thread_id, "two")
        assert wait_for(lambda: texts_of(follow) == ["one", "two"], within_s=SOON_S)


def test_where_no_stream_gets_through_asking_is_enough(
    live_api: LiveApi, relay: Relay, thread_id: str
) -> None:
    relay.streams = False
    with followed(relay, thread_id) as (follow, _):
        assert texts_of(follow) == []
        tell(live_api, thread_id, "one")
        assert wait_for(lambda: texts_of(follow) == ["one"], within_s=SOON_S)
        assert not follow.standing


def test_a_conversation_that_is_left_or_forgotten_is_read_no_further(
    live_api: LiveApi, relay: Relay, thread_id: str
) -> None:
    for leave, forgotten_after_s in ((True, 60.0), (False, 2.0)):
        with followed(relay, thread_id, forgotten_after_s=forgotten_after_s) as (follow, _):
            follow.events()
            assert wait_for(lambda: follow.standing, within_s=SOON_S)
            if leave:
                follow.leave()
            # The API's sign of life comes every 200 ms here, and the reader notices with it.
            assert wait_for(lambda: not follow.standing, within_s=SOON_S)
            assert wait_for(lambda: follow._reader is None or not follow._reader.is_alive(), within_s=SOON_S)


def test_a_stream_for_whom_the_api_does_not_know_is_no_stream(live_api: LiveApi, thread_id: str) -> None:
    with httpx.Client(base_url=live_api.url, trust_env=False) as http:
        follow = Following(ApiClient(http=http, token="cw_over"), thread_id)
        follow._read()
    assert not follow.standing
