"""rclip: find photos by what is in them.

The public names are loaded when first used, so that importing the package costs a query nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclip.errors import ModelError, RclipError, StoreError, UsageError
    from rclip.library import Hit, Library

__version__ = "0.1.0"
__all__ = ["Hit", "Library", "ModelError", "RclipError", "StoreError", "UsageError", "__version__"]

_HOMES = {"Hit": "rclip.library", "Library": "rclip.library"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "rclip.errors")), name)
