"""Every sentence that the command prints beside its results. `{…}` is filled in where the sentence is used.

`rclip.errors` says what has happened to what; the advice that follows is here, as only the command line has options.
"""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from rclip import errors
from rclip.cli import activity
from rclip.errors import RclipError
from rclip.photo.failures import TIME_LIMIT_VARIABLE, FailureKind
from rclip.terminal.text import printable

if TYPE_CHECKING:
    from rclip.maintenance.check import Finding


class Usage:
    """Wrong usage of the command."""

    UNKNOWN_OPTION = "unknown option: {option}; rclip --help lists the options"
    DID_YOU_MEAN = "unknown option: {option}; did you mean {nearest}?"
    BAD_OPTION = "{problem}; rclip --help lists the options"
    NOT_TOGETHER = "{one} and {other} cannot be used together: leave one of them out"
    ONLY_WITH = "{option} works only with {other}: add that, or leave {option} out"
    TAKES_NO_QUERY = "{option} takes no query and no filters: leave them out"
    MOMENTS_WITHOUT_QUERY = "--moments needs a query: without one, a video is one result"
    QUERIES_WITH_TERMS = "--queries reads all terms from the file: leave out --add and --subtract"
    NO_QUERY = 'the query is missing, such as: rclip "a red kite"; rclip --help lists the options'
    QUERY_IS_FOLDER = '{folder} is a folder; add a query: rclip "a red kite" {folders}'
    WORD_IS_FOLDER = (
        '{folder} is a folder; add a query: rclip "a red kite" {folder}; to search for the word: rclip -- {folder}'
    )
    FOLDER_NEEDS_SLASH = "{folder} is a folder; without a query, write ./{folder}; to search for the word: -- {folder}"
    FOLDER_FIRST = "folders come after the query: rclip {query} {folders}"
    WORD_IS_PHOTO = (
        "{name} is a file; to search by that picture: rclip ./{name}; to search for the words: rclip -- {name}"
    )
    WORD_IS_FILE = (
        "{name} is a file, but not a picture; a query is words or a picture; to search for the words: rclip -- {name}"
    )
    NO_COMMAND = "rclip has no command {word}; write rclip {option}; to search for the word: rclip -- {word}"
    WINDOWS_PATH = "{path} is a Windows path, and rclip runs on Linux and macOS; in WSL, it is {here}"
    DETACHED_KIND = "{kind} is taken for a word of the query; write --preview={kind} instead of {option} {kind}"
    PIXELS = "-H takes pixels elsewhere; here it is --preview-height, in rows of the terminal: --preview-height {rows}"
    NO_FOLDER = "there is no folder {folder}"
    NO_FOLDER_BUT_WORDS = 'there is no folder {folder}; a query of several words needs quotes: rclip "{words}"'
    UNREADABLE_QUERIES = (
        "cannot read the queries in {path}: {reason}; --queries needs a text file, or - for the standard input"
    )
    BAD_LINE = "line {number:,} of the queries{named}: {problem}"
    NO_JSON = "it starts like JSON, but is not valid: {reason}"
    NO_VALUE = "it holds more than can be read"
    UNKNOWN_KEY = "it has the unknown key {key}; the keys are {keys}"
    BAD_ID = "its id must be a whole number, or a text of at most {most} characters"
    ONE_QUERY = "it must have one text, as query, path or path_b64"
    BAD_LITERAL = "its literal must be true or false, and goes with query"
    NO_BASE64 = "its path_b64 is not base64"
    NO_PATH = "its path has characters that no file name can have"
    INPUT_CLOSED = "it is closed"
    LONG_LINE = "line {number:,} has more than {most:,} bytes"
    NOT_TEXT = "it is not text"
    PREVIEW_NEEDS_TERMINAL = "--preview needs a terminal, but the output is not one: leave it out"
    DATABASE_FOLDERS = "{option} opens files of a database's photos only inside the folders given: name one"
    NO_PAGE = "--web needs packages that are not installed; to install them: {python} -P -m pip install {packages}"
    NO_WATCHFILES = (
        "--watch needs the package watchfiles; to install it: {python} -P -m pip install 'watchfiles>=1.1,<2'"
    )
    NO_TEXTUAL = "--interactive needs the package textual; to install it: {python} -P -m pip install 'textual>=8.2,<9'"


