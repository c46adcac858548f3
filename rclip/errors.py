"""What can go wrong, and the exit status of each error.

An error that the user can act on is an `RclipError`. It carries data, and `str()` says in one line what happened, to
what. What to do next depends on who asks: `cli.messages` has that for the command. A photo or folder that cannot be
read is no error but a value, `FailedPhoto`: a bad photo is a value, a bad store is an exception.
"""

import errno
import re
from enum import IntEnum
from typing import ClassVar, dataclass_transform


class ExitCode(IntEnum):
    """What the command returns to the shell; grep's convention. One that a signal ends gives 128 and its number."""

    FOUND = 0
    NOTHING_FOUND = 1
    ERROR = 2


class RclipError(Exception):
    """Something that the user can act on; `str()` is one line."""

    exit_code = ExitCode.ERROR


class UsageError(RclipError):
    """The command or the call asks for something that makes no sense."""


class ModelError(RclipError):
    """The model's weights cannot be found, read or used."""


class StoreError(RclipError):
    """The index cannot be opened, read or written."""


@dataclass_transform(kw_only_default=True)
class _WithData:
    """Keeps the data it is given by name, and fills them into its sentence.

    Not a dataclass: each of those would cost every start half a millisecond.
    """

    sentence: ClassVar[str]

    def __init__(self, **data: object):
        super().__init__()
        self.__dict__.update(data)

    def __getitem__(self, name: str) -> object:
        return getattr(self, name)

    def __str__(self) -> str:
        return self.sentence.format_map(self)


# --- queries ---------------------------------------------------------------------------------------------------------


class EmptyQuery(_WithData, UsageError):
    """A query, or a term of one, without words."""

    sentence = "the query is empty"


class OpenQuery(_WithData, UsageError):
    """A query that ends with a sign."""

    sentence = "the query ends with {sign}: a term must follow it"
    sign: str


class TooManyTerms(_WithData, UsageError):
    """A query of more terms than anybody writes."""

    sentence = "the query has more than {most} terms"
    most: int


class BadWeight(_WithData, UsageError):
    """A term's weight that is out of range."""

    sentence = "{term!r} has the weight {weight:g}, which must be above 0 and below a million"
    term: str
    weight: float


class CancelledQuery(_WithData, UsageError):
    """A query whose terms add up to nothing."""

    sentence = "nothing is left of {query}: its terms cancel each other"
    query: str


class UnreadablePicture(_WithData, UsageError):
    """A query's picture that cannot be opened or decoded."""

    sentence = "cannot open {name}: {reason}"
    name: str
    reason: str
    kind: int = 0
    """Its `FailureKind`; 0 where the file system has refused it."""


class FetchFailed(_WithData, UsageError):
    """A query's picture that cannot be downloaded."""

    sentence = "cannot fetch {url}: {reason}"
    url: str
    reason: str


class UnknownPhoto(_WithData, UsageError):
    """An id that is none of a photo that the library could find."""

    sentence = "the photo {id} is not here any more"
    id: str


class NoPicture(_WithData, UsageError):
    """An id that is none of a picture that is kept."""

    sentence = "the picture that the query asks with is not kept any more: choose it again"
    id: str


class LinksNotAllowed(_WithData, UsageError):
    """A picture's address in a query, where nothing is to be fetched."""

    sentence = "pictures are not fetched from addresses here: {url}"
    url: str


class BadFilter(_WithData, UsageError):
    """A filter's value, as text, that it cannot have."""

    sentence = "the filter {name} {problem}"
    name: str
    """The filter's option without its dashes."""
    problem: str


class CannotListen(_WithData, UsageError):
    """An address that no server can be started at."""

    sentence = "cannot listen at {host}:{port}: {reason}"
    host: str
    port: int
    reason: str


class NoDesktop(_WithData, RclipError):
    """There is no program that would show a file."""

    sentence = "to open files, rclip needs {program}, which is not installed (package xdg-utils)"
    program: str


