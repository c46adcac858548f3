"""Files mapped into memory."""

import mmap


def give_back(memory: mmap.mmap, begin: int, end: int) -> None:
    """Has the pages of these bytes not count as this process's memory any more."""
    begin -= begin % mmap.PAGESIZE
    memory.madvise(mmap.MADV_DONTNEED, begin, end - begin)