class Value:
    """Values that an option cannot have; the option's name comes before it."""

    COUNT = "must be a whole number of at least 1, not {text!r}"
    ROWS = "must be a number of terminal rows from 1 to {most}, not {text!r}"
    MEGAPIXELS = "must be a number above 0, not {text!r}; leave it out for a limit by the machine's memory"
    SCORE = "must be a number from -1 to 1, not {text!r}"
    SIMILARITY = "must be a number above 0, and 1 at most, not {text!r}"
    AGE = "must be a time like 30d, 12w or 1y, or 0, not {text!r}"
    ONE_OF = "must be {alternatives}, not {text!r}"
    LANGUAGE = "must be any, or the folder of a text model, not {text!r}"
    DEVICE = "must be auto, cpu, cuda, cuda:1 … or mps, not {text!r}"
    TERM = "must be words, or the path or address of a picture: {problem}"
    QUERY_FILE = "must be a text file, or - for the standard input, not {text!r}"
    EXPORT_FILE = "must be a file name that ends with .npz, .parquet or .jsonl, not {text!r}"
    DATABASE = "must be the address of a database, like postgresql://host/photos or chroma:///folder, not {text!r}"
    DATABASE_CREDENTIALS = (
        "must not hold a password, as others can see it: put it into PGPASSWORD, ~/.pgpass or CHROMA_API_KEY"
    )
    CLUSTER = "must be the address of a Dask scheduler, like tcp://host:8786, or local, not {text!r}"
    LISTEN = "must be an address and a port, like 127.0.0.1:8000, not {text!r}"
    FOLDER = "must be an existing folder, not {text!r}"
    TARGET = "must be a folder, or the name of a new one, not {text!r}"
    FOLDER_NAME = "must be the name of a folder, not {text!r}"
    KEYWORD = "must be one keyword, without |, commas and semicolons, not {text!r}"
    GLOB = "must be a pattern like '2019/**' or 'IMG_*', not {text!r}"
    EXCLUSION = "must be a line as in .gitignore, like 'private/' or '*.psd', not {text!r}"
    EXCLUSION_PLACE = "must say where {text!r} is: with /, ~/ or **/ before it"
    TEMPLATE = "must be a template with fields like {{path}}, not {text!r}; there are {fields}"
    TEMPLATE_SYNTAX = "{problem}; {{{{ and }}}} stand for braces"
    TEMPLATE_ESCAPE = "does not know {escape}; there are \\t, \\n, \\0 and \\\\"
    TEMPLATE_FIELD = "has no field {{{field}}}; there are {fields}"
    TEMPLATE_CONVERSION = "can only have a format after {{{field}:, such as {{score:.3f}}"
    TEMPLATE_FORMAT = "cannot have {{{field}:{spec}}}: {problem}"


class Setting:
    """What is wrong in a configuration file; all but the first three follow the key."""

    UNKNOWN = "there is no setting {name}; there are {names}"
    SIMILAR = "there is no setting {name}; did you mean {nearest}?"
    VALUE = "{name} {problem}"
    NO_LIST = 'must be a list of texts like ["private"], not {value}'
    NO_FLAG = "must be true or false, not {value}"
    NO_SCALAR = "must be a text or a number, not {value}"
    PERSONAL = "{name} may be set in your own configuration file only, not in one that lies with photos"
    TOO_LONG = "it has more than {most:,} bytes"


