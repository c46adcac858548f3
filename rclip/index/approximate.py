"""An approximate search of very large indexes, by FAISS: only with the extra `faiss`, and only when asked for.

Vectors are sorted into lists by the nearest of some thousand centroids; a search looks into the lists whose centroids
are nearest to the query, at one byte per number, and scores what it finds there again from the matrix. Which share of
the true best is found so is the recall. How many lists are looked into is chosen by measuring it, with texts as
queries: pictures find their like in far fewer lists, and who measures with them is deceived.

    <model>.matrix/approximate.json         what the files hold, and their stats when they were last checked
    <model>.matrix/trained-<token>          FAISS's index, without a vector: centroids, and the ranges of the numbers
    <model>.matrix/part-<token>             the lists of up to a million rows of the matrix: ids are row numbers

A part is written once, sealed, and mapped into memory by a search. New photos are scanned exactly until there are
enough of them; then the last part is written again with them, or another one added. An interrupted run loses the part
that it was writing. Photos that were deleted are found and passed over, as in the matrix. The files are derived from
the matrix and as disposable; they belong to the one whose token they name.
"""

import mmap
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rclip import datadir, isolation, manifest
from rclip.errors import CacheNotWritten, MissingPackage, plain_reason
from rclip.index.mapped import give_back
from rclip.index.vector_cache import VectorCache, rows_of
from rclip.index.vector_search import ExactVectorSearch, Nearest, stacked

if TYPE_CHECKING:
    import faiss

MIN_ROWS = 10_000
"""Fewer vectors are always searched exactly, in a few milliseconds."""

TARGET_RECALL = 0.95
"""Of the ten best of a text query, on average."""

_CHOSEN_RECALL = 0.98
"""By which the number of lists is chosen: other queries than those of the sample may find less."""

_BEST = 10
_PART_ROWS = 1 << 20
_APPEND_FROM_ROWS = 1 << 16
"""New rows are scanned exactly until there are so many, in some milliseconds."""

_ENCODED_ROWS = 1 << 14
_MOST_LISTS = 8192
_SAMPLE_PER_LIST = 40
"""Vectors by which a centroid is trained; FAISS asks for 39. Of the most lists they take 640 MiB, of 512 numbers."""

_MARGIN = 64
"""Looked up beyond what is wanted: the order by one byte per number is not quite the right one."""

_MOST_WANTED = 4096
"""More than so many are searched for exactly."""

_MIN_ALLOWED_SHARE = 0.25
"""Filters that leave less have what they leave searched exactly: the best of few lie in lists that are far away."""

_MEASURED_AGAIN = 1.5
"""The recall is measured again when there are so many times as many rows as when it was measured."""


class Recall(NamedTuple):
    """How well an approximate search finds what an exact one finds."""

    rows: int
    """The vectors in its lists; newer ones are searched exactly."""
    lists: int
    probes: int
    """So many of the lists are looked into."""
    recall: float
    """Of the ten best, on average of the queries that it was measured with."""
    queries: int


class _Manifest(NamedTuple):
    """What the files hold."""

    token: str
    matrix: str
    """The token of the matrix."""
    dimensions: int
    lists: int
    parts: list[list[Any]]
    """Token, first row and end of each, ascending and without gaps."""
    probes: int
    """0 while it is not measured: the files are not complete then, and not used."""
    recall: float
    queries: int
    measured_rows: int
    crc32: list[int]
    """Of `trained`, and of each part."""
    stats: list[list[int]]
    """The same files' when they were last found to have these checksums."""

    def check(self) -> None:
        """Raises ValueError for what was never written so."""
        numbers = (self.dimensions, self.lists, self.probes, self.queries, self.measured_rows, *self.crc32)
        is_sound = manifest.is_name(self.token) and manifest.are_counts(*numbers) and isinstance(self.recall, float)
        end = 0
        for token, first, following in self.parts:
            is_sound &= manifest.is_name(token) and manifest.are_counts(first, following) and first == end < following
            end = following
        if not is_sound or len(self.crc32) != 1 + len(self.parts) or not 0 < self.lists <= _MOST_LISTS:
            raise ValueError("damaged")

    @property
    def rows(self) -> int:
        """The first so many rows of the matrix are in the parts."""
        return self.parts[-1][2] if self.parts else 0

    @property
    def names(self) -> list[str]:
        return [f"trained-{self.token}", *(f"part-{token}" for token, _, _ in self.parts)]


def load_faiss() -> Any:
    """The module. Raises `MissingPackage`."""
    try:
        import faiss
    except ImportError as error:
        raise MissingPackage(what="approximate search", package="faiss-cpu") from error
    return faiss


