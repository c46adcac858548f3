"""A sketch of the matrix, one byte per number: a search scans it first, and then looks at few vectors in full.

Scanning takes as long as reading does, and this is half as much to read. What comes of it is still **exactly** the
answer of a full scan, because a row is passed over only where it cannot belong to that answer:

Let x be a row of D numbers, c the centre and s the scales, one number per coordinate each. Its codes are
z = round((x - c) / s), within ±127, and the sketch stands for x̂ = c + s·z. For a query q let w = q·s by coordinate,
and w = a·(256 h + l) + δ with h and l whole numbers of one byte: the query in two bytes. Then

    q·x  =  q·c + a·(256 h·z + l·z)  +  δ·z  +  q·(x - x̂)

What stands before δ·z is the score by the sketch; products of bytes are exact in 32 bits. By the inequality of Cauchy
and Schwarz the two terms left out are at most |δ|·|z| and |q|·|x - x̂|. |z| is at most 127·√D, and |x - x̂| is stored
with each row, rounded up. With the rounding of float32 (`_rounding`) that is the error e of a row, and q·x is within
score ± e. If k rows have score - e ≥ t, then the k-th best score is t at least, and rows with score + e < t are not
among the best k. All others are scored in full. q is the query as `vectors.dot` takes it, in half precision, so that
what is bounded is that function's result, and near ties fall as they do without a sketch.

Centre and scales are those of a sample, and stay. A row that is unlike the sample is clipped, its error is large, and
it is scored in full: that takes time and changes no answer. When new rows are much worse on average, all is begun anew.

    <model>.matrix/sketch.json              what the file holds, and its stat when that was last checked
    <model>.matrix/sketch-<token>           c and s, 2 · D float32; N rows of D int8 and one float32, |x - x̂|

The file is derived from the matrix and as disposable. It belongs to the matrix whose token it names: that one's rows
never change, more are only appended.
"""

import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

import numpy as np

from rclip import isolation, manifest
from rclip.cores import on_cores
from rclip.index.mapped import give_back
from rclip.vectors import dot_of_bytes

APPEND_FROM_ROWS = 4096
"""New rows of the matrix are scanned in full until there are so many."""

_SAMPLE_ROWS = 50_000
_CLIPPED_SHARE = 1e-4
"""Of the sample's numbers in each coordinate: for a few of them, all others would be rounded more coarsely."""

_WORN_OUT = 2.0
"""New rows so many times as far from their codes, on average, as those that it was made from have it made anew."""

_MOST_RESIDUAL = 2.0
"""Of vectors of length 1. Others are damaged, and found to be when they are looked at."""

_SCANNED_ROWS = 16384
_ENCODED_ROWS = 4096
_MOST_CODE = 127
_MOST_BYTES = 256 * _MOST_CODE + _MOST_CODE


