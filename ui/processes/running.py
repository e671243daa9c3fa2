"""How every process runs: logs to standard error, stops cleanly on SIGTERM and Ctrl-C."""

import asyncio
import gc
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TextIO

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """One line a record: time, level, logger, the fixed phrase, then its fields as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        line = super().format(record)
        return f"{line} {json.dumps(fields, default=str)}" if fields else line


def log_to(stream: TextIO = sys.stderr, level: int = logging.INFO) -> None:
    """Send our records to a stream; libraries only from warnings on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(FieldFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("agents", "tools", "telemetry", "knowledge", "ui", "edge"):
        logging.getLogger(name).setLevel(level)


def collect_garbage_seldom() -> None:
    """Let the collector look at what is loaded never, and at the rest after 20,000 new objects instead of 700.

    A fleet's state is tens of thousands of objects without cycles, made and dropped at each look: the collector's visits
    cost a third of reading the latest state of 5,000 sites.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def run_until_stopped(body: Callable[[], Awaitable[None]]) -> int:
    """Run a process's body until it returns, or SIGTERM or SIGINT cancels it; return the exit status."""
    collect_garbage_seldom()
    return asyncio.run(_stoppable(body))


async def _stoppable(body: Callable[[], Awaitable[None]]) -> int:
    task = asyncio.ensure_future(body())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    return 0
