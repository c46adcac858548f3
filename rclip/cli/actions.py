"""What the command does beside searching: each action with its options, its rules and its run."""

import gc
import os
import sys
from typing import TYPE_CHECKING

from rclip.cli import activity, choices, report
from rclip.cli.messages import Doing, Notice, Usage, tell
from rclip.cli.options import Action, Option, Options, register
from rclip.cli.output import write_duplicates, write_finding, write_models, write_stats
from rclip.cli.search_action import mention_other_index
from rclip.errors import ExitCode, RclipError, UsageError
from rclip.signals import Interrupted
from rclip.terminal.text import size

if TYPE_CHECKING:
    from rclip.search.push import Pushed
    from rclip.web.server import Server


@register
class Init(Action):
    """Gives folders indexes of their own."""

    options = (Option(("--init",), "give DIR an index of its own that moves with it"),)

    def run(self, options: Options) -> int:
        from rclip import datadir
        from rclip.index import location

        for directory in options.directories or ("",):
            folder, is_new = location.create(os.fsencode(os.path.expanduser(directory)), datadir.own())
            tell((Notice.INIT_DONE if is_new else Notice.INIT_KNOWN).format(folder=folder))
        return ExitCode.FOUND


@register
class Index(Action):
    """Brings the index up to date."""

    options = (
        Option(("--index",), "only bring the index up to date"),
        Option(("-v", "--verbose"), "--index: changes, in a pipe too; --json: the model; --push: recall"),
        Option(
            ("--cluster",),
            "--index: read photos on a Dask cluster, like tcp://host:8786",
            "ADDR",
            choices.cluster,
            only_with="--index",
        ),
    )

    def check(self, options: Options) -> None:
        _refuse_no_indexing(self, options)

    def run(self, options: Options) -> int:
        if not report.is_quiet(options):
            mention_other_index()
        with options.open_library() as library:
            summary = report.update(library, options)
            with activity.shown(Doing.CACHING):
                library.prepare_search(report.sorting)
            if options.values["verbose"]:
                report.report_recalls(library)
            if not report.is_quiet(options):
                report.report_no_change(library, summary)
        return ExitCode.FOUND


@register
class Stats(Action):
    """Prints what the index holds."""

    options = (Option(("--stats",), "show what is indexed"),)

    def run(self, options: Options) -> int:
        with options.open_library() as library:
            with activity.shown(Doing.COUNTING):
                stats = library.stats()
            write_stats(stats)
        return ExitCode.FOUND


@register
class Models(Action):
    """Lists the models that are recommended, and those on this machine."""

    group = "model"
    options = (Option(("--models",), "list recommended models, and those on this machine"),)

    def run(self, options: Options) -> int:
        from rclip import datadir
        from rclip.index import location

        (folder, *_) = options.directories or ("",)
        where = location.location_of(location.resolve(os.fsencode(os.path.expanduser(folder))).real, datadir.own())
        write_models(datadir.own(), where.folder)
        return ExitCode.FOUND


@register
class Check(Action):
    """Looks for damage."""

    options = (Option(("--check",), "check the indexes of each DIR for damage"),)

    def run(self, options: Options) -> int:
        is_sound = True
        with options.open_library() as library:
            for finding in activity.during(Doing.CHECKING, library.check()):
                write_finding(finding)
                is_sound &= not finding.faults
        if is_sound:
            return ExitCode.FOUND
        tell(Notice.DAMAGE_FOUND)
        return ExitCode.ERROR


@register
class Rebuild(Action):
    """Replaces a damaged index by what can be read of it."""

    options = (Option(("--rebuild",), "save what can be read of a damaged index; update it"),)

    def check(self, options: Options) -> None:
        _refuse_no_indexing(self, options)

    def run(self, options: Options) -> int:
        with options.open_library() as library:
            for rebuilt in activity.during(Doing.REBUILDING, library.rebuild()):
                tell(Notice.REBUILT.format(kept=rebuilt.kept, aside=rebuilt.aside))
            report.update(library, options)
            with activity.shown(Doing.CACHING):
                library.prepare_search(report.sorting)
        return ExitCode.FOUND


@register
class Duplicates(Action):
    """Lists photos that are there several times."""

    options = (
        Option(("--duplicates",), "list exact and near copies, in groups"),
        Option(
            ("--similarity",),
            "with --duplicates: cosine of near copies (0.985)",
            "S",
            choices.similarity,
            only_with="--duplicates",
        ),
    )

    def check(self, options: Options) -> None:
        options.format.check(options)

    def run(self, options: Options) -> int:
        with options.open_library() as library:
            if not options.no_indexing:
                report.update(library, options)
            with activity.shown(Doing.COMPARING.format(percent=0)):
                groups = library.duplicates(options.values["similarity"], _show_progress)
            if not groups:
                nothing = Notice.NOT_INDEXED if options.no_indexing else Notice.NO_PHOTOS
                tell(Notice.NO_DUPLICATES if library.has_photos() else nothing)
                return ExitCode.NOTHING_FOUND
        write_duplicates(groups, options)
        if sys.stdout.isatty():
            copies = sum(len(group.copies) - 1 for group in groups)
            wasted = size(sum(group.wasted_bytes for group in groups))
            told = Notice.DUPLICATES.format(
                groups=len(groups),
                of_groups="group" if len(groups) == 1 else "groups",
                copies=copies,
                of_copies="copy" if copies == 1 else "copies",
                wasted=wasted,
            )
            tell(told)
        return ExitCode.FOUND


def _show_progress(share: float) -> None:
    activity.show(Doing.COMPARING.format(percent=round(100 * share)))