class DesktopFailed(_WithData, RclipError):
    """The desktop's program did not take a file."""

    sentence = "{program} cannot open {path}: {reason}"
    program: str
    path: str
    reason: str


class NeedsQuery(_WithData, UsageError):
    """Filters by score without anything that gives scores."""

    sentence = "filters by score and relevance need a query: without one, nothing is scored"


class SortNeedsQuery(_WithData, UsageError):
    """An order by score without anything that gives scores."""

    sentence = "sorting by score needs a query: without one, nothing is scored"


class MissingGazetteer(_WithData, UsageError):
    """The name of a place, where what knows these is not installed."""

    sentence = (
        "to know where {name} is, rclip needs the package {package}, which is not installed in a version that it knows"
    )
    name: str
    package: str


class EmptyTimeRange(_WithData, UsageError):
    """Filters by time that no photo can pass."""

    sentence = "the time range from {after} to {before} is empty"
    after: str
    before: str


# --- terminals -------------------------------------------------------------------------------------------------------


class DumbTerminal(_WithData, UsageError):
    """A terminal on which nothing can be drawn."""

    sentence = "this terminal cannot show pictures (TERM is dumb)"


class NoTerminal(_WithData, UsageError):
    """The interface has no terminal to draw on."""

    sentence = "the interface needs a terminal ({reason})"
    reason: str


class PicturesBlocked(_WithData, UsageError):
    """A way of drawing that needs the terminal behind tmux, which lets nothing through."""

    sentence = "tmux blocks {kind} pictures"
    kind: str


# --- settings --------------------------------------------------------------------------------------------------------


class UnreadableConfiguration(_WithData, UsageError):
    """A configuration file that cannot be read."""

    sentence = "cannot read the settings in {path}: {reason}"
    path: str
    reason: str


class BadConfiguration(_WithData, UsageError):
    """A configuration file that is no TOML, or sets what is no setting, or to what it cannot be."""

    sentence = "{path}, line {line}: {problem}"
    path: str
    line: int
    problem: str


# --- folders ---------------------------------------------------------------------------------------------------------


class NoFolder(_WithData, UsageError):
    """A path at which there is nothing."""

    sentence = "{path} does not exist"
    path: str


class NotAFolder(_WithData, UsageError):
    """A path of something else than a folder."""

    sentence = "{path} is a file, not a folder"
    path: str


class LostFolder(_WithData, UsageError):
    """A path that leads nowhere, as from a current folder that was deleted."""

    sentence = "cannot tell where {path} is: {reason}"
    path: str
    reason: str


class NotAFolderName(_WithData, UsageError):
    """A path where the name of a folder is wanted."""

    sentence = "folders are excluded by name, not by path: {name}"
    name: str


class CannotWriteTo(_WithData, UsageError):
    """A folder that photos were to be copied to."""

    sentence = "cannot write to {folder}: {reason}"
    folder: str
    reason: str


class TargetIsSearched(_WithData, UsageError):
    """A folder that photos were to be put into, though each would be another photo in it."""

    sentence = "cannot put photos into {folder}: that folder is searched itself; choose another, which may lie in it"
    folder: str


class CannotInit(_WithData, UsageError):
    """A folder for a portable index that cannot be created."""

    sentence = "cannot create {folder}: {reason}"
    folder: str
    reason: str


class CannotAdopt(_WithData, UsageError):
    """A portable index that cannot be noted in the user's own folder."""

    sentence = "cannot remember {folder} in {data_folder}: {reason}"
    folder: str
    data_folder: str
    reason: str


class UnlistedFolder(_WithData, StoreError):
    """A folder that was named cannot be listed; what is known of it is kept. Others can be updated all the same."""

    sentence = "cannot list {folder}: {reason}"
    folder: str
    reason: str


# --- the index -------------------------------------------------------------------------------------------------------


