"""The Python interface."""

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

import rclip
from rclip import Filters, Hit, Library, ModelError, Progress, Query, RclipError, UsageError
from rclip.files import FileStat
from rclip.index.vector_cache import APPEND_FROM_ROWS, VectorCache
from rclip.photo.failures import FailedPhoto
from rclip.search import query
from rclip.search.query import AnyQuery
from tests.support import pictures
from tests.support.gallery import GALLERY
from tests.support.tiers import few


@pytest.fixture
def library(gallery: Path, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Library]:
    data_dir = shutil.copytree(prepared_data, tmp_path / "library-data")
    with Library(gallery, model=str(tiny_checkpoint), data_dir=data_dir) as library:
        yield library


def test_update_and_search(library: Library, gallery: Path) -> None:
    summary = library.update()
    assert (summary.added, summary.changed, summary.failures) == (len(GALLERY), 0, [])
    hits = library.search("a red star", top=5)
    assert len(hits) == 5
    assert isinstance(hits[0], Hit)
    assert hits[0].path == str(gallery / "stars/red.jpg")
    assert hits[0].size_bytes == (gallery / "stars/red.jpg").stat().st_size
    assert hits[0].mtime_ns == (gallery / "stars/red.jpg").stat().st_mtime_ns
    scores = [hit.score for hit in hits if hit.score is not None]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert not library.update().has_changes


def test_progress_is_told(library: Library) -> None:
    told: list[Progress] = []
    library.update(progress=told.append)
    assert told[0][:4] == ("listing", 0, None, 0)
    listed, read = ([event for event in told if event.stage == stage] for stage in ("listing", "reading"))
    with_folders = len(GALLERY) + 3
    assert (listed[-1].done, listed[-1].total) == (with_folders, with_folders)
    assert (read[0].done, read[0].total, read[0].rate) == (0, len(GALLERY), 0)
    assert (read[-1].done, read[-1].total) == (len(GALLERY), len(GALLERY))
    assert read[-1].rate > 0


def test_searching_before_updating_finds_nothing(library: Library) -> None:
    assert library.search("a red star") == []


def test_stats(library: Library, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    library.update()
    stats = library.stats()
    assert stats.photos == len(GALLERY)
    assert stats.unreadable == {
        str(gallery / "broken.jpg"): FailedPhoto(
            os.fsencode(gallery / "broken.jpg"), "damaged, or not a picture in a format known here"
        )
    }
    assert stats.index_bytes > 0
    assert stats.weights_bytes > 10_000_000


def test_a_long_query_is_a_warning(library: Library) -> None:
    library.update()
    with pytest.warns(UserWarning, match="77 tokens"):
        library.search("star " * 100)


def add_made_up(library: Library, folder: Path, start: int, end: int) -> None:
    """Photos that are not there, a JPEG after two PNGs, with random vectors."""
    store = library._parts[0][0].store
    (_, vectors) = next(store.vectors.above(0))
    made_up = np.random.default_rng(start).standard_normal((end - start, vectors.shape[1])).astype(np.float32)
    with store.transaction():
        for number, vector in enumerate(made_up / np.linalg.norm(made_up, axis=1, keepdims=True), start):
            path = folder / f"made up/{number}.{'png' if number % 3 else 'jpg'}"
            seen = FileStat(1, number * 500_000 * 10**9, 1, number)
            store.files.add(str(path).encode(), seen, b"%d" % number, vector)


ASKED = ["a red star", "./stars/gone.jpg", "a blue circle", "nothing like it", "a red star - red", "a green square"]
FILTERS = [
    None,
    Filters(types=frozenset({"png"})),
    Filters(before=datetime(2000, 1, 1), min_score=0.01),
    Filters(paths=("stars",)),
    Filters(paths=("made up/*.jpg",), types=frozenset({"jpg"})),
    Filters(is_relevant=True),
    Filters(is_relevant=True, types=frozenset({"jpg"})),
]


@pytest.mark.parametrize("highest_id", few([None, 8_000_000]))
def test_queries_that_share_a_pass_find_what_each_finds_alone(
    library: Library, gallery: Path, highest_id: int | None
) -> None:
    """In the matrix and behind it, with gone photos, in a folder and in all; with so high an id two share a pass."""
    library.update()
    add_made_up(library, gallery, 0, APPEND_FROM_ROWS)
    store = library._parts[0][0].store
    with store.transaction():
        store.connection.execute(
            "UPDATE images SET missing_ns = 1 WHERE id % 5 = 0 OR instr(path, CAST('stars/blue' AS BLOB))"
        )
        if highest_id:
            store.connection.execute("UPDATE images SET id = ? WHERE id = 2000", (highest_id,))
    VectorCache(store).catch_up()
    assert VectorCache(store).rows == len(GALLERY) + APPEND_FROM_ROWS
    add_made_up(library, gallery, APPEND_FROM_ROWS, APPEND_FROM_ROWS + 40)
    asked = [query.parse(text) for text in ASKED]
    for folder in (gallery, gallery / "stars", gallery / "made up"):
        folder.mkdir(exist_ok=True)
        with Library(folder, model=library._model.name, data_dir=library._model._data_dir) as asked_of:
            for filters in FILTERS:
                together = [found for _, found in asked_of.search_blocks([asked[:1], asked, []], 5, filters)]
                alone = [next(asked_of.search_blocks([[each]], 5, filters))[1] for each in (asked[0], *asked)]
                assert_alike(together, alone)
                answers = [found for found in together if not isinstance(found, RclipError)]
                assert len(answers) == len(asked)  # all but the one that cannot be answered, and the first once more
                assert filters or all(len(found) >= 2 for found in answers)


def assert_alike(together: list[list[Hit] | RclipError], alone: list[list[Hit] | RclipError]) -> None:
    for one, other in zip(together, alone, strict=True):
        if isinstance(one, RclipError) or isinstance(other, RclipError):
            assert str(one) == str(other)
        else:
            assert [hit.path for hit in one] == [hit.path for hit in other]
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-5)


