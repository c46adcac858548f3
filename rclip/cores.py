"""How many cores this process may use."""

import os

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Those that it has been given, by a batch system, a container or `taskset`: the machine may have more."""