def wanted_lists(rows: int) -> int:
    """How many lists suit so many vectors."""
    return max(1, min(int(4 * rows**0.5), rows // _SAMPLE_PER_LIST, _MOST_LISTS))


class InvertedFile:
    """The lists of one matrix as they are on disk now; empty where there are none to be trusted."""

    def __init__(self, cache: VectorCache):
        self._cache = cache
        self._folder = cache.folder
        self._manifest = self._trusted_manifest() if cache.token else None
        self._index: faiss.IndexIVF | None = None
        self._parts: list[faiss.InvertedLists] = []
        self._lock = threading.Lock()
        """Around the index: a search puts each part's lists into it in turn."""

    def is_like(self, other: "InvertedFile") -> bool:
        """Whether both are the same files in the same state."""
        return self._manifest == other._manifest

    @property
    def rows(self) -> int:
        """The first so many rows of the matrix can be searched in the lists."""
        return self._manifest.rows if self._manifest and self._manifest.probes else 0

    @property
    def recall(self) -> Recall | None:
        """None where there is nothing to be searched."""
        if not self._manifest or not self._manifest.probes:
            return None
        _, _, _, lists, _, probes, recall, queries, *_ = self._manifest
        return Recall(self._manifest.rows, lists, probes, recall, queries)

    # --- searching ---------------------------------------------------------------------------------------------------

    def nearest_rows(self, queries: np.ndarray, k: int, allowed_rows: np.ndarray | None) -> np.ndarray:
        """Row numbers (Q, k) int64 of nearly the best, in any order; -1 where the lists looked into have no more.

        Raises OSError or ValueError where the files are not as they were, `MissingPackage` without FAISS.
        """
        faiss = load_faiss()
        with self._lock:
            index, contents = self._opened(), self._manifest
            assert contents
            parameters = faiss.SearchParametersIVF(nprobe=contents.probes)
            if allowed_rows is not None:
                is_allowed = np.zeros(contents.rows, np.uint8)
                is_allowed[allowed_rows] = 1
                bits = np.packbits(is_allowed, bitorder="little")
                parameters = faiss.SearchParametersIVF(nprobe=contents.probes, sel=faiss.IDSelectorBitmap(bits))
            found = []
            for lists in self._parts:
                index.replace_invlists(lists, False)
                found.append(index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters))
        scores, rows = (np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        return np.take_along_axis(rows, best, axis=1)

    def _opened(self) -> "faiss.IndexIVF":
        """FAISS's index, and the parts mapped. Raises OSError or ValueError."""
        faiss, contents = load_faiss(), self._manifest
        if self._index is None:
            if not contents:
                raise ValueError("no lists")
            trained, *parts = (os.path.join(self._folder, name) for name in contents.names)
            try:
                index = faiss.read_index(trained)
                self._parts = [_mapped(faiss, path, index) for path in parts]
            except RuntimeError as error:  # FAISS's own
                raise ValueError("not what FAISS wrote") from error
            index.ntotal = contents.rows
            self._index = index
        return self._index

    # --- trusting ----------------------------------------------------------------------------------------------------

    @property
    def _manifest_path(self) -> str:
        return os.path.join(self._folder, "approximate.json")

    def _trusted_manifest(self) -> _Manifest | None:
        try:
            contents = manifest.read(self._manifest_path, _Manifest)
            contents.check()
            if contents.matrix != self._cache.token or contents.rows > self._cache.rows:
                return None
            now = contents._replace(stats=[self._stat(name) for name in contents.names])
            return manifest.verified(contents, now, lambda: self._checksums(contents), self._write_manifest)
        except (OSError, ValueError, TypeError):
            return None

    def _stat(self, name: str) -> list[int]:
        return manifest.identity(os.lstat(os.path.join(self._folder, name)))

    def _checksums(self, contents: _Manifest) -> list[int]:
        return [self._checksum(name) for name in contents.names]

    def _checksum(self, name: str) -> int:
        with open(os.path.join(self._folder, name), "rb", opener=isolation.open_itself) as file:
            return manifest.crc32_of(file)

    def _write_manifest(self, contents: _Manifest) -> None:
        manifest.write(self._manifest_path, contents)

    def exists(self) -> bool:
        return os.path.lexists(self._manifest_path)

    def is_sound(self) -> bool:
        """Whether all bytes are those that were written; a search believes files whose stats are as they were."""
        try:
            return self._manifest is not None and self._checksums(self._manifest) == self._manifest.crc32
        except (OSError, ValueError):
            return False

    def discard(self) -> None:
        """Has the next update of the caches make it anew. Raises OSError where it may not be deleted."""
        self._manifest = None
        with suppress(FileNotFoundError):
            os.unlink(self._manifest_path)

    # --- building ----------------------------------------------------------------------------------------------------

    def catch_up(
        self,
        exact: ExactVectorSearch,
        sample_queries: Callable[[], np.ndarray],
        progress: Callable[[int, int], None],
        append_from_rows: int = _APPEND_FROM_ROWS,
        part_rows: int = _PART_ROWS,
    ) -> None:
        """Sorts the rows that are in no list yet, if there are enough of them; goes on where another run was ended.

        `sample_queries` gives text vectors (Q, D) float32 of length 1 to measure the recall with; `progress` is called
        with the rows that are sorted and those that will be. Does nothing while another run does the same. Raises
        `CacheNotWritten`, and `MissingPackage` without FAISS; what was there before is then still good.
        """
        faiss, mapped = load_faiss(), self._cache.map()
        if mapped is None or (self._cache.rows - self.rows < append_from_rows and self.rows):
            return
        with suppress(BlockingIOError):
            lock = datadir.claim(self._folder)
            try:
                self._manifest = self._trusted_manifest()
                self._build(faiss, *mapped, progress, part_rows)
                self._measure(exact, sample_queries)
                self._delete_others()
            except (OSError, RuntimeError) as error:  # the second is FAISS's own
                raise CacheNotWritten(path=self._folder, reason=plain_reason(error)) from error
            finally:
                os.close(lock)
                self._index = None

    def _build(
        self,
        faiss: Any,
        memory: mmap.mmap,
        vectors: np.ndarray,
        progress: Callable[[int, int], None],
        part_rows: int,
    ) -> None:
        contents = self._manifest
        if not contents or wanted_lists(len(vectors)) >= 2 * contents.lists:
            progress(0, len(vectors))
            contents = self._train(faiss, memory, vectors)
        while contents.rows < len(vectors):
            kept = contents.parts
            if kept and kept[-1][2] - kept[-1][1] < part_rows:
                kept = kept[:-1]  # it is written again, with more rows
            first = kept[-1][2] if kept else 0
            contents = self._add_part(
                faiss, memory, vectors[: first + part_rows], contents, kept, progress, len(vectors)
            )

    def _train(self, faiss: Any, memory: mmap.mmap, vectors: np.ndarray) -> _Manifest:
        lists = wanted_lists(len(vectors))
        rows = np.unique(np.linspace(0, len(vectors) - 1, lists * _SAMPLE_PER_LIST).astype(np.int64))
        sample = vectors[rows].astype(np.float32)
        give_back(memory, 0, vectors.nbytes)
        index = faiss.index_factory(vectors.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        contents = _Manifest(os.urandom(8).hex(), self._cache.token, vectors.shape[1], lists, [], 0, 0.0, 0, 0, [0], [])
        path = self._new_file(contents.names[0])
        faiss.write_index(index, path)
        return self._seal(contents, [])

    def _add_part(
        self,
        faiss: Any,
        memory: mmap.mmap,
        vectors: np.ndarray,
        contents: _Manifest,
        kept: list[list[Any]],
        progress: Callable[[int, int], None],
        total: int,
    ) -> _Manifest:
        """The rows after those of the parts `kept`, up to the end of the vectors, become the next one."""
        index = faiss.read_index(os.path.join(self._folder, contents.names[0]))
        lists = faiss.ArrayInvertedLists(index.nlist, index.code_size)
        index.replace_invlists(lists, False)
        first = kept[-1][2] if kept else 0
        for start in range(first, len(vectors), _ENCODED_ROWS):
            chunk = vectors[start : start + _ENCODED_ROWS]
            progress(start, total)
            index.add_with_ids(chunk.astype(np.float32), np.arange(start, start + len(chunk)))
            give_back(memory, start * vectors.strides[0], start * vectors.strides[0] + chunk.nbytes)
        token = os.urandom(8).hex()
        path = self._new_file(f"part-{token}")
        try:
            writer = faiss.FileIOWriter(path)
            faiss.write_InvertedLists(lists, writer)
            del writer  # closes it
            if os.path.getsize(path) < (len(vectors) - first) * (index.code_size + 8):
                raise OSError("it could not be written to its end")
        except BaseException:
            os.unlink(path)
            raise
        progress(len(vectors), total)
        crc32 = contents.crc32[: 1 + len(kept)]
        return self._seal(contents._replace(parts=[*kept, [token, first, len(vectors)]], crc32=crc32), crc32)

    def _new_file(self, name: str) -> str:
        """An empty file that only its owner may read, which FAISS then opens."""
        path = os.path.join(self._folder, name)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def _seal(self, contents: _Manifest, crc32: list[int]) -> _Manifest:
        """With the checksum of the newest file after those of the others, and everything on the disk."""
        descriptor = os.open(os.path.join(self._folder, contents.names[-1]), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        checksums = [*crc32, self._checksum(contents.names[-1])]
        contents = contents._replace(crc32=checksums, stats=[self._stat(name) for name in contents.names])
        self._write_manifest(contents)
        self._manifest, self._index = contents, None
        return contents

    def _measure(self, exact: ExactVectorSearch, sample_queries: Callable[[], np.ndarray]) -> None:
        """Chooses how many lists are looked into, by what the sample's queries need, and measures what they find."""
        contents = self._manifest
        if not contents or (contents.probes and contents.rows < _MEASURED_AGAIN * contents.measured_rows):
            return
        queries = sample_queries()
        right = np.concatenate([exact.search(queries[at : at + 4], _BEST)[0] for at in range(0, len(queries), 4)])
        probes = self._needed_probes(exact, queries, right)
        while True:
            probes = min(probes, contents.lists)
            self._manifest = contents._replace(
                probes=probes, queries=len(queries), measured_rows=contents.rows, recall=0.0
            )
            found, _ = ApproximateVectorSearch(exact, self._cache, self).search(queries, _BEST)
            recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(right, found, strict=True)]))
            if recall >= TARGET_RECALL or probes == contents.lists:
                break
            probes = probes + 1 + probes // 4
        self._manifest = self._manifest._replace(recall=recall)
        self._write_manifest(self._manifest)

    def _needed_probes(self, exact: ExactVectorSearch, queries: np.ndarray, right: np.ndarray) -> int:
        """In how many lists most of the best are: those ids (Q, best), by the ranks of their lists for their query."""
        index, contents = self._opened(), self._manifest
        assert contents
        _, order = index.quantizer.search(queries, contents.lists)
        ranks = np.argsort(order, axis=1)  # of each list
        vectors = self._cache.vectors_of(np.unique(right)).astype(np.float32)
        _, lists = index.quantizer.search(vectors, 1)
        of_ids = dict(zip(np.unique(right).tolist(), lists[:, 0].tolist(), strict=True))
        needed = [ranks[number, of_ids[id_]] for number, ids in enumerate(right) for id_ in ids.tolist()]
        return int(np.quantile(needed, _CHOSEN_RECALL, method="higher")) + 1

    def _delete_others(self) -> None:
        """Parts that were written again, or never to their end."""
        assert self._manifest
        for name in os.listdir(self._folder):
            if manifest.is_derived(name, "", KINDS) and name not in self._manifest.names:
                with suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))