class _IndexError(_WithData, StoreError):
    """An error of the index at `path`."""

    path: str
    root: str = ""
    """The folder that a portable index is for; empty for the user's own index."""


class CannotCreate(_IndexError):
    """There is no index, and none can be made."""

    sentence = "cannot create {path}: {reason}"
    reason: str


class ForeignDatabase(_IndexError):
    """The file is no index."""

    sentence = "{path} is a database of another program"


class NewerIndex(_IndexError):
    """The index has tables that this version does not know."""

    sentence = "{path} was written by a newer rclip"


class OtherModel(_IndexError):
    """The index holds vectors of another model, or of pictures prepared otherwise."""

    sentence = "{path} was made by another model ({stored})"
    stored: object


class DiskFull(_IndexError):
    """There is no room for the index."""

    sentence = "cannot write {path}: the disk is full"


class IndexLocked(_IndexError):
    """Another program is writing to the index, and does not end."""

    sentence = "another program is using {path}"


class NotWritable(_IndexError):
    """The index must be written and may not be."""

    sentence = "cannot write {path}: {reason}"
    reason: str


class ReadOnlyIndex(_IndexError):
    """The index lies with the photos and may not be written. It can still be searched."""

    sentence = "{path} is read-only, and photos have changed; it is searched as it is"


class NotAdopted(ReadOnlyIndex):
    """The index comes from elsewhere, and this user has not said that it is to be trusted."""

    sentence = "{path} was not made by you here: it is only searched, as it is"


class StrangeFile(_WithData, StoreError):
    """The index, or a file beside it, is a link, a pipe, or somebody else's; rclip makes none like that."""

    sentence = "not opened: {reason}"
    reason: str


class DamagedIndex(_IndexError):
    """The index holds what was never written to it."""

    sentence = "{path} is damaged ({reason})"
    reason: str = "it holds values that rclip never writes"


class DatabaseFailed(_IndexError):
    """Any other error of SQLite, in its words."""

    sentence = "cannot use {path}: {reason}"
    reason: str


class NoIndex(_IndexError):
    """There is nothing to rebuild."""

    sentence = "there is no index at {path}"


class RebuildFailed(_IndexError):
    """The damaged index is where it was."""

    sentence = "cannot rebuild {path} ({reason}); nothing was changed"
    reason: str


class ImportedInPart(_IndexError):
    """The user's own index, from which a portable one starts, is damaged."""

    sentence = "{path} cannot be read to its end; what can be read is taken over into {root}"


class CacheNotWritten(_WithData, StoreError):
    """What makes searches quick could not be written; they work all the same."""

    sentence = "cannot write {path}: {reason}"
    path: str
    reason: str


class OldDecoder(_WithData, RclipError):
    """A package that decodes pictures or reads weights, older than the oldest version without known holes."""

    sentence = "{package} {installed} has holes that a hostile file can use; they are closed in {oldest}"
    package: str
    installed: str
    oldest: str


# --- databases that are shared ---------------------------------------------------------------------------------------


class UnknownDatabase(_WithData, UsageError):
    """An address of no kind of database that rclip knows."""

    sentence = "{url} is not the address of a database, like postgresql://host/photos or chroma:///folder"
    url: str


class PasswordInAddress(_WithData, UsageError):
    """A password where others can see it. The error does not hold it."""

    sentence = "a database's address must not hold a password: others can see it"


class MissingDriver(_WithData, UsageError):
    """A package that speaks to a database is not installed."""

    sentence = "{url} needs the package {package}, which is not installed"
    url: str
    package: str
    python: str


class NothingToPush(_WithData, UsageError):
    """Folders without indexed photos: to make the database like them would empty it."""

    sentence = "no photo is indexed in {folder}, so nothing was pushed, and nothing removed"
    folder: str


class _DatabaseError(_WithData, StoreError):
    """An error of the database at `url`, which holds no password."""

    url: str


