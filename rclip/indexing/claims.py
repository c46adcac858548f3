"""Which files and bytes need no model, because the index has them or is about to."""

import threading
from collections.abc import Iterable

from rclip.index.store import Store
from rclip.indexing.diff import PendingFile


class Claims:
    """What is known of files and bytes, for threads that read and the one that stores."""

    def __init__(self, store: Store):
        self._store = store
        self.lock = threading.Lock()
        """Around the store and what is claimed."""
        self._claimed: set[bytes] = set()
        """Digests of new bytes on their way through decoder and model; other files with them are copies."""

    def knows_file(self, pending: PendingFile) -> bool:
        """Whether this is a photo we know, renamed or linked to.

        A time in whole seconds proves nothing: archives and copying tools set such times, and inodes are used again.
        Nor does one that the photo at this path had when it was read: it is here because there is doubt about that.
        """
        stat, before = pending.file.stat, pending.before
        if stat.mtime_ns % 1_000_000_000 == 0 or (before and before.mtime_ns == stat.mtime_ns):
            return False
        with self.lock:
            return self._store.files.find_identity(stat) is not None

    def claim(self, digest: bytes) -> bool:
        """Whether these bytes are new; if so, they are now the caller's to bring into the store."""
        with self.lock:
            if digest in self._claimed or self._store.files.find_content(digest, b""):
                return False
            self._claimed.add(digest)
            return True

    def release(self, digests: Iterable[bytes | None]) -> None:
        """These are stored, or will not be: the next file with such bytes is looked up, or decoded, again.

        To be called with the lock.
        """
        self._claimed.difference_update(digests)