class Notice:
    """Lines after which the run goes on, or with which it ends in order."""

    RAW_ALWAYS = "--experimental-raw-support is not needed: RAW files are read wherever the package rawpy is installed"
    OTHER_INDEX = (
        "{path} is the index of another program named rclip; it is not used here, and left as it is: "
        "delete it if you no longer run that program"
    )
    WORDS_NAME_A_FILE = "searching for these words; to search by that picture, write ./{name}"
    OTHER_LETTERS = "this model reads English only; other languages: --language any (ViT-B/32), --model siglip2-b32"
    COPIED = "copied {count:,} {photos} to {folder}"
    LINKED = "linked to {count:,} {photos} in {folder}"
    PRESENT = "; {count:,} more were there already"
    NOT_PLACED = "cannot put {path} into {folder}: {reason}"
    MORE_PHOTOS = "… and {count:,} more photos"
    TARGET_IS_INDEXED = "{folder} lies among the photos and is indexed like them: {reason}"
    HAS_FILES = "it had files of its own"
    NEAR = "near {place}; other places of that name: --near {others}"
    EMPTY_PAGE = "page {number} is empty: fewer photos were found"
    NOTHING_PASSES = "no photo here passes the filters"
    NOTHING_BUT_EXCLUDED = "all photos here are excluded; rclip --config and the .rclipignore files say by what"
    NOTHING_STANDS_OUT = "no clear match: no photo here stands out for this query"
    NO_DUPLICATES = "no copies here"
    DUPLICATES = "{groups:,} {of_groups}: {copies:,} {of_copies}, {wasted}"
    NOT_INDEXED = "no photo is indexed here yet; run it once without -n"
    NO_PHOTOS = "no photos here"
    NOT_PUSHED = "the database has no photos here; rclip --push URL DIR brings some there"
    PUSHED = "pushed: {changes}"
    NOTHING_NEW = "nothing to push: the database already has all {photos:,} photos"
    DATABASE_RECALL = "the database's approximate index finds {recall:.1%} of the ten best photos, in 24 queries"
    NO_DATABASE_RECALL = "the database is searched exactly: none of the best photos is missed"
    PUSH_LEFT_OUT = "left out {count:,} with paths of more than {most:,} bytes"
    PUSH_STOPPED = "stopped; {stored:,} photos are in the database, and the next push goes on from there"
    INIT_DONE = "created {folder}: from now on it holds the index of all photos beside and below it"
    INIT_KNOWN = "{folder} exists already: searches in and below that folder use it"
    REBUILT = "index rebuilt, with {kept:,} files known; the damaged one is kept as {aside}"
    DAMAGE_FOUND = "something is damaged; the lines above say what, and how to repair it"
    RECALL = "approximate search: {recall}"
    PRUNED = "index pruned: {forgotten:,} forgotten, {freed} freed"
    PRUNE_KEPT = (
        "{kept:,} kept: their folder is empty, like that of an unplugged drive; with --away they are forgotten, too"
    )
    PRUNE_BLOCKED = "the rest of the space is not freed yet ({reason}); run the same again later"
    TAGGED = "sidecars: {made:,} made, {changed:,} changed, {deleted:,} deleted, {unchanged:,} unchanged"
    WOULD_TAG = "nothing is written; sidecars to be made: {made:,}, changed: {changed:,}, deleted: {deleted:,}"
    NOT_TAGGED = "cannot write to {path}: {reason}; it stays as it is"
    NOTHING_TO_TAG = "no photo was found, so no sidecar was written"
    EXPORTED = "{count:,} {photos} exported to {path}"
    PAGE_OPEN = "open this address in a browser; Ctrl-C stops the server"
    PAGE_CLOSED = "the page is closed"
    WATCHING = "watching {folders}; Ctrl-C ends it"
    WATCH_ENDED = "watching has ended; everything indexed is kept"
    NOT_THERE = "{folder} is missing; it will be watched again when it comes back"
    NO_NOTIFICATIONS = (
        "the system does not report changes ({reason}), so folders are checked now and then; see the guide"
    )
    OPEN_TO_OTHERS = (
        "anyone who can reach {host}:{port} and has the address below can see all photos here; it is not encrypted"
    )
    STOPPED = "stopped"
    STOPPED_BY_ERROR = "stopped: {reason}"
    FAULT = "stopped by a fault of rclip itself ({kind}: {reason}); please report it"
    STOPPED_AFTER = "stopped after {done:,} of {total:,} files; the finished ones are kept"
    STOPPED_EARLY = "stopped before any file was read; everything indexed is kept"
    UPDATED = "index updated: {changes}"
    FOR_THIS_RUN = "{option} counts for this run only: for every run, put the line {line} into {file}"
    UNCHANGED = "nothing has changed; photos here: {photos:,}"
    LISTING_IS_SLOW = "looking for new photos takes long here; -n searches the photos that are indexed without it"
    UNLISTED = "cannot list {folder}: {reason}; the index keeps its photos"
    UNUSABLE_IGNORE_FILE = "cannot use {path}: {reason}; what it said when it was last read still holds"
    MORE_IGNORE_FILES = "… and {count:,} more ignore files"
    MORE_FOLDERS = "… and {count:,} more folders"
    MISSING_PACKAGES = "{counts} cannot be opened yet; to install what they need: {python} -P -m pip install {packages}"
    UNREADABLE = "cannot read {path}: {reason}; it is left out until it changes"
    UNREADABLE_NOW = "cannot read {path}: {reason}; the next run tries it again"
    VIDEO_IN_PART = "only part of {path} can be found: {reason}"
    MORE_FILES = "… and {count:,} more files; rclip --stats lists the unreadable ones"


RECALL = (
    "{rows:,} photos in {lists:,} lists, of which a query reads {probes:,}; "
    "finds {recall:.1%} of the ten best, in {queries:,} queries"
)
"""How well an approximate search finds."""


