"""rclip: find photos by what is in them.

The public names are loaded when first used, so that importing the package costs a query nothing.
"""

from rclip._version import __version__

TYPE_CHECKING = False  # not from `typing`: nothing is imported before `__main__` has left the current folder
if TYPE_CHECKING:
    from typing import Any

    from rclip.errors import (
        DamagedIndex,
        ModelError,
        RclipError,
        ReadOnlyIndex,
        StoreError,
        UnlistedFolder,
        UsageError,
    )
    from rclip.filters import Filters, Near
    from rclip.formats import Extra
    from rclip.indexing.progress import Progress
    from rclip.indexing.summary import Summary
    from rclip.library import Hit, Library, Stats, Vectors
    from rclip.maintenance.check import Finding
    from rclip.maintenance.prune import Pruned
    from rclip.maintenance.recovery import Rebuilt
    from rclip.photo.failures import FailedPhoto
    from rclip.photo.metadata import PhotoMetadata
    from rclip.search.export import ModelIdentity
    from rclip.search.query import Link, Picture, PictureData, PictureObject, Query, Term, Text, Vector


__all__ = [
    "DamagedIndex",
    "Extra",
    "FailedPhoto",
    "Filters",
    "Finding",
    "Hit",
    "Library",
    "Link",
    "ModelError",
    "ModelIdentity",
    "Near",
    "PhotoMetadata",
    "Picture",
    "PictureData",
    "PictureObject",
    "Progress",
    "Pruned",
    "Query",
    "RclipError",
    "ReadOnlyIndex",
    "Rebuilt",
    "Stats",
    "StoreError",
    "Summary",
    "Term",
    "Text",
    "UnlistedFolder",
    "UsageError",
    "Vector",
    "Vectors",
    "__version__",
]

_HOMES = {
    "rclip.filters": ("Filters", "Near"),
    "rclip.formats": ("Extra",),
    "rclip.indexing.progress": ("Progress",),
    "rclip.indexing.summary": ("Summary",),
    "rclip.library": ("Hit", "Library", "Stats", "Vectors"),
    "rclip.maintenance.check": ("Finding",),
    "rclip.maintenance.prune": ("Pruned",),
    "rclip.maintenance.recovery": ("Rebuilt",),
    "rclip.photo.failures": ("FailedPhoto",),
    "rclip.photo.metadata": ("PhotoMetadata",),
    "rclip.search.export": ("ModelIdentity",),
    "rclip.search.query": ("Link", "Picture", "PictureData", "PictureObject", "Query", "Term", "Text", "Vector"),
}


def __getattr__(name: str) -> "Any":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "rclip.errors")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
