"""How good the answers of a model are, on data sets that lie on this machine: nothing is downloaded unasked.

    .venv/bin/python benchmarks/quality.py classify --data cifar100 --root ~/data
    .venv/bin/python benchmarks/quality.py classify --data imagenet --root ~/data/imagenet --split val --prompts photo
    .venv/bin/python benchmarks/quality.py similar --data mnist --root ~/data
    .venv/bin/python benchmarks/quality.py captions --data ~/data/captions_val2017.json --root ~/data/val2017
    .venv/bin/python benchmarks/quality.py distort --data folder --root ~/data/flowers --limit 500 --plot distorted.svg

classify   Zero-shot: is the name of a picture's class, as a query, the one that it scores highest for (top 1), or one
           of five (top 5)? `--prompts` says how names become queries.
similar    Is the first other picture found by a picture of its class, or one of the first five?
captions   R@1, 5 and 10 from texts to pictures and back, in each language. The captions are COCO's or Karpathy's JSON,
           XM3600's JSON lines, Flickr30k's tokens, or lines `path<TAB>caption` and perhaps `<TAB>language`.
distort    The same for distorted pictures: accuracy or R@1 lost by each kind and severity, and where a picture ranks
           among all when only its distorted copy is indexed and the picture itself is asked with.

Pictures are indexed and texts encoded by a `Library`, exactly as the command does it, with any `--model`. A picture
that cannot be read counts as a wrong answer.
"""

import argparse
import importlib
import multiprocessing
import shutil
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import data_sets
import distortions
import numpy as np
from chart import PERCENT, Axis, chart
from common import decimal, emptied, keep, machine, print_table, say
from data_sets import DataSet, Item

from rclip import Library, datadir
from rclip.errors import RclipError
from rclip.models import DEFAULT
from rclip.vectors import top_k

PROMPTS: dict[str, Sequence[str]] = {
    "names": ("{name}",),
    "photo": ("photo of {name}",),
    "ensemble": (
        "a photo of a {name}.",
        "a photo of the {name}.",
        "a close-up of a {name}.",
        "a small picture of a {name}.",
        "a dark photo of a {name}.",
        "a drawing of a {name}.",
        "several photos of a {name}.",
    ),
}

PUBLISHED = "openai"
"""Names the prompts of CLIP's own paper, and its names for ImageNet's classes."""

BLOCK = 512
"""Texts that are encoded together."""

_MAX_SCORES = 1 << 25
"""So many are held at once, 128 MiB."""

RECALLS = (1, 5, 10)

UNDISTORTED = "as they are"


# --- vectors, by the command's own path ------------------------------------------------------------------------------


class Indexer:
    """Makes vectors of files and texts with one model, showing how far it is."""

    def __init__(self, model: str, scratch: Path):
        self._model = model
        self._scratch = scratch

    def pictures(self, paths: Sequence[Path], root: Path, title: str) -> np.ndarray:
        """(N, D) float32, rows of length 1, or NaN for pictures that cannot be read. All files lie below `root`."""
        data_dir = self._scratch / "index"
        with self._library(root, data_dir) as library, _bar(title) as report:
            library.update(report)
            found = library.vectors()
            rows = dict(zip(found.paths, range(len(found.paths)), strict=True))
            vectors = np.full((len(paths), found.vectors.shape[1]), np.nan, np.float32)
            for number, path in enumerate(paths):
                if (row := rows.get(str(path))) is not None:
                    vectors[number] = found.vectors[row]
        shutil.rmtree(data_dir)
        return vectors

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32, rows of length 1"""
        from tqdm import tqdm

        with self._library(self._scratch, self._scratch / "texts") as library:
            blocks = range(0, len(texts), BLOCK)
            bar = tqdm(blocks, "texts", leave=False, disable=None)
            return np.concatenate([library.encode_text(texts[start : start + BLOCK]) for start in bar])

    def identity(self) -> dict[str, Any]:
        with self._library(self._scratch, self._scratch / "texts") as library:
            return library.model_identity()._asdict()

    def _library(self, root: Path, data_dir: Path) -> Library:
        models = Path(datadir.own()) / "models"  # prepared once for all indexes, the user's own among them
        models.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(parents=True, exist_ok=True)
        if not (data_dir / "models").is_symlink():
            (data_dir / "models").symlink_to(models)
        return Library(
            root, model=self._model, data_dir=data_dir, include_hidden=True, notify=lambda said: say(str(said))
        )


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    """What `Library.update` reports its progress to."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=" pictures", leave=False, disable=None) as bar:

        def report(progress: Any) -> None:
            if progress.stage == "reading":
                bar.total = progress.total
                bar.update(progress.done - bar.n)

        yield report


