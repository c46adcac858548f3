"""How many cores numpy's matrix products take, which is a setting of the whole process.

The command gives them one, which is best for one query (`cli.main`).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CORES = os.cpu_count() or 1

_turn = threading.Lock()


@contextmanager
def all_cores() -> Iterator[None]:
    """For as long as the block runs. Threads that ask for it take turns, or one would restore another's setting."""
    from threadpoolctl import ThreadpoolController

    with _turn, ThreadpoolController().limit(limits=CORES, user_api="blas"):
        yield
