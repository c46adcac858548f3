"""How long `rclip -i` takes to be there: from the command to what its terminal gets.

    .venv/bin/python benchmarks/interface.py --quick
    .venv/bin/python benchmarks/interface.py --json build/interface.json

Drawn photos of 640x480 are indexed, and the command is run with a query on a pseudo-terminal of 120 columns and 40
lines that draws no pictures: they are half-blocks in 24-bit colors:

frame            the search box with the query in it
pictures         the first thumbnail
screen           all that is drawn before it is at rest: the first screen of thumbnails
process          processor time of the whole process, which is ended then

"cold" is with no thumbnails made, "warm" with all. Disk caches are warm.
"""

import fcntl
import os
import pty
import resource
import select
import shutil
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Any

from common import (
    Ours,
    draw_photos,
    emptied,
    environment,
    keep,
    parse,
    parser,
    prepared,
    print_head,
    print_table,
    say,
    spread,
    spread_cells,
    timed_run,
)

COLUMNS, LINES = 120, 40
WORD = "parrots"
"""The query: a text of one word, which is drawn in one piece."""
HALF_BLOCK = "▀".encode()
QUESTION, ANSWER = b"\x1b[c", b"\x1b[?1;2c"
"""What rclip asks last about the terminal, and what one says that draws no pictures."""
AT_REST_S = 0.5
"""Without anything new on the screen."""
LONGEST_S = 60.0
CASES = ("frame", "pictures", "screen", "process")


def run(ours: Ours, data_dir: Path, library: Path) -> dict[str, float]:
    """Seconds of each case."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    before = _processor_time()
    started = time.perf_counter()
    process = subprocess.Popen(
        [*ours.command, "-i", "-n", WORD],
        cwd=library,
        env=environment(data_dir) | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        found = _watched(master, started)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
    return found | {"process": _processor_time() - before}


def _watched(master: int, started: float) -> dict[str, float]:
    """When the terminal had got what."""
    marks = {"frame": WORD.encode(), "pictures": HALF_BLOCK}
    found: dict[str, float] = {}
    out = b""
    is_answered = False
    while len(found) <= len(marks) or time.perf_counter() - found["screen"] < AT_REST_S:
        now = time.perf_counter() - started
        if now > LONGEST_S:
            raise SystemExit(f"no first screen in {LONGEST_S:.0f} s:\n{out[-2000:]!r}")
        if not select.select([master], [], [], 0.01)[0]:
            continue
        out += os.read(master, 65536)
        if not is_answered and QUESTION in out:
            os.write(master, ANSWER)
            is_answered = True
        now = time.perf_counter() - started
        found |= {case: now for case, mark in marks.items() if case not in found and mark in out}
        found["screen"] = now
    return found


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(ours: Ours, scratch: Path, photos: int, runs: int) -> list[dict[str, Any]]:
    folder = emptied(scratch / "interface")
    library, data_dir = folder / "photos", folder / "data"
    say(f"{photos:,} photos: drawing and indexing them")
    draw_photos(library, 640, 480, photos)
    ours.new_data_dir(data_dir)
    timed_run(ours, data_dir, library, ("--index",))
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(runs):
        shutil.rmtree(data_dir / "thumbnails", ignore_errors=True)
        for thumbnails, of_each in found.items():
            of_each.append(run(ours, data_dir, library))
            say(f"{thumbnails}: first screen after {of_each[-1]['screen']:.2f} s")
    shutil.rmtree(folder)
    results = []
    for thumbnails, of_each in found.items():
        for case in CASES:
            seconds = [each[case] for each in of_each]
            results.append({"case": f"{case}, {thumbnails}", "n": photos, "runs": seconds, **spread(seconds)})
    return results


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--photos", type=int, default=200)
    options = parse(made, {"photos": 12})
    ours = prepared(options)
    metadata = print_head([ours])
    results = measure(ours, options.scratch, options.photos, options.runs)
    lines = [("case", "photos", "runs", "min s", "median s", "max s")]
    lines += [(each["case"], str(each["n"]), str(len(each["runs"])), *spread_cells(each)) for each in results]
    print_table(lines)
    keep(options.json, {**metadata, "results": results})


if __name__ == "__main__":
    main()