class CannotConnect(_DatabaseError):
    """The database cannot be reached, or lets nobody of that name in."""

    sentence = "cannot connect to {url}: {reason}"
    reason: str


class ChromaUnreachable(CannotConnect):
    """The same, of a Chroma server: it takes other credentials."""


class UnprotectedToken(_DatabaseError):
    """A token that would go over the network in the clear."""

    sentence = "{url} is not encrypted, so the token in {variable} is not sent there"
    variable: str


class ForeignChromaFolder(_DatabaseError):
    """A folder that no push of this user has made, or that others can get into. Nothing in it was read."""

    sentence = "{path} was not made by a push of yours, or others can get into it, so it was not opened"
    path: str


class NoChromaFolder(_DatabaseError):
    """A folder for Chroma that cannot be made."""

    sentence = "cannot make the folder {path}: {reason}"
    path: str
    reason: str


class ServerFailed(_DatabaseError):
    """The database ended a request with an error, or went away."""

    sentence = "{url} failed: {reason}"
    reason: str


class NoVectorType(_DatabaseError):
    """A PostgreSQL without pgvector."""

    sentence = "{url} has no extension vector (pgvector): {reason}"
    reason: str


class NothingPushed(_DatabaseError):
    """A database without the tables of rclip."""

    sentence = "{url} holds no photos from rclip"


class OtherModelPushed(_DatabaseError):
    """The database holds vectors of another model, or of pictures prepared otherwise."""

    sentence = "{url} holds vectors of another model ({stored})"
    stored: str


class OlderDatabase(_DatabaseError):
    """The database's tables are those of an older version."""

    sentence = "{url} was written by an older rclip (schema {version})"
    version: int


class NewerDatabase(_DatabaseError):
    """The database's tables are those of a newer version."""

    sentence = "{url} was written by a newer rclip (schema {version})"
    version: int


class MissingShard(_DatabaseError):
    """A part of the database's photos is not attached to their table."""

    sentence = "{url} has {found} of the {count} shards that its photos are in"
    found: int
    count: int


class BadAnswer(_DatabaseError):
    """The database sent what rclip has never stored there."""

    sentence = "{url} sent what rclip never stores: {what}"
    what: str


# --- models ----------------------------------------------------------------------------------------------------------


class UnknownModel(_WithData, ModelError):
    """Neither a model's name nor the path of a checkpoint."""

    sentence = "there is no model and no checkpoint file {model!r}"
    model: str
    names: str
    """Those that there are."""


class SimilarModel(UnknownModel):
    """The same, where a model has a similar name."""

    nearest: str


class UnreadableCheckpoint(_WithData, ModelError):
    """A checkpoint that the system does not give."""

    sentence = "cannot read the checkpoint {path}: {reason}"
    path: str
    reason: str


class NoCheckpoint(_WithData, ModelError):
    """A file that is not the checkpoint of a model that rclip can run."""

    sentence = "{path} is not a CLIP checkpoint: {reason}"
    path: str
    reason: str


class DownloadFailed(_WithData, ModelError):
    """A checkpoint could not be fetched to `path`, or came otherwise than expected."""

    sentence = "cannot fetch {url}: {reason}"
    url: str
    reason: str
    path: str


class UnsupportedModel(_WithData, ModelError):
    """A model whose configuration asks for something that rclip cannot run."""

    sentence = "the model cannot be used: its configuration has {name} {value!r}, which rclip does not support"
    name: str
    value: object


class NoModelFolder(_WithData, ModelError):
    """A folder, or a file in it, that does not describe a model."""

    sentence = "cannot read the model {path}: {reason}"
    path: str
    reason: str


class UnfitWeights(_WithData, ModelError):
    """Weights that are not those of the configuration beside them."""

    sentence = "the weights in {path} do not fit their configuration: {reason}"
    path: str
    reason: str


class UnusableTokenizer(_WithData, ModelError):
    """A `tokenizer.json` that cannot be used."""

    sentence = "cannot use the tokenizer {path}: {reason}"
    path: str
    reason: str


