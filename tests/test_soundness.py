"""Decoders that are too old: reported once a day, and found by the audit."""

import os
from pathlib import Path

import pytest

from tests import audit
from tests.support.command import Command
from tests.support.gallery import Draw

LINE = "rclip: {} {} has holes that a hostile file can use; they are closed in "


def installed(folder: Path, package: str, version: str) -> dict[str, str]:
    """An environment in which that version of the package seems to be installed."""
    metadata = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("package", "version"),
    [("pillow", "12.3.0"), ("pillow-heif", "1.6.9"), ("rawpy", "0.27.1"), ("torch", "2.9.1+cpu")],
)
def test_an_old_decoder_is_reported_once_a_day(
    rclip: Command, draw: Draw, tmp_path: Path, package: str, version: str
) -> None:
    draw("a.jpg")
    env = installed(tmp_path / "old", package, version)
    first = rclip("red", env=env)
    assert first.lines == ["a.jpg"]
    (line,) = [line for line in first.err.splitlines() if "has holes" in line]
    assert line.startswith(LINE.format(package, version))
    assert "; update it: " in line
    assert line.endswith(f" -P -m pip install --upgrade {package}")
    draw("b.jpg")
    assert "has holes" not in rclip("--index", "-v", env=env).err
    stamp = rclip.data_dir / "decoders-reported"
    os.utime(stamp, (0, 0))
    assert "has holes" not in rclip("-n", "red", env=env).err
    draw("c.jpg")
    assert "has holes" in rclip("--index", env=env).err


@pytest.mark.parametrize(
    ("package", "version"), [("pillow", "13"), ("pillow", "13.0.0.post1"), ("torch", "2.15.0+cpu")]
)
def test_a_sound_decoder_is_not(rclip: Command, draw: Draw, tmp_path: Path, package: str, version: str) -> None:
    draw("a.jpg")
    assert "has holes" not in rclip("--index", "-v", env=installed(tmp_path / "new", package, version)).err


def test_a_link_in_place_of_the_note_is_not_followed(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("a.jpg")
    victim = tmp_path / "victim"
    victim.write_text("kept")
    os.utime(victim, (0, 0))
    (rclip.data_dir / "decoders-reported").symlink_to(victim)
    assert "has holes" not in rclip("--index", env=installed(tmp_path / "old", "pillow", "13.1")).err
    os.utime(rclip.data_dir / "decoders-reported", (0, 0), follow_symlinks=False)
    draw("b.jpg")
    assert "has holes" in rclip("--index", env=installed(tmp_path / "older", "pillow", "12.3.0")).err
    assert (victim.read_text(), victim.stat().st_mtime) == ("kept", 0)


def test_the_audit_tells_holes_from_an_unreachable_database() -> None:
    sound = {"name": "a", "version": "1", "vulns": []}
    unsound = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
    unknown = {"name": "c", "skip_reason": "not found"}
    assert audit.report([sound, unknown]) == (["audit: 1 packages audited, 1 unknown to the database"], True)
    lines, is_sound = audit.report([sound, unsound])
    assert (lines[0], is_sound) == ("audit: b 2: CVE-1, closed in 3", False)
    assert audit.report([unknown]) == ([audit.UNREACHABLE], True)
    assert audit.report([]) == ([audit.UNREACHABLE], True)
