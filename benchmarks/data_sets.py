"""Pictures with classes or captions, in the files that public data sets come in.

Nothing is downloaded unless that is asked for. Files of pictures are read where they lie; pictures that come in arrays
are written as PNG files first, so that all are indexed as photos are.
"""

import csv
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import emptied

SEED = 2026


class Item(NamedTuple):
    """A picture and what is known of it."""

    source: "Path | Callable[[], Any]"
    """Its file, or a function that gives it as a Pillow image."""
    label: int | None = None
    """The number of its class."""
    captions: tuple[tuple[str, str], ...] = ()
    """Language, which may be empty, and text."""

    def open(self) -> Any:
        """As a Pillow image."""
        from PIL import Image

        return Image.open(self.source) if isinstance(self.source, Path) else self.source()


class DataSet(NamedTuple):
    """Pictures, and the names of their classes where they have some."""

    items: list[Item]
    classes: Sequence[str] = ()


def read(name: str, root: Path, split: str, download: bool) -> DataSet:
    """Exits with a line that says what is missing where."""
    if name in LABELLED:
        return LABELLED[name](root, split, download)
    if name == "photos":
        return DataSet([Item(path) for path in sorted(root.rglob("*")) if _is_picture(path)])
    path = Path(name)
    if not path.is_file():
        raise SystemExit(f"no data set {name}: there are {', '.join((*LABELLED, 'photos'))}, and files with captions")
    return captioned(path, root, split)


def sample(items: Sequence[Item], limit: int | None) -> list[Item]:
    """So many of them, the same ones at every call, in their order."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[number] for number in sorted(random.Random(SEED).sample(range(len(items)), limit))]


def files(items: Sequence[Item], folder: Path) -> tuple[list[Path], Path]:
    """A file for each picture, and a folder that has them all in it or below.

    Pictures in arrays are written into `folder`. Files stay where they are, if they are all that their folder has;
    otherwise they are linked, or else copied, into `folder`.
    """
    paths = [item.source for item in items if isinstance(item.source, Path)]
    if len(paths) == len(items):
        root = Path(os.path.commonpath([path.parent for path in paths]))
        if sum(map(_is_picture, root.rglob("*"))) == len(set(paths)):
            return paths, root
    emptied(folder)
    return [_file(item, folder / f"{number:07}") for number, item in enumerate(items)], folder


def _file(item: Item, target: Path) -> Path:
    if not isinstance(item.source, Path):
        path = target.with_suffix(".png")
        item.source().save(path)
        return path
    path = target.with_suffix(item.source.suffix)
    try:
        os.link(item.source, path)
    except OSError:  # on another disk
        shutil.copyfile(item.source, path)
    return path


# --- with classes ----------------------------------------------------------------------------------------------------


def _read_by_torchvision(kind: str, root: Path, split: str, download: bool) -> DataSet:
    """CIFAR or MNIST: pictures in arrays."""
    from torchvision import datasets

    try:
        found = getattr(datasets, kind)(root, train=split == "train", download=download)
    except RuntimeError as error:  # torchvision's own words name an argument that nobody here has
        raise SystemExit(f"{kind} is not in {root}, or not as published: --download gets it") from error
    labels = [int(label) for label in found.targets]
    classes = [str(name).partition(" - ")[2] or str(name) for name in found.classes]  # MNIST's are "7 - seven"
    return DataSet(
        [Item(_nth(found, number), label) for number, label in enumerate(labels)], list(map(_words, classes))
    )


def _nth(pictures: Any, number: int) -> Callable[[], Any]:
    return lambda: pictures[number][0]


def _imagenet(root: Path, split: str, download: bool) -> DataSet:
    from torchvision import datasets

    try:
        found = datasets.ImageNet(root, "train" if split == "train" else "val")
    except (RuntimeError, OSError) as error:
        raise SystemExit(f"ImageNet is not in {root}: {error}") from error
    return _of_folders(found, [synonyms[0] for synonyms in found.classes])


def _folder(root: Path, split: str, download: bool) -> DataSet:
    from torchvision import datasets

    try:
        found = datasets.ImageFolder(root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SystemExit(f"{root} has no folders with pictures in it, one for each class: {error}") from error
    return _of_folders(found, list(map(_words, found.classes)))


def _of_folders(found: Any, classes: list[str]) -> DataSet:
    return DataSet([Item(Path(path), label) for path, label in found.samples], classes)


def _words(name: str) -> str:
    return name.replace("_", " ")


LABELLED: dict[str, Callable[[Path, str, bool], DataSet]] = {
    "cifar10": lambda *where: _read_by_torchvision("CIFAR10", *where),
    "cifar100": lambda *where: _read_by_torchvision("CIFAR100", *where),
    "mnist": lambda *where: _read_by_torchvision("MNIST", *where),
    "imagenet": _imagenet,
    "folder": _folder,
}

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file()


# --- with captions ---------------------------------------------------------------------------------------------------


Caption = tuple[str, str, str]
"""The picture's file name, the language, which may be empty, and the text."""


def captioned(path: Path, root: Path, split: str) -> DataSet:
    """COCO's and Karpathy's JSON, XM3600's JSON lines, Flickr30k's tokens, and `path<TAB>caption[<TAB>language]`."""
    try:
        readers = {".json": _in_json, ".jsonl": _in_json_lines}
        captions = list(readers.get(path.suffix, _in_tsv)(path, split))
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path} has no captions in a known form: {error!r}") from error
    of_picture: dict[Path, list[tuple[str, str]]] = {}
    for name, language, text in captions:
        of_picture.setdefault(root / name, []).append((language, " ".join(text.split())))
    if missing := [picture for picture in of_picture if not picture.is_file()]:
        raise SystemExit(f"{len(missing):,} of {len(of_picture):,} pictures are missing, such as {missing[0]}")
    return DataSet([Item(picture, None, tuple(texts)) for picture, texts in of_picture.items()])


def _in_json(path: Path, split: str) -> Iterator[Caption]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if "annotations" in content:  # COCO's own
        names = {image["id"]: image["file_name"] for image in content["images"]}
        yield from ((names[one["image_id"]], one.get("language", ""), one["caption"]) for one in content["annotations"])
        return
    for image in content["images"]:  # Karpathy's, for COCO and Flickr30k
        if image.get("split", split) == split:
            name = os.path.join(image.get("filepath", ""), image["filename"])
            yield from ((name, "", sentence["raw"]) for sentence in image["sentences"])


def _in_json_lines(path: Path, split: str) -> Iterator[Caption]:
    """XM3600's: the key of the image, and by each language a list of captions."""
    for line in path.read_text(encoding="utf-8").splitlines():
        image = json.loads(line)
        name = f"{image['image/key']}.jpg"
        for language, said in image.items():
            if isinstance(said, dict) and "caption" in said:
                yield from ((name, language, text) for text in said["caption"])


def _in_tsv(path: Path, split: str) -> Iterator[Caption]:
    with open(path, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
            if not row:
                continue
            if len(row) not in (2, 3):
                raise ValueError(f"line {number} has {len(row)} columns")
            yield re.sub(r"#\d+$", "", row[0]), row[2] if len(row) == 3 else "", row[1]


def languages(items: Iterable[Item]) -> list[str]:
    return sorted({language for item in items for language, _ in item.captions})
