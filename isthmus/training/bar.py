"""The progress bar: loss, held-out loss and time left, on a terminal and nowhere else."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Bar"]


class Bar:
    """Draws itself on standard error once two seconds have passed; silent when that is not a terminal.

    Parameters
    ----------
    title : what is going on
    show : True draws everywhere, False nowhere, None on a terminal only
    """

    def __init__(self, title: str, show: bool | None = None) -> None:
        self.title = title
        self.wanted = sys.stderr.isatty() if show is None else show
        self.progress: Any = None
        self.task: Any = None
        self.last_held_out: float | None = None

    def show(self, done: float, loss: float, seconds: float) -> None:
        """``done`` from 0 to 1; ``loss`` a training loss; ``seconds`` since the start."""
        if not self.wanted or (seconds < 2 and self.progress is None):
            return
        if self.progress is None:
            self.progress, self.task = _drawn(self.title)
        held_out = "" if self.last_held_out is None else f" held out {self.last_held_out:.4g}"
        self.progress.update(self.task, completed=done, loss=f"loss {loss:.4g}{held_out}")

    def held_out(self, value: float) -> None:
        """The latest held-out loss."""
        self.last_held_out = value

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def _drawn(title: str) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task(title, total=1.0, loss="")
    progress.start()
    return progress, task
