"""The action that stays: it keeps the index up to date while folders change."""

import gc
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from rclip import signals
from rclip.cli import report
from rclip.cli.messages import Notice, Usage, tell
from rclip.cli.options import Action, Option, Options, register
from rclip.errors import ExitCode, StoreError, UsageError
from rclip.signals import Interrupted

if TYPE_CHECKING:
    from rclip.watching import FolderWatch, Settling

_LOWEST_PRIORITY = 19
"""The kernel takes that of the disk from it, too."""

_RECHECK_S = 900.0
"""Between two looks at folders of which the system does not say what changes."""

_GRACE_S = 20.0
"""So long a signal may wait for the end of a step; at the lowest priority of a busy machine it may take a while."""


@register
class Watch(Action):
    """Indexes photos as they appear, change and go."""

    options = (Option(("--watch",), "stay, and index photos as they appear, change and go"),)

    def check(self, options: Options) -> None:
        if options.no_indexing:
            raise UsageError(Usage.NOT_TOGETHER.format(one="--watch", other="-n"))

    def run(self, options: Options) -> int:
        from rclip.indexing.parts import matters
        from rclip.watching import FolderWatch, Settling

        gc.enable()
        with suppress(OSError):
            os.nice(_LOWEST_PRIORITY)
        signals.allow(_GRACE_S)
        folders = [os.path.abspath(os.path.expanduser(folder)) for folder in options.directories or (os.curdir,)]
        try:
            watch = FolderWatch(folders, _RECHECK_S, _report, matters)
        except ImportError as error:
            raise UsageError(Usage.NO_WATCHFILES.format(python=sys.executable)) from error
        settling = Settling()
        tell(Notice.WATCHING.format(folders=", ".join(folders)))
        try:
            while True:
                self._update(watch, settling, options)
        except Interrupted as stopped:  # which is how it ends
            stopped.is_reported = True
        finally:
            watch.close()
        tell(Notice.WATCH_ENDED)
        return ExitCode.FOUND

    def _update(self, watch: "FolderWatch", settling: "Settling", options: Options) -> None:
        """Waits for a change, and takes it in. Raises what no later try would mend, such as `ModelError`."""
        changed = watch.wait()
        if not changed.folders:
            return
        try:
            # Opened each time, as drives with indexes of their own come and go, and must not be held.
            with options._replace(directories=tuple(changed.folders)).open_library() as library:
                summary = report.update(library, options, changed.paths, settling.is_settled)
                if summary.has_changes:
                    library.prepare_search()
        except StoreError as error:
            tell(error)
            watch.look_again_at_all()
        else:
            watch.look_again(summary.unsettled)
        with signals.deferred():  # an exception would be lost among objects that are being deleted
            gc.collect()
            re.purge()  # of ignore files as they were


def _report(folder: str, reason: str) -> None:
    if folder:
        tell(Notice.NOT_THERE.format(folder=folder))
    else:
        tell(Notice.NO_NOTIFICATIONS.format(reason=reason))