@register
class Export(Action):
    """Writes paths, vectors and metadata to a file."""

    options = (
        Option(("--export",), "write vectors and metadata: .npz, .parquet, .jsonl", "FILE", choices.export_file),
    )

    def run(self, options: Options) -> int:
        path = options.values["export"]
        with options.open_library() as library:
            if not options.no_indexing:
                report.update(library, options)
            with activity.shown(Doing.EXPORTING):
                count = library.export(path)
        tell(Notice.EXPORTED.format(count=count, photos="photo" if count == 1 else "photos", path=path))
        return ExitCode.FOUND if count else ExitCode.NOTHING_FOUND


@register
class Push(Action):
    """Brings the photos of the index into a database."""

    options = (Option(("--push",), "bring the photos of DIR into a database, for --from", "URL", choices.database),)

    def run(self, options: Options) -> int:
        from rclip.search.push import Pushed
        from rclip.vectordb.rows import LONGEST_PATH

        url, done = options.values["push"], Pushed()

        def show(pushed: Pushed) -> None:
            nonlocal done
            done = pushed
            activity.show(Doing.PUSHING.format(photos=pushed.photos, stored=pushed.stored))

        with options.open_library() as library:
            if not options.no_indexing:
                report.update(library, options)
            try:
                done = library.push(url, show)
            except Interrupted as stopped:
                activity.stop()
                tell(Notice.PUSH_STOPPED.format(stored=done.stored))
                stopped.is_reported = True
                raise
            finally:
                activity.stop()
            tell(_told(done))
            if done.left_out:
                tell(Notice.PUSH_LEFT_OUT.format(count=done.left_out, most=LONGEST_PATH))
            if options.values["verbose"]:
                with activity.shown(Doing.MEASURING):
                    recall = library.database_recall(url)
                tell(Notice.NO_DATABASE_RECALL if recall is None else Notice.DATABASE_RECALL.format(recall=recall))
        return ExitCode.FOUND


def _told(pushed: "Pushed") -> str:
    changes = [f"{pushed.stored:,} new or changed"] if pushed.stored else []
    changes += [f"{pushed.removed:,} removed"] if pushed.removed else []
    if not changes:
        return Notice.NOTHING_NEW.format(photos=pushed.photos)
    return Notice.PUSHED.format(changes=", ".join(changes))


@register
class Prune(Action):
    """Forgets missing photos."""

    options = (
        Option(("--prune",), "forget photos missing for 30d, 12w, 1y; 0: any time", "AGE", choices.age),
        Option(("--away",), "with --prune: also of empty folders, unplugged drives", only_with="--prune"),
        Option(("--excluded",), "with --prune: also all that is excluded now", only_with="--prune"),
    )

    def run(self, options: Options) -> int:
        with options.open_library() as library, activity.shown(Doing.PRUNING):
            pruned = library.prune(options.values["prune"], options.values["away"], options.values["excluded"])
        tell(Notice.PRUNED.format(forgotten=pruned.forgotten, freed=size(pruned.freed_bytes)))
        if pruned.kept_offline:
            tell(Notice.PRUNE_KEPT.format(kept=pruned.kept_offline))
        if pruned.blocked_by is None:
            return ExitCode.FOUND
        tell(Notice.PRUNE_BLOCKED.format(reason=pruned.blocked_by))
        return ExitCode.ERROR


@register
class Web(Action):
    """Serves a page to search with."""

    group = "web"
    options = (
        Option(("--web",), "search in the browser: print an address and open it"),
        Option(
            ("--listen",),
            "where to serve, like 127.0.0.1:8000 (any free port)",
            "ADDR:PORT",
            choices.listen,
            only_with="--web",
        ),
        Option(("--no-open",), "do not open the browser", only_with="--web"),
        Option(
            ("--allow-copy",), "let the page copy photos into this folder", "DIR", choices.folder, only_with="--web"
        ),
        Option(("--allow-links",), "let queries fetch pictures from the web", only_with="--web"),
    )

    def run(self, options: Options) -> int:
        try:
            from rclip.web.server import Server, WebOptions
        except ImportError as error:
            packages = "starlette uvicorn jinja2"
            raise UsageError(Usage.NO_PAGE.format(python=sys.executable, packages=packages)) from error
        from rclip import desktop
        from rclip.explore import Explorer, target_folder

        gc.enable()  # it may run for days
        host, port = options.values["listen"] or ("127.0.0.1", 0)
        copy_to = os.path.abspath(options.values["allow_copy"]) if options.values["allow_copy"] else ""
        with options.open_library() as library:
            if copy_to:
                target_folder.require_target(copy_to, library.folders)
            explorer = Explorer(library, allow_links=options.values["allow_links"])
            server = Server(explorer, WebOptions(host, port, copy_to, is_desktop=desktop.is_there()))
            try:
                _announce(server, options)
                explorer.known_facets()
                if not options.no_indexing:
                    explorer.updates.start()
                server.wait()
            except Interrupted as stopped:  # which is how it ends
                stopped.is_reported = True
            finally:
                server.close()
                explorer.close()
        tell(Notice.PAGE_CLOSED)
        return ExitCode.FOUND


def _announce(server: "Server", options: Options) -> None:
    """The address goes to standard output; the browser is opened where there is one."""
    from rclip import desktop

    if not server.is_loopback:
        tell(Notice.OPEN_TO_OTHERS.format(host=server.host, port=server.port))
    sys.stdout.write(f"{server.address}\n")
    sys.stdout.flush()
    tell(Notice.PAGE_OPEN)
    if desktop.is_there() and not options.values["no_open"]:
        try:
            desktop.open_page(server.address)
        except RclipError as error:
            tell(error)


def _refuse_no_indexing(action: Action, options: Options) -> None:
    if options.no_indexing:
        raise UsageError(Usage.NOT_TOGETHER.format(one=action.options[0].name, other="-n"))