# --- several machines ------------------------------------------------------------------------------------------------


class CannotReachCluster(_WithData, RclipError):
    """There is no scheduler at the address, or it does not let us in."""

    sentence = "cannot reach the cluster {address}: {reason}"
    address: str
    reason: str


class ClusterLost(_WithData, RclipError):
    """The connection to the scheduler has ended in the middle of a run."""

    sentence = "lost the cluster {address}: {reason}"
    address: str
    reason: str


class NoUsableWorker(_WithData, RclipError):
    """A cluster without a worker that could read photos."""

    sentence = "the cluster {address} reads no photos: {reason}"
    address: str
    reason: str


class NoWorkerYet(_WithData, RclipError):
    """The run waits for a first worker."""

    sentence = "waiting for a worker of the cluster {address}"
    address: str


class WorkerNotUsed(_WithData, RclipError):
    """A worker that differs from this machine; the run goes on without it."""

    sentence = "the worker {worker} is not used: {difference}"
    worker: str
    difference: str


# --- packages --------------------------------------------------------------------------------------------------------


class MissingPackage(_WithData, RclipError):
    """Something that is asked for and needs an optional package."""

    sentence = "{what} needs the package {package}, which is not installed"
    what: str
    package: str


class NotSorted(_WithData, RclipError):
    """An index that is to be searched approximately, and whose vectors are in no lists yet. It is searched exactly."""

    sentence = "searching exactly: the photos of {path} are not sorted for an approximate search yet"
    path: str


class MissingModelPackage(_WithData, ModelError):
    """A model that needs an optional package."""

    sentence = "this model needs the package {package}, which is not installed"
    package: str


class HubFailed(_WithData, ModelError):
    """A file of a model that cannot be fetched."""

    sentence = "cannot fetch {file} of {repository}: {reason}"
    repository: str
    file: str
    reason: str
    files: str
    """All that the model needs."""


class ForeignTextModel(_WithData, ModelError):
    """A text model that does not answer in the model's space."""

    sentence = "queries in any language need a text model for {model}, and {text_model} is for {wanted}"
    model: str
    text_model: str
    wanted: str


class WeightsNotWritten(_WithData, ModelError):
    """The weights made from a checkpoint cannot be stored."""

    sentence = "cannot write {path}: {reason}"
    path: str
    reason: str


class NoRoomForWeights(WeightsNotWritten):
    """The same, as there is no room."""

    megabytes: float


class WeightsLost(_WithData, ModelError):
    """The weights have been written, and are not there."""

    sentence = "the weights just written cannot be read back: {reason}"
    reason: str


class BrokenWeights(_WithData, ModelError):
    """A model that gives NaN or infinity."""

    sentence = "the model {model} gives values that are not numbers: its checkpoint is broken"
    model: str


class UnknownDevice(_WithData, ModelError):
    """A device that this machine does not have."""

    sentence = "this machine has no device {device!r} for torch; it has {available}"
    device: str
    available: str


class DeviceFailed(_WithData, ModelError):
    """A device that cannot do the work."""

    sentence = "{device} does not work here: {reason}"
    device: str
    reason: str


def is_full(error: OSError) -> bool:
    """Whether nothing is wrong but that there is no room: on the disk, or for what one user or one file may take."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def without_passwords(text: str) -> str:
    """The text without names and passwords in addresses."""
    if "://" not in text:
        return text
    # A password may also have signs in it that end an address's first part, as it is typed.
    return re.sub(r"(\b[a-z][a-z0-9+.-]{0,20}://)(?:[^\s:/]*:[^\n]*|[^/?#\s]*)@", r"\1…@", text, flags=re.IGNORECASE)


def plain_reason(error: BaseException) -> str:
    """The reason of an exception in one line, without the errno and path that `OSError` puts into its text."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(text.split())
    return line or type(error).__name__