class Quantizer(NamedTuple):
    """From vectors to codes and back."""

    centre: np.ndarray
    """(D,) float32"""
    scales: np.ndarray
    """(D,) float32, at least 0; 0 where all of the sample are alike"""

    @classmethod
    def of(cls, sample: np.ndarray) -> "Quantizer":
        """(S, D) float16, S at least 1"""
        parts = range(0, len(sample), _ENCODED_ROWS)
        sums = [sample[start : start + _ENCODED_ROWS].sum(axis=0, dtype=np.float64) for start in parts]
        centre = (np.sum(sums, axis=0) / len(sample)).astype(np.float32)
        clipped = int(_CLIPPED_SHARE * len(sample))
        largest = np.empty_like(centre)
        for first in range(0, len(centre), 64):  # some columns at a time, for the memory
            columns = slice(first, first + 64)
            away = np.abs(sample[:, columns].astype(np.float32) - centre[columns])
            largest[columns] = np.partition(away, len(away) - 1 - clipped, axis=0)[len(away) - 1 - clipped]
        return cls(centre, largest / np.float32(_MOST_CODE))

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) float16 -> (N,) of `_row_type`. No numbers have an infinite error, and so are always looked at."""
        away = vectors.astype(np.float32) - self.centre
        with np.errstate(all="ignore"):
            codes = np.rint(away / np.where(self.scales > 0, self.scales, np.inf)).clip(-_MOST_CODE, _MOST_CODE)
            away -= codes * self.scales
            residuals = np.sqrt(np.einsum("nd,nd->n", away, away)) * np.float32(1 + 1e-4) + np.float32(1e-6)
        rows = np.empty(len(vectors), _row_type(vectors.shape[1]))
        rows["codes"] = np.nan_to_num(codes)
        rows["residual"] = np.where(np.isfinite(residuals), residuals, np.inf)
        return rows

    def prepare(self, queries: np.ndarray) -> "SplitQueries":
        """(Q, D) float32 of length 1 -> what `SplitQueries.bounds` needs of them"""
        exact = queries.astype(np.float16).astype(np.float64)
        weighted = exact * self.scales
        units = np.maximum(np.abs(weighted).max(axis=1, keepdims=True) / _MOST_BYTES, np.finfo(np.float64).tiny)
        whole = np.rint(weighted / units)
        high = np.floor((whole + 128) / 256)
        most = _MOST_CODE * np.sqrt(queries.shape[1])
        return SplitQueries(
            codes=np.stack([high, whole - 256 * high], axis=1).reshape(-1, queries.shape[1]).astype(np.int8),
            units=(units * (256, 1)).astype(np.float32),
            offsets=(exact @ self.centre).astype(np.float32),
            lengths=np.linalg.norm(exact, axis=1).astype(np.float32),
            rests=(np.linalg.norm(weighted - units * whole, axis=1) * most + _rounding(queries.shape[1])).astype("f4"),
        )


class SplitQueries(NamedTuple):
    """Queries in two bytes for each number: q = (high · 256 + low) · unit, over the scales."""

    codes: np.ndarray
    """(2 Q, D) int8: of each query its h and its l"""
    units: np.ndarray
    """(Q, 2) float32: 256 a and a"""
    offsets: np.ndarray
    """(Q,) float32: q·c"""
    lengths: np.ndarray
    """(Q,) float32: |q|"""
    rests: np.ndarray
    """(Q,) float32: the part of the error that is the same for all rows"""

    def bounds(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of encoded rows (N,) and their errors, both (Q, N) float32"""
        products = dot_of_bytes(rows["codes"], self.codes).reshape(len(rows), len(self.units), 2)
        scores = products[..., 0] * self.units[:, 0] + products[..., 1] * self.units[:, 1] + self.offsets
        errors = np.multiply.outer(rows["residual"], self.lengths) + self.rests
        return scores.T, errors.T


class Contenders:
    """The rows that may be among the k best for one query, as far as they have been seen."""

    def __init__(self, k: int):
        self._k = k
        self._least = -np.inf
        """The score of the k-th best is at least this."""
        self._lower = np.empty(0, np.float32)
        self._rows = [np.empty(0, np.int64)]
        self._upper = [np.empty(0, np.float32)]

    def add(self, rows: np.ndarray, scores: np.ndarray, errors: np.ndarray) -> None:
        """(n,), (n,), (n,)"""
        upper = scores + errors
        near = np.flatnonzero(upper >= self._least)
        if not len(near):
            return
        self._lower = np.concatenate([self._lower, scores[near] - errors[near]])
        if len(self._lower) >= self._k:
            self._lower = np.partition(self._lower, len(self._lower) - self._k)[len(self._lower) - self._k :]
            self._least = self._lower.min()
            near = near[upper[near] >= self._least]
        self._rows.append(rows[near])
        self._upper.append(upper[near])

    def rows(self) -> np.ndarray:
        """(C,) int64, in the order in which they were added"""
        return np.concatenate(self._rows)[np.concatenate(self._upper) >= self._least]


class _Manifest(NamedTuple):
    """What the file holds. Bytes after the ones it covers are of an append that did not end, and are not read."""

    token: str
    matrix: str
    """The token of the matrix."""
    rows: int
    dimensions: int
    residual: float
    """|x - x̂| on average of the rows that it was made from."""
    crc32: int
    """Of the bytes it covers."""
    stat: list[int]
    """The file's when it was last found to have this checksum."""

    def check(self) -> None:
        """Raises ValueError for what was never written so."""
        is_sound = manifest.is_name(self.token) and manifest.are_counts(self.rows, self.dimensions, self.crc32)
        if not (is_sound and self.dimensions and isinstance(self.residual, float)):
            raise ValueError("damaged")

    @property
    def covered_bytes(self) -> int:
        return 8 * self.dimensions + self.rows * _row_type(self.dimensions).itemsize