def test_errors_have_one_root(gallery: Path, tmp_path: Path) -> None:
    assert issubclass(UsageError, RclipError)
    with pytest.raises(UsageError, match="does not exist"):
        Library(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no model"):
        Library(gallery, model="ViT-Z-1", data_dir=tmp_path)


def test_public_names() -> None:
    for name in rclip.__all__:
        assert getattr(rclip, name) is not None
    with pytest.raises(AttributeError):
        _ = rclip.nonsense


# --- kinds of queries -------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(library: Library) -> Library:
    library.update()
    return library


def test_a_query_may_be_many_things(filled: Library, gallery: Path) -> None:
    picture = gallery / "stars/red.jpg"
    with Image.open(picture) as image:
        image.load()
    vector = filled.encode_image([picture])[0]
    as_path = filled.search(picture, top=None)
    assert str(picture) not in [hit.path for hit in as_path]
    kinds: list[AnyQuery] = [
        picture.read_bytes(),
        image,
        vector,
        (3 * vector).astype(np.float64),
        vector.astype(np.float16),
        Query.of(image),
    ]
    for kind in kinds:
        hits = filled.search(kind, top=None)
        assert hits[0].path == str(picture)
        assert hits[0].score == pytest.approx(1, abs=2e-3)
        assert [hit.score for hit in hits[1:]] == pytest.approx([hit.score for hit in as_path], abs=2e-3)
    assert filled.search(filled.encode_text(["a red star"])[0]) == filled.search("a red star")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_a_pillow_image_of_any_mode_is_seen_as_its_file(filled: Library, tmp_path: Path, mode: str) -> None:
    picture = pictures.drawn()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.float32))
    else:
        image = picture.convert(mode)
    suffix = "png" if mode in ("LA", "P", "RGBA") else "tif"
    image.save(tmp_path / f"picture.{suffix}")
    vectors = filled.encode_image([image, tmp_path / f"picture.{suffix}"])
    assert vectors[0] @ vectors[1] > 0.999


