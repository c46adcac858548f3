"""What the run makes of workers' answers, of every kind: the workers are functions here, and quick to kill.

`test_cluster.py` has real ones.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rclip.errors import NoUsableWorker, RclipError, WorkerNotUsed
from rclip.formats import JXL
from rclip.indexing.cluster import wire
from rclip.indexing.cluster.dispatch import Dispatcher
from rclip.indexing.cluster.interface import EncodedPhoto, Facts, Job, Result, Sample, UnreadPhoto
from rclip.indexing.cluster.source import difference
from rclip.photo.failures import FailureKind
from rclip.photo.metadata import PhotoMetadata

D = 8
JOB = Job("1", 1, "ViT-B/32", "ab", D, 10**8, False, None, None)
HERE = Facts("1", 1, "ab", ("HEIC",), (Sample(5, 7, "cd"),), (1.0,) + 7 * (0.0,), "here")
METADATA = PhotoMetadata(1, -60, 1.5, 2.5, "a", "b", 3, 4, ("c", "ü"), 5, 6, 0, "d", "e", "f", "g")
VECTOR = np.eye(D, dtype=np.float16)[3]


def encoded(path: bytes = b"") -> EncodedPhoto:
    return EncodedPhoto(len(path), 7, path.rjust(16, b"0")[-16:], VECTOR, METADATA)


def parts(answer: bytes) -> tuple[dict[str, Any], bytes]:
    _, line, rest = answer.split(b"\n", 2)
    return json.loads(line), rest


def answer_of(told: object, rest: bytes = b"") -> bytes:
    return b"rclip cluster 1\n" + json.dumps(told).encode() + b"\n" + rest


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_results_travel_whole() -> None:
    unread = UnreadPhoto("it needs a package", FailureKind.NEEDS_EXTRA, JXL, 5, -6, b"0123456789abcdef")
    results: list[Result] = [encoded(), unread, UnreadPhoto("gone"), encoded()._replace(metadata=PhotoMetadata())]
    found = wire.read_results(wire.results_as_bytes(results), 4, D)
    assert found is not None
    for one, other in zip(found, results, strict=True):
        if isinstance(one, EncodedPhoto) and isinstance(other, EncodedPhoto):
            assert np.array_equal(one.vector, other.vector)
            assert one._replace(vector=VECTOR) == other._replace(vector=VECTOR)
        else:
            assert one == other
    assert wire.read_results(wire.results_as_bytes([]), 0, D) == []
    assert wire.read_results(wire.unchecked_as_bytes(), 4, D) is None


def test_requests_and_facts_travel_whole() -> None:
    paths = [b"/a b.jpg", b"/\xff\x01 \xc3\xa4", "/ä".encode()]
    assert wire.understood(wire.request(JOB, paths, 9)) == (JOB, paths, 9)
    assert wire.read_facts(wire.facts_as_bytes(HERE)) == HERE


def with_metadata(**changed: Any) -> dict[str, object]:
    return {"of": list(METADATA._replace(**changed))}


UNSOUND: dict[str, dict[str, object]] = {
    "no digest": {"digest": None},
    "a short digest": {"digest": "00"},
    "a digest with blanks": {"digest": "00" * 8 + " " * 16},
    "a digest of other letters": {"digest": "zz" * 16},
    "a size as text": {"size": "5"},
    "a time as a fraction": {"mtime_ns": 1.5},
    "a flag as a size": {"size": True},
    "no metadata": {"of": None},
    "too little metadata": {"of": list(METADATA)[:-1]},
    "a time beyond all years": with_metadata(captured_s=10**12),
    "a place off the earth": with_metadata(latitude=91.0),
    "a place that is none": with_metadata(latitude=float("nan")),
    "half a place": with_metadata(longitude=None),
    "a camera without end": with_metadata(model="x" * 10**6),
    "half a character": with_metadata(maker="\ud800"),
    "a title that is no text": with_metadata(title=5),
    "a caption that is none": with_metadata(caption=None),
    "keywords in a text": with_metadata(keywords="abc"),
    "keywords without end": with_metadata(keywords=["a"] * 10**5),
    "a keyword that is no text": with_metadata(keywords=[None]),
    "six stars": with_metadata(rating=6),
    "a time from nowhere": with_metadata(captured_from=9),
    "a size beyond all pictures": with_metadata(width=10**10),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_what_no_worker_says_of_a_photo_is_refused(what: str) -> None:
    told, rest = parts(wire.results_as_bytes([encoded(), encoded()]))
    told["results"][1] |= UNSOUND[what]
    with pytest.raises(wire.Unsound):
        wire.read_results(answer_of(told, rest), 2, D)


FAILURES: dict[str, dict[str, object]] = {
    "no reason": {"reason": ""},
    "a reason without end": {"reason": "x" * 2000},
    "a reason with half a character": {"reason": "\udcff"},
    "no kind": {"kind": None},
    "an unknown kind": {"kind": 99},
    "an unknown package": {"kind": 6, "extra": "none"},
    "a package that is not lacking": {"kind": 5, "extra": "HEIC"},
    "a package as a list": {"kind": 6, "extra": []},
}


@pytest.mark.parametrize("what", FAILURES)
def test_what_no_worker_says_of_a_failure_is_refused(what: str) -> None:
    told, rest = parts(wire.results_as_bytes([UnreadPhoto("gone", FailureKind.PASSING, None, 1, 2, None)]))
    told["results"][0] |= FAILURES[what]
    with pytest.raises(wire.Unsound):
        wire.read_results(answer_of(told, rest), 1, D)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, float("inf"), float("nan")])
def test_vectors_of_another_length_are_refused(scale: float) -> None:
    told, _ = parts(wire.results_as_bytes([encoded(), encoded()]))
    other = np.full(D, 0.0, np.float16)
    other[0] = scale
    vectors = np.stack([VECTOR, other])
    with pytest.raises(wire.Unsound):
        wire.read_results(answer_of(told, vectors.tobytes()), 2, D)


WHOLE = wire.results_as_bytes([encoded(), encoded()])
NONSENSE: dict[str, object] = {
    "nothing": b"",
    "no bytes": "text",
    "NaN": answer_of(HERE._asdict() | {"vector": [float("nan")]}),
    "a vector without bounds": answer_of(HERE._asdict() | {"vector": [1e300]}),
    "an object": object(),
    "None": None,
    "another form": WHOLE.replace(b"cluster 1", b"cluster 2"),
    "no JSON": b"rclip cluster 1\nresults\n",
    "deep JSON": b"rclip cluster 1\n" + b"[" * 100_000 + b"\n",
    "a number without end": b"rclip cluster 1\n" + b"9" * 10_000 + b"\n",
    "a list": answer_of([]),
    "no results": answer_of({}),
    "results as a number": answer_of({"results": 2}),
    "results as numbers": answer_of({"results": [1, 2]}),
    "results that lack all": answer_of({"results": [{}, {}]}),
    "too few": wire.results_as_bytes([encoded()]),
    "too many": wire.results_as_bytes([encoded()] * 3),
    "a vector too few": WHOLE[: -2 * D],
    "half a vector": WHOLE[:-1],
    "more at its end": WHOLE + b"\0",
    "JSON without end": answer_of({"results": ["x" * (8 << 20)]}),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_no_answer_is_refused(what: str) -> None:
    with pytest.raises(wire.Unsound):
        wire.read_results(NONSENSE[what], 2, D)
    with pytest.raises(wire.Unsound):
        wire.read_facts(NONSENSE[what])


@given(st.data())
def test_a_damaged_answer_is_refused_or_sound(data: st.DataObject) -> None:
    """Nothing else is ever raised, and nothing else is ever stored."""
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = wire.read_results(bytes(damaged), 2, D)
    except wire.Unsound:
        return
    assert found is None or (len(found) == 2 and wire.read_results(wire.results_as_bytes(found), 2, D) is not None)


# --- facts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"host": "there"}, ""),
        ({"extras": ("HEIC", "RAW")}, ""),
        ({"version": "2"}, "it has rclip 2, and this machine 1"),
        ({"preprocessing": 2}, "its rclip prepares photos otherwise"),
        ({"model_digest": "ef"}, "its model has the SHA-256 ef…, and this machine's ab…"),
        ({"extras": ("RAW",)}, "it lacks the packages for HEIC"),
        ({"samples": ()}, "it says nothing of the files that were asked for"),
        ({"samples": (Sample(5, 7, "ce"),)}, "/a has other bytes there"),
        ({"samples": (Sample(6, 7, "cd"),)}, "/a has other bytes there"),
        ({"samples": (Sample(5, 8, "cd"),)}, "/a has another time there"),
        ({"samples": (Sample(0, 0, "", "gone"),)}, "/a cannot be read there: gone"),
        ({"vector": (1.0, 0.03) + 6 * (0.0,)}, ""),
        ({"vector": (1.0, 0.05) + 6 * (0.0,)}, "its vector of a test picture has a cosine of 0.9988 with ours"),
        ({"vector": (1.0,)}, "its vector of a test picture has a cosine of 0.0000 with ours"),
        ({"vector": 8 * (0.0,)}, "its vector of a test picture has a cosine of 0.0000 with ours"),
    ],
)
def test_differences_are_said(changed: dict[str, Any], said: str) -> None:
    there = wire.read_facts(wire.facts_as_bytes(HERE._replace(**changed)))
    assert difference(there, HERE, [b"/a"]) == said


# --- workers ---------------------------------------------------------------------------------------------------------


class Death(Exception):
    """Of a worker, over what it was given."""


NEVER = object()
"""The answer of a worker that hangs."""

Behaviour = Callable[[str, list[bytes]], object]


def honest(name: str, paths: list[bytes]) -> object:
    if name == "check":
        return wire.facts_as_bytes(HERE)
    return wire.results_as_bytes([encoded(path) for path in paths])


class Workers:
    """An `Engine` whose workers are functions."""

    address = "nowhere"

    def __init__(self, **behaviours: Behaviour):
        self._behaviours = behaviours
        self._asked: list[tuple[int, str, str, bytes]] = []
        self._number = 0
        self.reborn: Callable[[], dict[str, Behaviour]] = dict
        """Who comes in place of a worker that dies."""
        self.deaths = 0
        self.is_closed = False

    def workers(self) -> Mapping[str, int]:
        return dict.fromkeys(self._behaviours, 1)

    def join(self, **behaviours: Behaviour) -> None:
        self._behaviours |= behaviours

    def submit(self, worker: str, name: str, request: bytes) -> int:
        self._number += 1
        self._asked.append((self._number, worker, name, request))
        return self._number

    def answers(self, timeout_s: float) -> Sequence[tuple[int, Any]]:
        asked, self._asked = self._asked, []
        found: list[tuple[int, Any]] = []
        for number, worker, name, request in asked:
            if worker not in self._behaviours:
                continue
            try:
                answer = self._behaviours[worker](name, wire.understood(request).paths)
                if answer is not NEVER:
                    found.append((number, answer))
            except Death:
                self.deaths += 1
                del self._behaviours[worker]
                self._behaviours |= self.reborn()
            except Exception as error:
                found.append((number, error))
        if not found:
            time.sleep(0.01)
        return found

    def forget(self, number: int) -> None:
        self._asked = [each for each in self._asked if each[0] != number]

    def close(self) -> None:
        self.is_closed = True


def read(workers: Workers, count: int, **limits: float) -> tuple[dict[bytes, Result], list[RclipError]]:
    """The result of each of so many photos, of which none may come twice, and who is not used."""
    told: list[RclipError] = []
    differs = lambda facts: difference(facts, HERE, [b"/a"])  # noqa: E731 - short
    dispatcher = Dispatcher(workers, JOB, [b"/a"], differs, told.append, **limits)
    paths = [b"/%d" % number for number in range(count)]
    found = [pair for results in dispatcher.read(iter(paths), count) for pair in results]
    assert Counter(path for path, _ in found) == Counter(paths)
    return dict(found), told


def test_each_photo_is_read_once() -> None:
    found, told = read(Workers(a=honest, b=honest), 1000)
    assert all(result.digest == encoded(path).digest for path, result in found.items())
    assert not told


@pytest.mark.parametrize("nonsense", [b"", 5, None, wire.results_as_bytes([]), ValueError("no"), AttributeError("no")])
def test_who_answers_nonsense_is_not_used(nonsense: object) -> None:
    def answer(name: str, paths: list[bytes]) -> object:
        if name == "check":
            return honest(name, paths)
        if isinstance(nonsense, Exception):
            raise nonsense
        return nonsense

    found, told = read(Workers(bad=answer, good=honest), 300)
    assert all(isinstance(result, EncodedPhoto) for result in found.values())
    assert [type(error) for error in told] == [WorkerNotUsed]
    assert str(told[0]).startswith("the worker here (bad) is not used: ")
    with pytest.raises(NoUsableWorker):
        read(Workers(bad=answer), 10)


def test_who_has_been_started_anew_is_checked_first() -> None:
    asked: list[str] = []

    def forgetful(name: str, paths: list[bytes]) -> object:
        asked.append(name)
        return wire.unchecked_as_bytes() if asked.count("check") < 2 and name == "work" else honest(name, paths)

    found, told = read(Workers(a=forgetful), 50)
    assert all(isinstance(result, EncodedPhoto) for result in found.values())
    assert asked[0] == "check"
    assert asked.count("check") == 2
    assert not told


def test_a_photo_that_kills_is_found_after_three_deaths() -> None:
    def fragile(name: str, paths: list[bytes]) -> object:
        if b"/77" in paths and name == "work":
            raise Death
        return honest(name, paths)

    names = iter("cdefghijk")
    workers = Workers(a=fragile, b=fragile)
    workers.reborn = lambda: {next(names): fragile}
    found, told = read(workers, 200)
    unread = {path: result for path, result in found.items() if isinstance(result, UnreadPhoto)}
    assert unread == {b"/77": UnreadPhoto("its worker died over it", FailureKind.PASSING)}
    assert workers.deaths == 3
    assert not told


@pytest.mark.parametrize("seed", range(3))
def test_whatever_workers_do_each_photo_comes_once(seed: int) -> None:
    rng = random.Random(seed)

    def erratic(name: str, paths: list[bytes]) -> object:
        if name == "check" or rng.random() < 0.8:
            return honest(name, paths)
        if rng.random() < 0.7:
            raise Death
        return rng.choice([b"", wire.unchecked_as_bytes(), None])

    workers = Workers(sound=honest, a=erratic, b=erratic, c=erratic)
    workers.reborn = lambda: {f"w{rng.random()}": erratic}
    found, _ = read(workers, 2000)
    assert all(isinstance(result, EncodedPhoto) or result.kind == FailureKind.PASSING for result in found.values())


@pytest.mark.slow  # a batch is given to one more worker after ten seconds
def test_what_two_workers_hang_over_is_read_by_one_that_comes_late() -> None:
    """As those do whose network drive is gone."""
    asked: list[list[bytes]] = []

    def hung(name: str, paths: list[bytes]) -> object:
        if name == "check":
            return honest(name, paths)
        asked.append(paths)
        if asked.count(paths) == 2:
            workers.join(late=honest)
        return honest(name, paths) if len(asked) == 1 else NEVER

    workers = Workers(a=hung, b=hung)
    found, told = read(workers, 16)
    assert all(isinstance(result, EncodedPhoto) for result in found.values())
    assert len(asked) > len({tuple(paths) for paths in asked})
    assert not told


def test_who_never_shows_what_it_has_is_not_used() -> None:
    def silent(name: str, paths: list[bytes]) -> object:
        return NEVER

    with pytest.raises(NoUsableWorker):
        read(Workers(silent=silent), 10, checked_within_s=0.5)


def test_without_workers_it_says_so() -> None:
    with pytest.raises(NoUsableWorker, match="the cluster nowhere reads no photos: none of its workers can be used"):
        read(Workers(a=lambda name, paths: wire.facts_as_bytes(HERE._replace(version="0"))), 1)
