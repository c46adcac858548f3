"""rclip: find photos by what is in them.

The public names are loaded when first used, so that importing the package costs a query nothing.
"""

TYPE_CHECKING = False  # not from `typing`: nothing is imported before `__main__` has left the current folder
if TYPE_CHECKING:
    from typing import Any

    from rclip.errors import ModelError, RclipError, StoreError, UsageError
    from rclip.facts import Facts
    from rclip.filters import Filters, Near
    from rclip.library import Hit, Library

__version__ = "0.1.0"
__all__ = [
    "Facts",
    "Filters",
    "Hit",
    "Library",
    "ModelError",
    "Near",
    "RclipError",
    "StoreError",
    "UsageError",
    "__version__",
]

_HOMES = {
    "Facts": "rclip.facts",
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
