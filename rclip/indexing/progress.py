"""How far an update has come, as events for whoever shows it."""

import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

Stage = Literal["listing", "reading", "metadata"]


class Progress(NamedTuple):
    """How far one stage of the update of one folder has come."""

    stage: Stage
    """`listing` the folders, `reading` new and changed photos, `metadata` of photos that an older rclip has indexed."""
    done: int
    """Files that this stage is done with."""
    total: int | None
    """All files of the stage; None while they are being listed."""
    rate: float
    """Files a second since the stage began; 0 at its start."""
    hosts: Mapping[str, float] = {}
    """Photos a second by the names of the machines that read them, where there are several."""


Report = Callable[[Progress], None]
"""Called with each event, in the thread that updates. An exception that it raises ends the update."""


def of_stage(
    stage: Stage, report: Report | None, hosts: Callable[[], Mapping[str, float]] = dict
) -> Callable[[int, int | None], None]:
    """A function to be called with the files done and the total, which passes them to `report` as an event."""
    if report is None:
        return lambda done, total: None
    started_s = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        elapsed_s = time.monotonic() - started_s
        report(Progress(stage, done, total, done / elapsed_s if done and elapsed_s else 0.0, hosts()))

    return tell


class ListedFiles:
    """Counts the files of the stage `listing`."""

    def __init__(self, report: Report | None):
        self._tell = of_stage("listing", report)
        self._count = 0
        self._tell(0, None)

    def add(self, files: int) -> None:
        """So many of another folder."""
        self._count += files
        self._tell(self._count, None)

    def end(self) -> None:
        """All folders are listed."""
        self._tell(self._count, self._count)
