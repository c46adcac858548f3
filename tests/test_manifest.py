"""Seals: bytes are trusted while the file's stat is the same, compared when it is not, never used when they differ."""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from rclip import manifest

CONTENT = bytes(range(256)) * 100


class Seal(NamedTuple):
    of: str
    crc32: int
    stat: list[int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "derived"
    path.write_bytes(CONTENT)
    contents = Seal("something", zlib.crc32(CONTENT), manifest.identity(path.stat()))
    manifest.write(str(tmp_path / "seal"), contents)
    return path


def confirm(path: Path) -> Seal:
    """As a reader does; raises AssertionError where the bytes were compared although the stat is the same."""
    contents = manifest.read(str(path.with_name("seal")), Seal)
    now = contents._replace(stat=manifest.identity(path.stat()))

    def checksum() -> int:
        assert now != contents
        with path.open("rb") as opened:
            return manifest.crc32_of(opened)

    return manifest.verified(contents, now, checksum, lambda now: manifest.write(str(path.with_name("seal")), now))


def test_a_file_that_nobody_touched_is_not_read(file: Path) -> None:
    before = file.with_name("seal").stat()
    assert confirm(file).of == "something"
    assert file.with_name("seal").stat() == before


def test_a_file_with_another_stat_is_compared_once(file: Path) -> None:
    os.utime(file, (0, 0))
    assert confirm(file).stat == manifest.identity(file.stat())
    assert manifest.read(str(file.with_name("seal")), Seal) == confirm(file)


def test_other_bytes_are_not_confirmed_and_their_seal_stays(file: Path) -> None:
    contents = file.with_name("seal").read_bytes()
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(ValueError, match="its checksum is wrong"):
        confirm(file)
    assert file.with_name("seal").read_bytes() == contents


def test_a_seal_that_cannot_be_written_keeps_nothing_from_being_read(file: Path) -> None:
    def refuse(contents: Seal) -> None:
        raise PermissionError

    contents = manifest.read(str(file.with_name("seal")), Seal)
    now = contents._replace(stat=[0])
    assert manifest.verified(contents, now, lambda: contents.crc32, refuse) == now


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"crc32": 1}', b'{"crc32": 1, "stat": [], "other": 2}'])
def test_what_is_no_seal_is_said(file: Path, content: bytes) -> None:
    file.with_name("seal").write_bytes(content)
    with pytest.raises((ValueError, TypeError)):
        confirm(file)


def test_checksums_are_of_the_first_bytes_where_so_many_are_asked_for(file: Path) -> None:
    with file.open("rb") as opened:
        assert manifest.crc32_of(opened, 1000) == zlib.crc32(CONTENT[:1000])
    with file.open("rb") as opened, pytest.raises(ValueError, match="cut short"):
        manifest.crc32_of(opened, len(CONTENT) + 1)
