"""Films where the package is missing that reads them: reported once, and from then on not looked for."""

import os

from rclip import datadir, formats
from rclip.indexing.summary import Summary

_REPORTED = "videos-reported"
"""A file in the data folder: it was reported that films need a package."""


def suffixes(data_dir: str, include_videos: bool) -> frozenset[str]:
    """The endings of the files to look for: films only where they can be read, or to report once that they cannot.

    In a library of films that are not wanted, each would cost its stat.
    """
    is_reported = os.path.lexists(os.path.join(data_dir, _REPORTED))
    are_looked_for = include_videos and (formats.VIDEO.installed() or not is_reported)
    return formats.SUFFIXES if are_looked_for else formats.PHOTO_SUFFIXES


def note_reported(summary: Summary, data_dir: str) -> None:
    """For the next update, if the summary of this one says that films need a package."""
    if summary.missing_extras[formats.VIDEO]:
        datadir.touch(os.path.join(data_dir, _REPORTED))
