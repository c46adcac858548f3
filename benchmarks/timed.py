"""Runs a command and writes what it took to a file: `python -I -S timed.py REPORT COMMAND [ARGUMENT ...]`.

A program of its own because Linux counts the memory of the process that starts a command to that command's peak: this
one has ten megabytes, a benchmark that has just made a million vectors has gigabytes.
"""

import json
import os
import sys
import time


def main(report: str, *command: str) -> None:
    """The command inherits folder, environment and streams; `peak_bytes` counts mapped files that were touched."""
    started = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    with open(report, "w", encoding="utf-8") as file:
        json.dump(
            {
                "seconds": seconds,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "peak_bytes": usage.ru_maxrss * unit_bytes,
                "exit_status": os.waitstatus_to_exitcode(status),
            },
            file,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