class Sketch:
    """The sketch of one matrix as it is on disk now; empty where there is none to be trusted."""

    def __init__(self, folder: str, matrix: str, matrix_rows: int):
        """`matrix` is the token of the matrix in that folder."""
        self._folder = folder
        self._matrix = matrix
        self._matrix_rows = matrix_rows
        self._manifest = self._trusted_manifest() if matrix else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self._manifest == other._manifest

    __hash__ = None  # type: ignore[assignment]

    @property
    def rows(self) -> int:
        """The first so many rows of the matrix are in it."""
        return self._manifest.rows if self._manifest else 0

    # --- reading -----------------------------------------------------------------------------------------------------

    def candidates(self, queries: np.ndarray, k: int, among: np.ndarray | None) -> list[np.ndarray]:
        """For each query the rows (C,) int64, ascending, that may be among its k best of all or of those rows given.

        (Q, D) float32 of length 1. Raises OSError or ValueError where the file is not as it was.
        """
        found = [Contenders(k) for _ in queries]
        for rows, scores, errors in self._bounds(queries, among):
            for contenders, of_query, error in zip(found, scores, errors, strict=True):
                contenders.add(rows, of_query, error)
        return [contenders.rows() for contenders in found]

    def scores(self, queries: np.ndarray, step: int) -> np.ndarray:
        """Of every so many-th row, within their errors: some ten-thousandths as a rule. (Q, D) -> (Q, N)

        Raises OSError or ValueError where the file is not as it was.
        """
        among = np.arange(0, self.rows, step)
        return np.concatenate([scores for _, scores, _ in self._bounds(queries, among)], axis=1)

    def _bounds(
        self, queries: np.ndarray, among: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Row numbers (n,), scores (Q, n) and errors (Q, n), chunk by chunk."""
        memory, quantizer, all_rows = self._mapped()
        split = quantizer.prepare(queries)
        head = 8 * len(quantizer.centre)

        def scored(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            if among is None:
                rows = all_rows[start : start + _SCANNED_ROWS]
                numbers = np.arange(start, start + len(rows))
            else:
                numbers = among[start : start + _SCANNED_ROWS]
                rows = all_rows[numbers]
            found = numbers, *split.bounds(rows)
            give_back(memory, head + int(numbers[0]) * rows.itemsize, head + int(numbers[-1] + 1) * rows.itemsize)
            return found

        yield from on_cores(scored, range(0, len(all_rows) if among is None else len(among), _SCANNED_ROWS))

    def _mapped(self) -> tuple[mmap.mmap, Quantizer, np.ndarray]:
        contents = self._manifest
        if not contents:
            raise ValueError("no sketch")
        with self._open(contents) as file:
            if os.fstat(file.fileno()).st_size < contents.covered_bytes:  # what is mapped of it would end us
                raise ValueError("cut short")
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        head = np.frombuffer(memory, np.float32, 2 * contents.dimensions)
        rows = np.frombuffer(memory, _row_type(contents.dimensions), contents.rows, 4 * len(head))
        return memory, Quantizer(*head.reshape(2, -1)), rows

    def _path(self, contents: _Manifest) -> str:
        return os.path.join(self._folder, f"{KIND}-{contents.token}")

    def _open(self, contents: _Manifest, mode: str = "rb") -> BinaryIO:
        return open(self._path(contents), mode, opener=isolation.open_itself)  # type: ignore[return-value]

    @property
    def _manifest_path(self) -> str:
        return os.path.join(self._folder, MANIFEST)

    def _trusted_manifest(self) -> _Manifest | None:
        try:
            contents = manifest.read(self._manifest_path, _Manifest)
            contents.check()
            if contents.matrix != self._matrix or contents.rows > self._matrix_rows:
                return None
            now = contents._replace(stat=self._stat(contents))
            return manifest.verified(contents, now, lambda: self._checksum(contents), self._write_manifest)
        except (OSError, ValueError, TypeError):
            return None

    def _stat(self, contents: _Manifest) -> list[int]:
        stat = os.lstat(self._path(contents))
        if stat.st_size < contents.covered_bytes:
            raise ValueError("cut short")
        return manifest.identity(stat)

    def _checksum(self, contents: _Manifest) -> int:
        with self._open(contents) as file:
            return manifest.crc32_of(file, contents.covered_bytes)

    def _write_manifest(self, contents: _Manifest) -> None:
        manifest.write(self._manifest_path, contents)

    # --- checking ----------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        return os.path.lexists(self._manifest_path)

    def is_sound(self) -> bool:
        """Whether its bytes are those that were written; a search believes a file whose stat is as it was."""
        try:
            return self._manifest is not None and self._checksum(self._manifest) == self._manifest.crc32
        except (OSError, ValueError):
            return False

    def discard(self) -> None:
        """Has the next run make it anew. Raises OSError where it may not be deleted."""
        self._manifest = None
        with suppress(FileNotFoundError):
            os.unlink(self._manifest_path)

    # --- writing -----------------------------------------------------------------------------------------------------

    def is_behind(self, make_from_rows: int) -> bool:
        """Whether `catch_up` has something to do."""
        if not self.rows:
            return self._matrix_rows >= make_from_rows
        return self._matrix_rows - self.rows >= APPEND_FROM_ROWS

    def catch_up(self, memory: mmap.mmap, vectors: np.ndarray) -> None:
        """Appends the matrix's newer rows, or begins anew. (N, D) float16, all of the matrix, and its mapped file.

        To be called in a transaction, which keeps other writers away. Raises OSError; what was there is still good.
        """
        self._manifest = self._trusted_manifest()
        mean = self._append(memory, vectors) if self._manifest else np.inf
        if not self._manifest or mean > _WORN_OUT * self._manifest.residual:
            self._make(memory, vectors)
        self._delete_others()

    def _make(self, memory: mmap.mmap, vectors: np.ndarray) -> None:
        sample = vectors[np.unique(np.linspace(0, len(vectors) - 1, _SAMPLE_ROWS).astype(np.int64))]
        give_back(memory, 0, vectors.nbytes)
        head = np.stack(Quantizer.of(sample)).tobytes()
        token = os.urandom(8).hex()
        self._manifest = _Manifest(token, self._matrix, 0, vectors.shape[1], 0.0, zlib.crc32(head), [])
        descriptor = os.open(self._path(self._manifest), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "wb") as file:
            file.write(head)
        self._append(memory, vectors)

    def _append(self, memory: mmap.mmap, vectors: np.ndarray) -> float:
        """The rows that it lacks; returns their residual on average."""
        contents = self._manifest
        assert contents
        _, quantizer, _ = self._mapped()
        crc32, total = contents.crc32, 0.0
        try:
            with self._open(contents, "r+b") as file:
                file.truncate(contents.covered_bytes)  # what an append that did not end has left
                file.seek(0, os.SEEK_END)
                for start in range(contents.rows, len(vectors), _ENCODED_ROWS):
                    rows = quantizer.encode(vectors[start : start + _ENCODED_ROWS])
                    total += float(rows["residual"].clip(max=_MOST_RESIDUAL).sum(dtype=np.float64))
                    file.write(content := rows.tobytes())
                    crc32 = zlib.crc32(content, crc32)
                    give_back(memory, start * vectors.strides[0], (start + len(rows)) * vectors.strides[0])
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self._cut_back(contents)
            raise
        mean = total / max(1, len(vectors) - contents.rows)
        contents = contents._replace(rows=len(vectors), residual=contents.residual or mean, crc32=crc32)
        self._manifest = contents._replace(stat=self._stat(contents))
        self._write_manifest(self._manifest)
        return mean

    def _cut_back(self, contents: _Manifest) -> None:
        """Gives the room back that an append has taken that did not end."""
        self._manifest = contents if contents.rows else None
        with suppress(OSError):
            if contents.rows:
                os.truncate(self._path(contents), contents.covered_bytes)
            else:
                os.unlink(self._path(contents))

    def _delete_others(self) -> None:
        assert self._manifest
        kept = os.path.basename(self._path(self._manifest))
        for name in os.listdir(self._folder):
            if manifest.is_derived(name, "", (KIND,)) and name != kept:
                with suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))


KIND = "sketch"
MANIFEST = "sketch.json"


def _row_type(dimensions: int) -> np.dtype:
    return np.dtype([("codes", np.int8, (dimensions,)), ("residual", np.float32)])


def _rounding(dimensions: int) -> float:
    """How far float32 may be off, here and in `vectors.dot`: each addition by 2^-24 of a sum that is at most 1."""
    return dimensions * 2.0**-23 + 1e-5
