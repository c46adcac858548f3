"""What `--copy-to` and `--link-to` do with the photos found."""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rclip.cli import activity
from rclip.cli.messages import Doing, Notice, Usage, tell
from rclip.errors import CannotWriteTo, UsageError, plain_reason

if TYPE_CHECKING:
    from rclip.explore.copying import Copied
    from rclip.library import Hit, Library

_OPTIONS = ("--copy-to", "--link-to")
_MOST_LINES = 5  # about photos that could not be put there


def check(values: Mapping[str, Any]) -> None:
    """Raises `UsageError` for options that do not go together."""
    given = [option for option in _OPTIONS if values[_key(option)]]
    if len(given) > 1:
        raise UsageError(Usage.NOT_TOGETHER.format(one=given[0], other=given[1]))
    if values["keep_paths"] and not given:
        raise UsageError(Usage.ONLY_WITH.format(option="--keep-paths", other=" or ".join(_OPTIONS)))


def _key(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


class Placing:
    """Collects photos, and puts them into the folder in the end, each once."""

    def __init__(self, library: "Library", values: Mapping[str, Any]):
        """Raises `UsageError` for a folder that is searched itself."""
        from rclip.explore import target_folder

        self._library = library
        self._option = next(option for option in _OPTIONS if values[_key(option)])
        self._folder: str = values[_key(self._option)]
        self._keeps_paths: bool = values["keep_paths"]
        self._hits: dict[str, Hit] = {}
        """By their absolute paths."""
        target_folder.require_target(self._folder, library.folders)

    def add(self, hits: "Iterable[Hit]") -> None:
        from rclip.search.hits import absolute

        self._hits |= {absolute(hit.path): hit for hit in hits}

    def finish(self) -> bool:
        """Puts them there, and says so. Returns whether all could be. Raises `UsageError`."""
        from rclip.explore import copying

        if not self._hits:
            return True
        paths, folders = list(self._hits), self._library.folders
        names = [copying.inner_path(path, folders) for path in paths] if self._keeps_paths else None
        put = copying.link
        if self._option == "--copy-to":
            put = partial(copying.copy, care=copying.Care(copying.found_by(self._hits.values(), folders)))
        self._prepare()
        with activity.shown(Doing.PLACING):
            copied = put(paths, self._folder, names)
        self._report(copied)
        return not copied.failed

    def _prepare(self) -> None:
        from rclip.explore import target_folder

        try:
            os.makedirs(self._folder, exist_ok=True)
            is_left_out = not self._library.holds(self._folder) or target_folder.leave_out(self._folder)
            reason = "" if is_left_out else _HAS_FILES
        except FileExistsError as error:
            raise CannotWriteTo(folder=self._folder, reason=plain_reason(error)) from error
        except OSError as error:
            if not os.path.isdir(self._folder):
                raise CannotWriteTo(folder=self._folder, reason=plain_reason(error)) from error
            reason = plain_reason(error)
        if reason:
            tell(Notice.TARGET_IS_INDEXED.format(folder=self._folder, reason=reason))

    def _report(self, copied: "Copied") -> None:
        for path, reason in copied.failed[:_MOST_LINES]:
            tell(Notice.NOT_PLACED.format(path=path, folder=self._folder, reason=reason))
        if len(copied.failed) > _MOST_LINES:
            tell(Notice.MORE_PHOTOS.format(count=len(copied.failed) - _MOST_LINES))
        count = len(copied.paths) - copied.present
        said = Notice.COPIED if self._option == "--copy-to" else Notice.LINKED
        photos = "photo" if count == 1 else "photos"
        present = Notice.PRESENT.format(count=copied.present) if copied.present else ""
        tell(said.format(count=count, photos=photos, folder=self._folder) + present)


_HAS_FILES = Notice.HAS_FILES