KINDS = ("trained", "part")


class ApproximateVectorSearch:
    """Looks for the best in the lists, and exactly among the rows that are in none yet.

    It is exact where the lists would not do: for more than some thousand photos, for filters that leave few, and for
    the distribution of all scores, by which relevance is judged.
    """

    def __init__(self, exact: ExactVectorSearch, cache: VectorCache, lists: InvertedFile):
        self._exact = exact
        self._cache = cache
        self._lists = lists

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        rows = self._lists.rows
        allowed_rows = None if allowed is None else rows_of(allowed, self._cache.ids[:rows])
        is_narrow = allowed_rows is not None and len(allowed_rows) < _MIN_ALLOWED_SHARE * rows
        mapped = self._cache.map()
        if mapped is None or not rows or k > _MOST_WANTED or is_narrow:
            return self._exact.search(queries, k, allowed)
        try:
            candidates = self._lists.nearest_rows(queries, k + _MARGIN, allowed_rows)
        except (OSError, ValueError):  # deleted by another run
            return self._exact.search(queries, k, allowed)
        if (candidates < 0).any():  # these lists hold fewer
            return self._exact.search(queries, k, allowed)
        nearest = [Nearest(k) for _ in queries]
        self._exact.add_rows(*mapped, queries, np.sort(candidates, axis=1), nearest)
        self._exact.add_all(queries, k, allowed, nearest, first_row=rows)
        return stacked([found.ids for found in nearest], np.int64), stacked(
            [found.scores for found in nearest], np.float32
        )

    def score_quantiles(self, queries: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
        return self._exact.score_quantiles(queries, quantiles)

    def count(self, allowed: np.ndarray | None = None) -> int:
        return self._exact.count(allowed)


def _mapped(faiss: Any, path: str, index: "faiss.IndexIVF") -> Any:
    """The lists of a part. Raises ValueError for those that do not fit the index."""
    lists = faiss.downcast_InvertedLists(
        faiss.read_InvertedLists(faiss.FileIOReader(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    )
    if (lists.nlist, lists.code_size) != (index.nlist, index.code_size):
        raise ValueError("of another index")
    return lists