# --- measures: pure functions of vectors -----------------------------------------------------------------------------


def class_vectors(classes: Sequence[str], prompts: Sequence[str], indexer: Indexer) -> np.ndarray:
    """(C, D): of each class the mean of its prompts' vectors, of length 1."""
    texts = [prompt.format(name=name) for name in classes for prompt in prompts]
    means = indexer.texts(texts).reshape(len(classes), len(prompts), -1).mean(axis=1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def ranks(queries: np.ndarray, vectors: np.ndarray, right: Sequence[int]) -> np.ndarray:
    """Where the vector of that number comes for each query, 1 for the best; infinity where there is none.

    (Q, D), (N, D), (Q,) -> (Q,) float64. Of equal scores the right one comes last.
    """
    found = np.full(len(queries), np.inf)
    is_there = ~np.isnan(vectors).any(axis=1)
    for part, scores in _scores(queries, vectors):
        targets = np.array(right[part])
        own = scores[np.arange(len(scores)), targets]
        place = (scores >= own[:, np.newaxis]).sum(axis=1).astype(float)
        place[~is_there[targets] | np.isnan(queries[part]).any(axis=1)] = np.inf
        found[part] = place
    return found


def _scores(queries: np.ndarray, vectors: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some of the queries and their scores, those of vectors that are not there being -infinity."""
    candidates = np.nan_to_num(vectors).T
    is_missing = np.isnan(vectors).any(axis=1)
    block = max(1, _MAX_SCORES // max(1, len(vectors)))
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        scores = np.nan_to_num(queries[part]) @ candidates
        scores[:, is_missing] = -np.inf
        yield part, scores


def share(places: np.ndarray, at_most: int) -> float:
    return float(np.mean(places <= at_most)) if len(places) else 0.0


def similar(vectors: np.ndarray, labels: Sequence[int], at_most: int) -> float:
    """The share of pictures of which one of the first so many other pictures is of the same class."""
    of_class = np.array(labels)
    is_missing = np.isnan(vectors).any(axis=1)
    hits = 0
    for part, scores in _scores(vectors, vectors):
        for number, of_query in enumerate(scores, start=part.start):
            of_query[number] = -np.inf
            best = top_k(of_query, at_most)
            is_right = (of_class[best] == of_class[number]) & (of_query[best] > -np.inf)
            hits += bool(is_right.any()) and not is_missing[number]
    return hits / len(vectors)


class Recall(NamedTuple):
    """Of retrieval by captions, at 1, 5 and 10."""

    text_to_image: tuple[float, ...]
    image_to_text: tuple[float, ...]
    captions: int


def recall(pictures: np.ndarray, texts: np.ndarray, picture_of: Sequence[int]) -> Recall:
    """(N, D), (T, D), (T,): a picture is found by a text if it is its own, and a text by a picture alike."""
    by_text = ranks(texts, pictures, picture_of)
    repeated = ranks(pictures[list(picture_of)], texts, range(len(texts)))
    shown = sorted(set(picture_of))
    by_picture = np.array([repeated[np.array(picture_of) == picture].min() for picture in shown])
    return Recall(
        tuple(share(by_text, k) for k in RECALLS), tuple(share(by_picture, k) for k in RECALLS), len(picture_of)
    )


# --- tasks -----------------------------------------------------------------------------------------------------------


def classify(data: DataSet, indexer: Indexer, options: argparse.Namespace) -> list[dict[str, Any]]:
    names = class_vectors(_classes(data, options), _prompts(options.prompts), indexer)
    places = _class_ranks(_vectors(data.items, indexer, options), names, data.items)
    return [{"case": options.prompts, "top 1": share(places, 1), "top 5": share(places, 5)}]


def find_similar(data: DataSet, indexer: Indexer, options: argparse.Namespace) -> list[dict[str, Any]]:
    vectors = _vectors(data.items, indexer, options)
    labels = [_label(item) for item in data.items]
    return [{"case": "other pictures", **{f"first {k}": similar(vectors, labels, k) for k in (1, 5)}}]


def find_captions(data: DataSet, indexer: Indexer, options: argparse.Namespace) -> list[dict[str, Any]]:
    pictures = _vectors(data.items, indexer, options)
    results = []
    for language in data_sets.languages(data.items):
        said = [(number, text) for number, item in enumerate(data.items) for spoken, text in item.captions
                if spoken == language]  # fmt: skip
        found = recall(pictures, indexer.texts([text for _, text in said]), [number for number, _ in said])
        ways = {"text→image": found.text_to_image, "image→text": found.image_to_text}
        shares = {
            f"{way} R@{k}": value for way, values in ways.items() for k, value in zip(RECALLS, values, strict=True)
        }
        results.append({"case": language or "all", **shares, "captions": found.captions})
    return results


def distort(data: DataSet, indexer: Indexer, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A line for each kind and severity, the pictures as they are first."""
    distortions.require(options.kinds)
    judge = _judge(data, indexer, options)
    sources = _scaled(data.items, emptied(options.scratch / "scaled"))
    original = indexer.pictures(sources, sources[0].parent, UNDISTORTED)
    results = [_judged(UNDISTORTED, 0, judge, None, original, original)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for kind, severity in ((kind, severity) for kind in options.kinds for severity in options.severities):
            folder, title = emptied(options.scratch / "pictures"), f"{kind} {severity}"
            targets = [folder / f"{number:07}" for number in range(len(sources))]
            write = partial(distortions.write, kind=kind, severity=severity)
            written = list(_bar_of(pool.map(_write, repeat(write), sources, targets), title, len(sources)))
            vectors = indexer.pictures(written, folder, title)
            results.append(_judged(kind, severity, judge, results[0], original, vectors))
    return results


def _write(write: Callable[..., Path], source: Path, target: Path) -> Path:
    return write(source=source, path=target)


def _scaled(items: Sequence[Item], folder: Path) -> list[Path]:
    paths = []
    for number, item in enumerate(_bar_of(items, "scaling", len(items))):
        try:
            with item.open() as file:
                picture = distortions.scaled(file)
        except OSError as error:
            raise SystemExit(f"cannot read {item.source}: {error}") from error
        paths.append(folder / f"{number:07}.png")
        picture.save(paths[-1], compress_level=1)
    return paths


def _judged(
    kind: str,
    severity: int,
    judge: "Judge",
    undistorted: Mapping[str, Any] | None,
    original: np.ndarray,
    vectors: np.ndarray,
) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    if judge.measure:
        right = judge(vectors)
        measured = {judge.measure: right, "lost": undistorted[judge.measure] - right if undistorted else 0.0}
    places = own_ranks(original, vectors)
    median = statistics.median(places.tolist())
    return {
        "case": kind,
        "severity": severity,
        **measured,
        "own rank 1": share(places, 1),
        "median rank": None if median == np.inf else int(median),
        "unreadable": int(np.isnan(vectors).any(axis=1).sum()),
    }


def own_ranks(original: np.ndarray, distorted: np.ndarray) -> np.ndarray:
    """Where a picture's distorted copy ranks for the picture, among all the other pictures as they are. (N,)"""
    found = np.full(len(original), np.inf)
    own = np.sum(original * distorted, axis=1)
    for part, scores in _scores(original, original):
        numbers = np.arange(part.start, part.start + len(scores))
        scores[np.arange(len(scores)), numbers] = -np.inf
        found[part] = 1 + (scores > own[numbers, np.newaxis]).sum(axis=1)
    found[np.isnan(own)] = np.inf
    return found


class Judge:
    """How good distorted pictures are found: by the names of their classes, or by their captions."""

    def __init__(self, measure: str, data: DataSet, texts: np.ndarray):
        self.measure = measure
        """Its heading; empty where nothing is known of the pictures."""
        self._data = data
        self._texts = texts

    def __call__(self, vectors: np.ndarray) -> float:
        if self.measure == "top 1":
            return share(_class_ranks(vectors, self._texts, self._data.items), 1)
        shown = [number for number, item in enumerate(self._data.items) for _ in item.captions]
        return share(ranks(self._texts, vectors, shown), 1)


def _judge(data: DataSet, indexer: Indexer, options: argparse.Namespace) -> Judge:
    if data.classes:
        return Judge("top 1", data, class_vectors(_classes(data, options), _prompts(options.prompts), indexer))
    texts = [text for item in data.items for _, text in item.captions]
    return Judge("R@1", data, indexer.texts(texts)) if texts else Judge("", data, np.empty(0))


def _class_ranks(pictures: np.ndarray, names: np.ndarray, items: Sequence[Item]) -> np.ndarray:
    return ranks(pictures, names, [_label(item) for item in items])


def _label(item: Item) -> int:
    if item.label is None:
        raise SystemExit("these pictures have no classes: --data takes a data set that has some")
    return item.label


def _classes(data: DataSet, options: argparse.Namespace) -> Sequence[str]:
    if not data.classes:
        raise SystemExit("these pictures have no classes: --data takes a data set that has some")
    if options.classes is None:
        is_published = options.data == "imagenet" and options.prompts == PUBLISHED
        return list(_published().IMAGENET_CLASSNAMES) if is_published else data.classes
    names = [line.strip() for line in options.classes.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(names) != len(data.classes):
        raise SystemExit(f"{options.classes} has {len(names)} names for {len(data.classes)} classes")
    return names


def _prompts(chosen: str) -> Sequence[str]:
    """Built-in ones, the 80 that CLIP's authors published for ImageNet, or those of a file, one on each line."""
    if chosen in PROMPTS:
        return PROMPTS[chosen]
    if chosen == PUBLISHED:
        return [template("{name}") for template in _published().OPENAI_IMAGENET_TEMPLATES]
    try:
        lines = [line.strip() for line in Path(chosen).read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise SystemExit(
            f"no prompts {chosen}: there are {', '.join((*PROMPTS, PUBLISHED))}, and files ({error})"
        ) from error
    prompts = [line.replace("{}", "{name}") for line in lines if line]
    if not prompts or not all("{name}" in prompt for prompt in prompts):
        raise SystemExit(f"{chosen} has a line without {{name}}")
    return prompts


def _published() -> Any:
    """The prompts and names of classes with which CLIP's authors measured ImageNet, as OpenCLIP has them."""
    try:
        return importlib.import_module("open_clip.zero_shot_metadata")
    except ImportError as error:
        raise SystemExit(
            f"--prompts {PUBLISHED} needs open_clip_torch: pip install 'rclip[models]' ({error})"
        ) from error


def _vectors(items: Sequence[Item], indexer: Indexer, options: argparse.Namespace) -> np.ndarray:
    paths, root = data_sets.files(items, options.scratch / "pictures")
    vectors = indexer.pictures(paths, root, "pictures")
    if unreadable := int(np.isnan(vectors).any(axis=1).sum()):
        say(f"{unreadable:,} of {len(items):,} pictures cannot be read, and count as wrong answers")
    return vectors


def _bar_of(things: Iterable[Any], title: str, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(things, title, total, leave=False, disable=None)


TASKS = {"classify": classify, "similar": find_similar, "captions": find_captions, "distort": distort}


# --- the command -----------------------------------------------------------------------------------------------------


def table(results: Sequence[Mapping[str, Any]]) -> None:
    headings = list(results[0])
    print_table([headings, *([_cell(result[name]) for name in headings] for result in results)])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{decimal(100 * value, 1)} %"
    return f"{value:,}" if isinstance(value, int) else str(value)


def draw(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """The share of right answers by severity, a line for each kind."""
    first, *others = results
    measure = next(name for name in ("top 1", "R@1", "own rank 1") if name in first)
    lines: dict[str, list[tuple[float, float]]] = {}
    for result in others:
        of_kind = lines.setdefault(result["case"], [(0, 100 * first[measure])])
        of_kind.append((result["severity"], 100 * result[measure]))
    axes = Axis("severity", 0, 5, range(6)), Axis(f"{measure}, % of pictures", 0, 100, PERCENT)
    path.write_text(chart(lines, *axes), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("task", choices=TASKS)
    made.add_argument("--data", required=True, help=f"{', '.join(data_sets.LABELLED)}, photos, or a file with captions")
    made.add_argument("--root", type=Path, required=True, help="the folder that the data set lies in")
    made.add_argument("--split", default="test", help="test (the default) or train; val for ImageNet")
    made.add_argument("--download", action="store_true", help="have torchvision download CIFAR or MNIST into --root")
    made.add_argument("--limit", type=int, metavar="N", help="only so many pictures, chosen at random once and for all")
    made.add_argument("--prompts", default="names", help=f"{', '.join((*PROMPTS, PUBLISHED))}, or a file")
    made.add_argument("--classes", type=Path, metavar="FILE", help="the classes' names, one a line, in their order")
    made.add_argument("--kinds", nargs="+", choices=distortions.KINDS, default=distortions.KINDS, help="of distortion")
    severities = distortions.SEVERITIES
    made.add_argument("--severities", nargs="+", type=int, choices=severities, default=severities, help="1 to 5")
    made.add_argument("--model", default=DEFAULT, help="what rclip --model takes (%(default)s)")
    made.add_argument("--scratch", type=Path, default=Path("build/quality"), help="for copies and indexes")
    made.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    made.add_argument("--plot", type=Path, metavar="FILE", help="of distort: draw the figures there, as an SVG")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    options.root, options.scratch = options.root.expanduser().resolve(), options.scratch.resolve()
    if options.plot and options.task != "distort":
        raise SystemExit("--plot works only with distort")
    if not options.root.is_dir():
        raise SystemExit(f"there is no folder {options.root}")
    options.scratch.mkdir(parents=True, exist_ok=True)
    data = data_sets.read(options.data, options.root, options.split, options.download)
    data = DataSet(data_sets.sample(data.items, options.limit), data.classes)
    if not data.items:
        raise SystemExit(f"there are no pictures in {options.root}")
    indexer = Indexer(options.model, options.scratch)
    try:
        results = TASKS[options.task](data, indexer, options)
        identity = indexer.identity()
    except RclipError as error:
        raise SystemExit(str(error)) from error
    print(f"{options.task}: {options.data}, {len(data.items):,} pictures, model {identity['name']}")
    table(results)
    settings = {name: str(getattr(options, name)) for name in ("task", "data", "root", "split", "prompts", "limit")}
    kept = {"machine": machine(), "model": identity, **settings, "pictures": len(data.items), "results": results}
    keep(options.json, kept)
    if options.plot:
        draw(options.plot, results)


if __name__ == "__main__":
    main()
