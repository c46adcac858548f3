"""A decoder that does as a test wants: crashes of the real ones are repaired when they are known."""

import os
from pathlib import Path

CRASH = "import ctypes; ctypes.string_at(0)"


def decoder_that_runs(code: str, folder: Path) -> dict[str, str]:
    """An environment in which HEIC's decoder runs this when it is loaded, and notes that in `asked` in the folder."""
    modules = folder / "modules"
    modules.mkdir()
    note = f"open({str(folder / 'asked')!r}, 'a').write('x')\n"
    real = f"import sys; sys.path.remove({str(modules)!r}); del sys.modules['pillow_heif']; import pillow_heif\n"
    (modules / "pillow_heif.py").write_text(f"{note}{code}\n{real}")
    return {"PYTHONPATH": f"{modules}{os.pathsep}{Path(__file__).parent.parent.parent}"}
