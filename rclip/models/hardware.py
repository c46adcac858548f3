"""What this machine can compute with, found without torch, which takes a second to import."""

import os
import platform

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""NVIDIA's driver on Linux and under Windows, AMD's."""


def may_have_gpu() -> bool:
    """False where there is surely nothing that torch could use beside the CPU."""
    return platform.system() != "Linux" or any(map(os.path.exists, _GPU_FILES))


def has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware; emulated, it would be slower than float32."""
    if platform.system() == "Darwin":
        return False
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
