"""Seals: bytes are trusted while the file's stat is the same, compared when it is not, never used when they differ."""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from rclip import sealed

CONTENT = bytes(range(256)) * 100


class Seal(NamedTuple):
    of: str
    crc32: int
    stat: list[int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "derived"
    path.write_bytes(CONTENT)
    seal = Seal("something", zlib.crc32(CONTENT), sealed.identity(path.stat()))
    sealed.write(str(tmp_path / "seal"), seal)
    return path


def confirm(path: Path) -> Seal:
    """As a reader does; raises AssertionError where the bytes were compared although the stat is the same."""
    seal = sealed.read(str(path.with_name("seal")), Seal)
    now = seal._replace(stat=sealed.identity(path.stat()))

    def checksum() -> int:
        assert now != seal
        with path.open("rb") as opened:
            return sealed.crc32_of(opened)

    return sealed.confirmed(seal, now, checksum, lambda now: sealed.write(str(path.with_name("seal")), now))


def test_a_file_that_nobody_touched_is_not_read(file: Path) -> None:
    before = file.with_name("seal").stat()
    assert confirm(file).of == "something"
    assert file.with_name("seal").stat() == before


def test_a_file_with_another_stat_is_compared_once(file: Path) -> None:
    os.utime(file, (0, 0))
    assert confirm(file).stat == sealed.identity(file.stat())
    assert sealed.read(str(file.with_name("seal")), Seal) == confirm(file)


def test_other_bytes_are_not_confirmed_and_their_seal_stays(file: Path) -> None:
    seal = file.with_name("seal").read_bytes()
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(ValueError, match="its checksum is wrong"):
        confirm(file)
    assert file.with_name("seal").read_bytes() == seal


def test_a_seal_that_cannot_be_written_keeps_nothing_from_being_read(file: Path) -> None:
    def refuse(seal: Seal) -> None:
        raise PermissionError

    seal = sealed.read(str(file.with_name("seal")), Seal)
    now = seal._replace(stat=[0])
    assert sealed.confirmed(seal, now, lambda: seal.crc32, refuse) == now


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"crc32": 1}', b'{"crc32": 1, "stat": [], "other": 2}'])
def test_what_is_no_seal_is_said(file: Path, content: bytes) -> None:
    file.with_name("seal").write_bytes(content)
    with pytest.raises((ValueError, TypeError)):
        confirm(file)


def test_checksums_are_of_the_first_bytes_where_so_many_are_asked_for(file: Path) -> None:
    with file.open("rb") as opened:
        assert sealed.crc32_of(opened, 1000) == zlib.crc32(CONTENT[:1000])
    with file.open("rb") as opened, pytest.raises(ValueError, match="cut short"):
        sealed.crc32_of(opened, len(CONTENT) + 1)