class Doing:
    """What is going on, beside a spinner."""

    LISTING = "looking for changes: {files:,} photos"
    SEARCHING = "searching"
    COMPARING = "looking for copies: {percent} %"
    CACHING = "writing the search caches"
    SORTING = "sorting for the approximate search: {done:,} of {total:,} photos"
    COUNTING = "counting"
    CHECKING = "checking"
    REBUILDING = "rebuilding the index"
    NAMING = "reading the names of all places, once"
    EXPORTING = "exporting"
    PRUNING = "pruning"
    PLACING = "putting photos into the folder"
    MEASURING = "comparing what the database finds with the exact answers"
    PUSHING = "pushing: {photos:,} photos compared, {stored:,} stored"


_REBUILD = "rclip --rebuild{where}, with the same --model, sets it aside and rebuilds it from what can be read"

ADVICE: dict[type[RclipError], str] = {
    errors.NeedsQuery: "leave out --min-score and --relevant, or add a query",
    errors.SortNeedsQuery: "leave out --sort score, or add a query",
    errors.MissingGazetteer: "to install it: {python} -P -m pip install '{package}>=3.0.2,<4'; or write LAT,LON",
    errors.EmptyTimeRange: "--before is where the time ends: --after 2012 --before 2013 is the year 2012",
    errors.CannotListen: "choose another",
    errors.EmptyQuery: 'say what to look for: rclip "a red kite"',
    errors.TooManyTerms: "leave some out",
    errors.OldDecoder: "update it: {python} -P -m pip install --upgrade {package}",
    errors.UnreadableConfiguration: "fix that, or set RCLIP_CONFIG to another file, or to nothing",
    errors.BadConfiguration: "correct that line, or set RCLIP_CONFIG to another file, or to nothing",
    errors.CannotCreate: "fix that{or_data_folder}",
    errors.ForeignDatabase: "move it away{or_data_folder}",
    errors.NewerIndex: "update rclip, or move the file away",
    errors.OtherModel: "move it away; the next run makes a new one",
    errors.DiskFull: "make room on that disk and run again; everything stored is kept",
    errors.IndexLocked: "wait for that program, or end it",
    errors.NotWritable: "fix its permissions{or_data_folder}, or search what is indexed with -n",
    errors.DamagedIndex: _REBUILD,
    errors.DatabaseFailed: f"run again; if it stays, {_REBUILD}",
    errors.CacheNotWritten: "make room or fix its permissions, or delete it",
    errors.NotAdopted: "rclip --init{where} adopts it, if you trust it",
    errors.StrangeFile: "move it away if it is not yours",
    errors.NoIndex: "rclip --index{where} makes one",
    errors.RebuildFailed: "fix that, and run it again",
    errors.ImportedInPart: "rclip --rebuild, run outside {root}, repairs it",
    errors.UnknownModel: "--model takes a file, a folder, or one of {names}",
    errors.SimilarModel: "did you mean {nearest}? --model takes a file, a folder, or one of {names}",
    errors.DownloadFailed: "try again, or put the file there by hand: {path}",
    errors.WeightsNotWritten: "fix that, or set RCLIP_DATADIR",
    errors.NoRoomForWeights: "they take {megabytes:.0f} MB: make room, or set RCLIP_DATADIR",
    errors.DeviceFailed: "use --device cpu",
    errors.UnsupportedModel: "choose another model; docs/models.md lists the families that rclip runs",
    errors.NoModelFolder: "a folder needs open_clip_config.json or config.json, and the weights beside it",
    errors.UnfitWeights: "fetch both files again",
    errors.UnusableTokenizer: "fetch it again",
    errors.MissingPackage: "to install it: {python} -P -m pip install {package}",
    errors.CannotReachCluster: "start it with dask scheduler, and see docs/cluster.md",
    errors.ClusterLost: "run the same again; everything stored is kept",
    errors.NoUsableWorker: "start workers with dask worker, and see docs/cluster.md",
    errors.NoWorkerYet: "start one with dask worker, and see docs/cluster.md",
    errors.WorkerNotUsed: "fix that and start it again",
    errors.NotSorted: "rclip --index --approximate does that",
    errors.MissingModelPackage: "to install it: {python} -P -m pip install open_clip_torch transformers",
    errors.ForeignTextModel: "leave out --language",
    errors.HubFailed: "try again, or put {files} into a folder and name that folder as the model",
    errors.UnknownDatabase: "correct it",
    errors.PasswordInAddress: "put it into PGPASSWORD, ~/.pgpass or CHROMA_API_KEY",
    errors.MissingDriver: "to install it: {python} -P -m pip install '{package}'",
    errors.NothingToPush: "index it first, or mount its disk",
    errors.CannotConnect: "correct the address, PGUSER and PGPASSWORD or ~/.pgpass, or run the same again later",
    errors.ChromaUnreachable: (
        "correct the address, CHROMA_API_KEY or CHROMA_CLIENT_AUTH_CREDENTIALS, or run the same again later"
    ),
    errors.UnprotectedToken: "use chroma+https://, or unset it",
    errors.NoChromaFolder: "name another one",
    errors.ForeignChromaFolder: "push into a folder that is new or empty, and search that",
    errors.ServerFailed: "run the same again; what was pushed is kept",
    errors.NoVectorType: "whoever runs it must install pgvector and run: CREATE EXTENSION vector",
    errors.NothingPushed: "--push, with the same address, brings some there",
    errors.OtherModelPushed: "ask with that model (--model), or push into another database",
    errors.OlderDatabase: "drop rclip_photos, and rclip_meta beside it, and push again",
    errors.NewerDatabase: "update rclip",
    errors.MissingShard: "attach the missing ones to rclip_photos again",
    errors.BadAnswer: "do not trust it; if it is yours, drop rclip_photos, and rclip_meta beside it, and push again",
    errors.DumbTerminal: "leave out --preview",
    errors.PicturesBlocked: "to allow them: tmux set -g allow-passthrough on",
}
"""What to do next, by the kind of error; the nearest class above it where it has none of its own."""

