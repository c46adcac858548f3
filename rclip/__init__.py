"""rclip: find photos by what is in them.

The public names are loaded when first used, so that importing the package costs a query nothing.
"""

from rclip._version import __version__

TYPE_CHECKING = False  # not from `typing`: nothing is imported before `__main__` has left the current folder
if TYPE_CHECKING:
    from typing import Any

    from rclip.errors import ModelError, RclipError, StoreError, UsageError
    from rclip.filters import Filters, Near
    from rclip.library import Hit, Library
    from rclip.photo.metadata import PhotoMetadata


__all__ = [
    "Filters",
    "Hit",
    "Library",
    "ModelError",
    "Near",
    "PhotoMetadata",
    "RclipError",
    "StoreError",
    "UsageError",
    "__version__",
]

_HOMES = {
    "PhotoMetadata": "rclip.photo.metadata",
    "Filters": "rclip.filters",
    "Hit": "rclip.library",
    "Library": "rclip.library",
    "Near": "rclip.filters",
}


def __getattr__(name: str) -> "Any":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "rclip.errors")), name)
