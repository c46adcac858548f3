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
    from rclip.explore import AskedTerm, BackgroundUpdate, Explorer, Results, SearchRequest, UpdateState
    from rclip.explore.copying import Copied
    from rclip.filters import Filters, Near
    from rclip.formats import Extra
    from rclip.indexing.progress import Progress
    from rclip.indexing.summary import Summary
    from rclip.library import Hit, Library
    from rclip.maintenance.check import Finding
    from rclip.maintenance.prune import Pruned
    from rclip.maintenance.recovery import Rebuilt
    from rclip.photo.failures import FailedPhoto
    from rclip.photo.metadata import PhotoMetadata
    from rclip.search.all_photos import Vectors
    from rclip.search.duplicates import Group
    from rclip.search.export import ModelIdentity
    from rclip.search.facets import Facets
    from rclip.search.push import Pushed
    from rclip.search.query import (
        IndexedPhoto,
        Link,
        Picture,
        PictureData,
        PictureObject,
        Query,
        Term,
        Text,
        Vector,
    )
    from rclip.search.statistics import Stats
    from rclip.thumbnails import Thumbnails


__all__ = [
    "AskedTerm",
    "BackgroundUpdate",
    "Copied",
    "DamagedIndex",
    "Explorer",
    "Extra",
    "Facets",
    "FailedPhoto",
    "Filters",
    "Finding",
    "Group",
    "Hit",
    "IndexedPhoto",
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
    "Pushed",
    "Query",
    "RclipError",
    "ReadOnlyIndex",
    "Rebuilt",
    "Results",
    "SearchRequest",
    "Stats",
    "StoreError",
    "Summary",
    "Term",
    "Text",
    "Thumbnails",
    "UnlistedFolder",
    "UpdateState",
    "UsageError",
    "Vector",
    "Vectors",
    "__version__",
]

_HOMES = {
    "rclip.explore": ("AskedTerm", "BackgroundUpdate", "Explorer", "Results", "SearchRequest", "UpdateState"),
    "rclip.explore.copying": ("Copied",),
    "rclip.filters": ("Filters", "Near"),
    "rclip.formats": ("Extra",),
    "rclip.indexing.progress": ("Progress",),
    "rclip.indexing.summary": ("Summary",),
    "rclip.library": ("Hit", "Library"),
    "rclip.search.all_photos": ("Vectors",),
    "rclip.search.statistics": ("Stats",),
    "rclip.maintenance.check": ("Finding",),
    "rclip.maintenance.prune": ("Pruned",),
    "rclip.maintenance.recovery": ("Rebuilt",),
    "rclip.photo.failures": ("FailedPhoto",),
    "rclip.photo.metadata": ("PhotoMetadata",),
    "rclip.search.duplicates": ("Group",),
    "rclip.search.export": ("ModelIdentity",),
    "rclip.search.facets": ("Facets",),
    "rclip.search.push": ("Pushed",),
    "rclip.search.query": (
        "IndexedPhoto",
        "Link",
        "Picture",
        "PictureData",
        "PictureObject",
        "Query",
        "Term",
        "Text",
        "Vector",
    ),
    "rclip.thumbnails": ("Thumbnails",),
}


def __getattr__(name: str) -> "Any":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "rclip.errors")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