def test_a_pillow_image_is_turned_upright(filled: Library, gallery: Path) -> None:
    with Image.open(gallery / "stars/red.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.info["exif"] = exif.tobytes()
    turned._exif = None
    vectors = filled.encode_image([turned, gallery / "stars/red.jpg"])
    assert vectors[0] @ vectors[1] > 0.99


def test_queries_add_up(filled: Library, gallery: Path) -> None:
    written = filled.search(query.parse_line("a red star + 0.5:./nothing - a circle".replace("./nothing", "square")))
    summed = Query.of("a red star") + 0.5 * Query.of("square") - "a circle"
    assert filled.search(summed) == written
    vector = filled.encode_image([gallery / "stars/red.jpg"])[0]
    assert filled.search(vector + Query.of("a red star"))[0].path == str(gallery / "stars/red.jpg")
    with pytest.raises(UsageError, match="nothing is left"):
        filled.search(summed - summed)


def test_many_queries_at_once(filled: Library) -> None:
    asked: list[AnyQuery] = ["a red star", "", "./missing.jpg", *(f"a star, {number}" for number in range(100))]
    answers = list(filled.search_many(iter(asked), top=3))
    assert [each for each, _ in answers] == asked
    assert answers[0][1] == filled.search("a red star", top=3)
    assert all(isinstance(answer, UsageError) for _, answer in answers[1:3])
    assert all(isinstance(answer, list) and len(answer) == 3 for _, answer in answers[3:])


def test_vectors_are_mapped_and_in_order(filled: Library, gallery: Path) -> None:
    paths, vectors = filled.vectors()
    assert vectors.dtype == np.float16
    assert not vectors.flags.writeable  # of a file that is mapped
    encoded = filled.encode_image([Path(path) for path in paths])
    assert (encoded * vectors).sum(axis=1) == pytest.approx(np.ones(len(paths)), abs=2e-3)
    with Library(gallery / "stars", model=filled._model.name, data_dir=filled._model._data_dir) as part:
        assert sorted(part.vectors().paths) == sorted(str(path) for path in (gallery / "stars").iterdir())


# --- wrong use --------------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, type[Exception], str]] = [
    ("Library(5)", TypeError, "a directory must be a path, not int"),
    ("Library(exclude_dirs='cats')", TypeError, "exclude_dirs must be a list of paths, not str"),
    ("Library(model=5)", TypeError, "model must be a name or a path, not int"),
    ("Library(notify='x')", TypeError, "notify must be a function, not str"),
    ("Library(batch_size='8')", TypeError, "batch_size must be a whole number, not str"),
    ("Library(batch_size=0)", UsageError, "batch_size must be 1 or more, not 0"),
    ("Library(max_image_megapixels='8')", TypeError, "max_image_megapixels must be a number, not str"),
    ("library.search(['a cat'])", TypeError, "a query must be text, a path, .*, not list"),
    ("library.search(5)", TypeError, "a query must be .*, not int"),
    ("library.search(b'')", UsageError, "the query is an empty file"),
    ("library.search(b'no picture')", UsageError, "cannot open the picture given"),
    ("library.search(np.ones((2, 3)))", TypeError, "one axis of floats"),
    ("library.search(np.ones(3, int))", TypeError, "one axis of floats"),
    ("library.search(np.zeros(64))", UsageError, "has no length"),
    ("library.search(np.ones(3))", UsageError, "has 3 numbers, and the model's have 64"),
    ("library.search('a cat', top='5')", TypeError, "top must be a whole number, not str"),
    ("library.search('a cat', top=0)", UsageError, "top must be 1 or more"),
    ("library.search('a cat', page=0)", UsageError, "page must be 1 or more"),
    ("library.search('a cat', page='2')", TypeError, "page must be a whole number, not str"),
    ("library.search('a cat', None, page=2)", UsageError, "page must be 1 where top is None"),
    ("library.search('a cat', sort='size')", UsageError, "sort must be one of score, date, path, not size"),
    ("library.search('a cat', sort=1)", TypeError, "sort must be text, not int"),
    ("library.search(None, sort='score')", UsageError, "sorting by score needs a query"),
    ("library.search('a cat', filters='jpg')", TypeError, "filters must be Filters, not str"),
    ("library.search('a cat', filters=Filters(after='2023'))", TypeError, "after must be a datetime, not str"),
    ("library.search(None, filters=Filters(before=datetime.now(UTC)))", UsageError, "no time zone"),
    ("library.search(None, filters=Filters(near='Paris'))", TypeError, "near must be Near"),
    ("library.search(None, filters=Filters(paths='stars'))", TypeError, "paths must be a list of texts, not str"),
    ("library.search(None, filters=Filters(types='jpg'))", TypeError, "types must be a list of texts, not str"),
    ("library.search('a', filters=Filters(min_score='1'))", TypeError, "min_score must be a number, not str"),
    ("list(library.search_many('a cat'))", TypeError, "queries must be a list of queries, not str"),
    ("library.encode_text('a cat')", TypeError, "texts must be a list of texts, not str"),
    ("library.encode_image('./a.jpg')", TypeError, "images must be a list of images, not str"),
    ("library.encode_image([5])", TypeError, "must be text, a path"),
    ("library.encode_image(['/missing.jpg'])", UsageError, "cannot open /missing.jpg"),
    ("library.update(progress=5)", TypeError, "progress must be a function, not int"),
    ("library.prune('1y')", TypeError, "older_than_s must be a number, not str"),
    ("library.export(5)", TypeError, "path must be a path, not int"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_use_is_refused_in_words(filled: Library, call: str, error: type[Exception], message: str) -> None:
    names = {"library": filled, "Library": Library, "Filters": Filters, "np": np, "datetime": datetime, "UTC": UTC}
    with pytest.raises(error, match=message):
        eval(call, names)


# --- public names -----------------------------------------------------------------------------------------------------


def types_in(annotation: object) -> Iterator[type]:
    """All classes that a type hint names."""
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from types_in(part)


def test_every_type_that_is_returned_is_public() -> None:
    assert dir(rclip) == sorted(rclip.__all__)
    public = {getattr(rclip, name) for name in rclip.__all__}
    todo = [Library, *(each for each in public if isinstance(each, type))]
    for owner in todo:
        for name, member in vars(owner).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if name.startswith("_") or not callable(function) or isinstance(function, type):
                continue
            hints = get_type_hints(function, {**vars(sys.modules[owner.__module__]), **vars(rclip), **NAMES})
            for found in types_in(hints.get("return")):
                assert found.__module__.split(".")[0] != "rclip" or found in public, (owner, name, found)


NAMES = {name: getattr(rclip, name) for name in rclip.__all__} | {
    "np": np,
    "datetime": datetime,
    "Image": Image,
    "ExportedPhoto": object,
}