REMEDIES = {
    "NEXT_RUN": "the next run rebuilds it",
    "DELETION": "delete {path}, and the next run rebuilds it",
    "REBUILD": "rclip --rebuild{where}, with the same --model, repairs the index",
}
"""What to do about a damaged part of the index, by the name of a `Remedy`."""

FAILURE_ADVICE: dict[int, str] = {
    FailureKind.TOO_LARGE: "--max-image-megapixels raises the limit",
    FailureKind.TOO_SLOW: f"{TIME_LIMIT_VARIABLE} raises the limit",
}
"""What helps with a photo that could not be read."""


def of_error(error: RclipError) -> str:
    """What happened, to what, and what to do next, in one line."""
    if isinstance(error, errors.UnreadablePicture):
        return of_failure(str(error), error.kind)
    advice = next((ADVICE[kind] for kind in type(error).__mro__ if kind in ADVICE), "")
    return f"{error}; {_filled(advice, error)}" if advice else str(error)


def _filled(advice: str, error: RclipError) -> str:
    from string import Formatter

    root = getattr(error, "root", "")
    derived = {
        "where": _where(root),
        "or_data_folder": "" if root else ", or set RCLIP_DATADIR",
        "python": sys.executable,
    }
    names = [name for _, name, _, _ in Formatter().parse(advice) if name]
    return advice.format_map({name: derived[name] if name in derived else getattr(error, name) for name in names})


def _where(root: str) -> str:
    """What a command line needs after its options to mean an index; nothing for the user's own."""
    if not root:
        return ""
    from shlex import quote

    return f" {quote(root)}"


def of_finding(finding: "Finding") -> str:
    """The state of a part of the index, and what repairs it."""
    remedy = REMEDIES.get(finding.remedy.name)
    return (
        f"{finding.summary}; {remedy.format(where=_where(finding.root), path=finding.path)}"
        if remedy
        else finding.summary
    )


def of_failure(reason: str, kind: int) -> str:
    """Why a photo could not be read, and what helps; `kind` is its `FailureKind`."""
    return f"{reason} ({FAILURE_ADVICE[kind]})" if kind in FAILURE_ADVICE else reason


def listing(parts: "list[str]") -> str:
    """ "a", "a and b", "a, b and c" """
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def alternatives(words: "tuple[str, ...]") -> str:
    """ "a", "a or b", "a, b or c" """
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


_MOST_CHARACTERS = 4000  # of a line that quotes a query of megabytes


def tell(said: str | RclipError) -> None:
    """One line on stderr."""
    line = errors.without_passwords(of_error(said) if isinstance(said, RclipError) else said)
    if len(line) > _MOST_CHARACTERS:
        line = f"{line[: _MOST_CHARACTERS // 2]} … {line[-_MOST_CHARACTERS // 2 :]}"
    activity.erase()
    with suppress(OSError):  # nobody listens, which is no reason to stop
        sys.stderr.write(f"rclip: {printable(line)}\n")
        sys.stderr.flush()
