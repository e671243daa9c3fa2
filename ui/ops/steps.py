"""Progress on the screen: one bar per step, or one plain line per step where nobody looks at a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """One step under way."""

    def say(self, what: str) -> None:
        """Show what is happening right now."""
        ...

    def reach(self, frac: float) -> None:
        """Show how far the step is, 0..1."""
        ...


class Steps(Protocol):
    """Shows steps; each is a `with` block."""

    def step(self, name: str) -> AbstractContextManager[Step]:
        """Show a step until its block ends."""
        ...


@dataclass(slots=True)
class _BarStep:
    progress: Progress
    task: TaskID

    def say(self, what: str) -> None:
        self.progress.update(self.task, what=what[:60])

    def reach(self, frac: float) -> None:
        self.progress.update(self.task, total=1.0, completed=min(max(frac, 0.0), 1.0))


class BarSteps:
    """Bars on a terminal."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[what]}"),
            console=Console(file=stream),
        )

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a bar until the block ends; a block that raises leaves it unfinished."""
        if not self._progress.live.is_started:
            self._progress.start()
        task = self._progress.add_task(name, total=None, what="")
        try:
            yield _BarStep(self._progress, task)
        except BaseException:
            self._progress.stop()
            raise
        self._progress.update(task, total=1.0, completed=1.0)

    def close(self) -> None:
        """Leave the finished bars on the screen."""
        self._progress.stop()


@dataclass(slots=True)
class _LineStep:
    def say(self, what: str) -> None:
        """Details are for people who watch."""

    def reach(self, frac: float) -> None:
        """Details are for people who watch."""


@dataclass(slots=True)
class LineSteps:
    """One line per finished step, for logs."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Print the step's name and seconds when the block ends."""
        start_s = time.monotonic()
        try:
            yield _LineStep()
        except BaseException as error:
            print(f"{name}: failed, {error}", file=self.stream, flush=True)
            raise
        print(f"{name}: {time.monotonic() - start_s:.1f} s", file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


def steps_for(stream: TextIO = sys.stderr) -> BarSteps | LineSteps:
    """Return bars for a terminal, lines for anything else."""
    return BarSteps(stream) if stream.isatty() else LineSteps(stream)
