"""The snap is built from this version, and as its store wants it."""

import re
import subprocess
from pathlib import Path

import yaml

import rclip

ROOT = Path(__file__).parent.parent


def test_the_snap() -> None:
    snap = yaml.safe_load((ROOT / "snap/snapcraft.yaml").read_text())
    assert (snap["name"], snap["base"], snap["confinement"], snap["license"]) == ("rclip", "core24", "strict", "MIT")
    assert {"home", "removable-media"} <= set(snap["apps"]["rclip"]["plugs"])
    assert snap["apps"]["rclip"]["command"] == "bin/rclip"
    assert f"> {snap['apps']['rclip']['completer']}\n" in snap["parts"]["rclip"]["override-build"]
    assert "version" not in snap
    assert snap["adopt-info"] in snap["parts"]
    (command,) = re.findall(r'version="\$\((.*)\)"', snap["parts"]["rclip"]["override-pull"])
    told = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert told == rclip.__version__
