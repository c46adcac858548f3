"""`benchmarks/quality.py`: its figures are those of a ranking by numpy on vectors from clip itself.

The data sets are drawn, and written in the files that the real ones come in.
"""

import functools
import importlib
import json
import pickle
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import clip
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from tests.support.tiers import few
from tests.tiny_clip import scenes

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
COLORS = ("red", "green", "blue", "yellow", "pink")
SHAPES = ("circle", "star")
KINDS = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch, prepared_data: Path) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("RCLIP_DATADIR", str(prepared_data))
    return importlib.import_module("quality")


@pytest.fixture
def run(quality: Any, tmp_path: Path, tiny_checkpoint: Path) -> Run:
    """Runs the benchmark with the tiny CLIP and returns what it keeps."""

    def run_with(task: str, data: str | Path, root: Path, *arguments: str | Path) -> dict[str, Any]:
        kept = tmp_path / "kept.json"
        options = ("--model", tiny_checkpoint, "--scratch", tmp_path / "scratch", "--json", kept)
        quality.main([str(each) for each in (task, "--data", data, "--root", root, *options, *arguments)])
        content: dict[str, Any] = json.loads(kept.read_text())
        return content

    return run_with


def drawn(kind: str, size: tuple[int, int], rng: random.Random) -> Image.Image:
    color, shape = kind.split()
    return scenes.draw(scenes.random_scene(rng, color=color, shape=shape, ground="plain"), size, rng)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return file.convert("RGB")


def pictures_of(kinds: Sequence[str], each: int, size: tuple[int, int]) -> tuple[list[Image.Image], list[int]]:
    rng = random.Random(3)
    labels = [number for number in range(len(kinds)) for _ in range(each)]
    rng.shuffle(labels)
    return [drawn(kinds[label], size, rng) for label in labels], labels


# --- an independent reckoning ----------------------------------------------------------------------------------------


@functools.cache
def reference(checkpoint: Path) -> tuple[Any, Any]:
    return clip.load(str(checkpoint), device="cpu")


def image_vectors(checkpoint: Path, pictures: Sequence[Image.Image]) -> np.ndarray:
    model, preprocess = reference(checkpoint)
    with torch.inference_mode():
        found = model.encode_image(torch.stack([preprocess(picture.convert("RGB")) for picture in pictures]))
    vectors: np.ndarray = torch.nn.functional.normalize(found.float(), dim=-1).numpy()
    return vectors


def text_vectors(checkpoint: Path, texts: Sequence[str]) -> np.ndarray:
    model, _ = reference(checkpoint)
    with torch.inference_mode():
        found = model.encode_text(clip.tokenize(list(texts)))
    vectors: np.ndarray = torch.nn.functional.normalize(found.float(), dim=-1).numpy()
    return vectors


def top(scores: np.ndarray, right: Sequence[int], k: int) -> float:
    """The share of rows of which the right column is among the k highest."""
    return float(np.mean([column in np.argsort(-row)[:k] for row, column in zip(scores, right, strict=True)]))


def close(found: float, expected: float, of: int) -> bool:
    """But for two near ties: stored vectors are in half precision."""
    return abs(found - expected) <= 2 / of + 1e-9


# --- data sets with classes ------------------------------------------------------------------------------------------


def published(monkeypatch: pytest.MonkeyPatch, kind: type, folder: Path) -> None:
    """Lets torchvision take the files in the folder for the published ones, whose digests it knows."""
    monkeypatch.setattr(kind, "train_list", [])
    monkeypatch.setattr(kind, "test_list", [[path.name, None] for path in folder.iterdir() if "meta" not in path.name])
    meta: dict[str, Any] = kind.meta  # type: ignore[attr-defined]
    monkeypatch.setattr(kind, "meta", meta | {"md5": None})


def write_cifar(root: Path, pictures: Sequence[Image.Image], labels: list[int], names: list[str], fine: bool) -> Path:
    folder = root / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir()
    rows = np.stack([np.asarray(picture).transpose(2, 0, 1).reshape(-1) for picture in pictures])
    of_file = {"data": rows, "fine_labels" if fine else "labels": labels}
    meta = {"fine_label_names" if fine else "label_names": names}
    (folder / ("test" if fine else "test_batch")).write_bytes(pickle.dumps(of_file))
    (folder / ("meta" if fine else "batches.meta")).write_bytes(pickle.dumps(meta))
    return folder


@pytest.mark.parametrize("fine", few([True, False]))
def test_cifar_is_classified_as_clip_does_it(
    fine: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
) -> None:
    pictures, labels = pictures_of(KINDS, 6, (32, 32))
    folder = write_cifar(tmp_path, pictures, labels, [kind.replace(" ", "_") for kind in KINDS], fine)
    published(monkeypatch, datasets.CIFAR100 if fine else datasets.CIFAR10, folder)
    scores = image_vectors(tiny_checkpoint, pictures) @ text_vectors(tiny_checkpoint, KINDS).T
    (found,) = run("classify", "cifar100" if fine else "cifar10", tmp_path)["results"]
    assert close(found["top 1"], top(scores, labels, 1), len(labels))
    assert close(found["top 5"], top(scores, labels, 5), len(labels))
    assert 0.1 < found["top 1"] <= found["top 5"]


def write_folders(root: Path, pictures: Sequence[Image.Image], labels: Sequence[int], names: Sequence[str]) -> None:
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number:03}.png")


def test_prompts_and_names_are_chosen(run: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    pictures, labels = pictures_of(KINDS, 6, (96, 80))
    ids = [f"n{number:08}" for number in range(len(KINDS))]
    write_folders(tmp_path / "data", pictures, labels, ids)
    names, prompts = tmp_path / "names.txt", tmp_path / "prompts.txt"
    names.write_text("\n".join(KINDS))
    prompts.write_text("a {}\n\na photo of a {name}.\n")
    texts = [text for kind in KINDS for text in (f"a {kind}", f"a photo of a {kind}.")]
    means = text_vectors(tiny_checkpoint, texts).reshape(len(KINDS), 2, -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    scores = image_vectors(tiny_checkpoint, pictures) @ means.T
    (found,) = run("classify", "folder", tmp_path / "data", "--classes", names, "--prompts", prompts)["results"]
    assert close(found["top 1"], top(scores, labels, 1), len(labels))
    (unnamed,) = run("classify", "folder", tmp_path / "data", "--prompts", "ensemble")["results"]
    assert unnamed["top 1"] < found["top 1"]


def test_imagenet_is_read_as_torchvision_does(run: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    pictures, labels = pictures_of(KINDS, 4, (96, 80))
    ids = [f"n{number:08}" for number in range(len(KINDS))]
    write_folders(tmp_path / "val", pictures, labels, ids)
    synonyms = {wnid: (kind, "thing") for wnid, kind in zip(ids, KINDS, strict=True)}
    torch.save((synonyms, ids), tmp_path / "meta.bin")
    scores = (
        image_vectors(tiny_checkpoint, pictures) @ text_vectors(tiny_checkpoint, [f"photo of {k}" for k in KINDS]).T
    )
    (found,) = run("classify", "imagenet", tmp_path, "--split", "val", "--prompts", "photo")["results"]
    assert close(found["top 1"], top(scores, labels, 1), len(labels))


def write_mnist(root: Path, pictures: Sequence[Image.Image], labels: Sequence[int]) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.stack([np.asarray(picture.convert("L")) for picture in pictures])
    for part in ("train", "t10k"):
        shape = np.array(pixels.shape, ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + shape + pixels.tobytes())
        count = np.array([len(labels)], ">i4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + count + bytes(labels))


def test_other_pictures_of_a_class_are_found_in_mnist(run: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    pictures, labels = pictures_of(KINDS, 5, (28, 28))
    write_mnist(tmp_path, pictures, labels)
    vectors = image_vectors(tiny_checkpoint, [picture.convert("L") for picture in pictures])
    scores = vectors @ vectors.T - 2 * np.eye(len(labels))
    of_class = np.array(labels)
    order = np.argsort(-scores, axis=1)
    expected = [np.mean((of_class[order[:, :k]] == of_class[:, np.newaxis]).any(axis=1)) for k in (1, 5)]
    (found,) = run("similar", "mnist", tmp_path)["results"]
    assert close(found["first 1"], float(expected[0]), len(labels))
    assert close(found["first 5"], float(expected[1]), len(labels))
    assert 0.2 < found["first 1"] < found["first 5"]


def test_a_sample_is_the_same_every_time(run: Run, tmp_path: Path) -> None:
    pictures, labels = pictures_of(KINDS, 4, (64, 64))
    write_folders(tmp_path / "data", pictures, labels, KINDS)
    once, twice = (run("classify", "folder", tmp_path / "data", "--limit", "12") for _ in range(2))
    assert once["pictures"] == 12
    assert once["results"] == twice["results"]


# --- captions --------------------------------------------------------------------------------------------------------


def coco(names: Sequence[str], texts: Sequence[tuple[int, str]]) -> str:
    images = [{"id": 100 + number, "file_name": name} for number, name in enumerate(names)]
    said = [{"id": number, "image_id": 100 + image, "caption": text} for number, (image, text) in enumerate(texts)]
    return json.dumps({"images": images, "annotations": said})


def karpathy(names: Sequence[str], texts: Sequence[tuple[int, str]]) -> str:
    images = [
        {"filename": name, "split": "test", "sentences": [{"raw": text} for image, text in texts if image == number]}
        for number, name in enumerate(names)
    ]
    other = {"filename": "elsewhere.jpg", "split": "train", "sentences": [{"raw": "a red star"}]}
    return json.dumps({"images": [*images, other]})


def tokens(names: Sequence[str], texts: Sequence[tuple[int, str]]) -> str:
    return "".join(f"{names[image]}#{number % 2}\t{text}\n" for number, (image, text) in enumerate(texts))


FORMS: list[tuple[str, Callable[..., str]]] = [
    ("captions_val.json", coco), ("dataset_flickr30k.json", karpathy), ("results.token", tokens)
]  # fmt: skip


@pytest.fixture
def album(tmp_path: Path) -> tuple[list[Image.Image], list[str], list[tuple[int, str]]]:
    """Twenty pictures, their names, and two captions of each."""
    rng = random.Random(4)
    shown = [scenes.random_scene(rng, count=1, ground="plain") for _ in range(20)]
    pictures = [scenes.draw(scene, (120, 90), rng) for scene in shown]
    names = [f"{number:03}.png" for number in range(20)]
    (tmp_path / "images").mkdir()
    for picture, name in zip(pictures, names, strict=True):
        picture.save(tmp_path / "images" / name)
    said = [(number, text) for number, scene in enumerate(shown)
            for text in (scenes.caption(scene), f"a photo of {scenes.caption(scene)}.")]  # fmt: skip
    return pictures, names, said


@pytest.mark.parametrize(("name", "form"), few(FORMS, 2))
def test_recall_of_captions(
    name: str, form: Callable[..., str], album: Any, run: Run, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    pictures, names, said = album
    (tmp_path / name).write_text(form(names, said))
    scores = text_vectors(tiny_checkpoint, [text for _, text in said]) @ image_vectors(tiny_checkpoint, pictures).T
    picture_of = [picture for picture, _ in said]
    (found,) = run("captions", tmp_path / name, tmp_path / "images")["results"]
    assert found["captions"] == len(said)
    for k in (1, 5, 10):
        assert close(found[f"text→image R@{k}"], top(scores, picture_of, k), 20)
        own = [
            any(picture_of[text] == picture for text in np.argsort(-scores[:, picture])[:k]) for picture in range(20)
        ]
        assert close(found[f"image→text R@{k}"], float(np.mean(own)), 20)


def test_languages_are_measured_apart(album: Any, run: Run, tmp_path: Path) -> None:
    """In XM3600's own form, and in lines with a third column."""
    _, names, said = album
    lines = [
        {"image/key": name.removesuffix(".png"), "image/locale": "en",
         "en": {"caption": [text for image, text in said if image == number]}, "xx": {"caption": ["nothing of it"]}}
        for number, name in enumerate(names)
    ]  # fmt: skip
    for name in names:
        opened(tmp_path / "images" / name).save(tmp_path / "images" / name.replace(".png", ".jpg"), quality=95)
        (tmp_path / "images" / name).unlink()
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = [(f"{names[image][:3]}.jpg", text, "en") for image, text in said]
    rows += [(f"{name[:3]}.jpg", "nothing of it", "xx") for name in names]
    (tmp_path / "captions.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    found = run("captions", tmp_path / "captions.jsonl", tmp_path / "images")["results"]
    assert {result["case"]: result["captions"] for result in found} == {"en": 40, "xx": 20}
    assert found[0]["text→image R@1"] > 0.5 > found[1]["text→image R@1"]
    assert run("captions", tmp_path / "captions.tsv", tmp_path / "images")["results"] == found


# --- distortions -----------------------------------------------------------------------------------------------------


def test_distorted_pictures_lose_accuracy_and_rank(
    quality: Any, run: Run, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    pictures, labels = pictures_of(KINDS, 3, (160, 120))
    write_folders(tmp_path / "data", pictures, labels, KINDS)
    plot = tmp_path / "plot.svg"
    options = ("--kinds", "tiny", "rotated", "truncated", "--severities", "1", "5", "--plot", plot)
    first, *others = run("distort", "folder", tmp_path / "data", *options)["results"]
    ordered = sorted(range(len(labels)), key=lambda number: (KINDS[labels[number]], number))
    names = sorted(KINDS)
    shown = [pictures[number] for number in ordered]
    of_class = [names.index(KINDS[labels[number]]) for number in ordered]
    original, texts = image_vectors(tiny_checkpoint, shown), text_vectors(tiny_checkpoint, names)
    assert (first["case"], first["own rank 1"], first["median rank"], first["lost"]) == ("as they are", 1, 1, 0)
    assert close(first["top 1"], top(original @ texts.T, of_class, 1), len(labels))
    by_case = {(result["case"], result["severity"]): result for result in others}
    assert list(by_case) == [(kind, severity) for kind in ("tiny", "rotated", "truncated") for severity in (1, 5)]

    turned = image_vectors(tiny_checkpoint, [picture.rotate(180) for picture in shown])
    places = [1 + np.count_nonzero(np.delete(original[number] @ original.T, number) > original[number] @ turned[number])
              for number in range(len(labels))]  # fmt: skip
    found = by_case["rotated", 5]
    assert close(found["top 1"], top(turned @ texts.T, of_class, 1), len(labels))
    assert found["lost"] == pytest.approx(first["top 1"] - found["top 1"])
    assert close(found["own rank 1"], float(np.mean(np.array(places) == 1)), len(labels))
    assert abs(found["median rank"] - np.median(places)) <= 1

    cut = by_case["truncated", 5]
    assert (cut["unreadable"], cut["top 1"], cut["median rank"]) == (len(labels), 0, None)
    lines = [element for element in ElementTree.parse(plot).getroot().iter() if element.tag.endswith("polyline")]
    assert [len(line.get("points", "").split()) for line in lines] == [3, 3, 3]


def test_recall_is_lost_where_pictures_have_captions_and_ranks_where_they_have_nothing(
    album: Any, run: Run, tmp_path: Path
) -> None:
    _, names, said = album
    (tmp_path / "captions.json").write_text(coco(names, said))
    options = ("--kinds", "watermarked", "recompressed", "--severities", "5")
    first, marked, resaved = run("distort", tmp_path / "captions.json", tmp_path / "images", *options)["results"]
    assert first["R@1"] > 0.5
    assert marked["lost"] > 0 <= resaved["lost"] < marked["lost"]
    assert resaved["own rank 1"] > 0.5
    plain = run("distort", "photos", tmp_path / "images", *options)["results"]
    assert [result["own rank 1"] for result in plain] == [result["own rank 1"] for result in (first, marked, resaved)]
    assert "R@1" not in plain[0]


@pytest.fixture
def distortions(quality: Any) -> Any:
    return importlib.import_module("distortions")


@pytest.mark.parametrize("kind", ["tiny", "rotated", "watermarked", "recompressed"])
def test_a_picture_is_distorted_more_and_more(kind: str, distortions: Any, tmp_path: Path) -> None:
    picture = distortions.scaled(drawn("red star", (640, 480), random.Random(1)))
    assert picture.size == (341, 256)
    source = tmp_path / "source.png"
    picture.save(source)
    found = [opened(distortions.write(source, kind, severity, tmp_path / "made")) for severity in range(1, 6)]
    if kind == "tiny":
        assert [max(each.size) for each in found] == [96, 64, 48, 32, 16]
    elif kind == "rotated":
        assert [each.size for each in found[3:]] == [(256, 341), (341, 256)]
        assert np.array_equal(np.asarray(found[4]), np.asarray(picture.rotate(180)))
    else:
        original = np.asarray(picture, np.float64)
        away = [np.abs(np.asarray(each.resize(picture.size), np.float64) - original).mean() for each in found]
        assert away == sorted(away)
        assert away[4] > 1.5 * away[0] > 0


def test_all_fifteen_of_imagenet_c(distortions: Any, tmp_path: Path) -> None:
    """Each lies farther from the picture at 5 than at 1, and is the same every time."""
    pytest.importorskip("imagecorruptions", reason="it takes 600 MB: pip install --group quality")
    source = tmp_path / "source.png"
    distortions.scaled(drawn("red star", (16, 16), random.Random(1))).save(source)
    original = np.asarray(opened(source), np.float64)
    for kind in distortions.IMAGENET_C:
        written = (distortions.write(source, kind, severity, tmp_path / kind) for severity in (1, 5, 5))
        found = [np.asarray(opened(path), np.float64) for path in written]
        away = [np.abs(each - original).mean() for each in found]
        assert 0 < away[0] < away[1], kind
        if kind not in ("impulse_noise", "glass_blur"):  # whose random numbers cannot be chosen
            assert np.array_equal(found[1], found[2]), kind


def test_a_cut_jpeg_has_no_end(distortions: Any, tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    drawn("red star", (300, 256), random.Random(1)).save(source)
    sizes = []
    for severity in range(1, 6):
        content = distortions.write(source, "truncated", severity, tmp_path / "cut").read_bytes()
        assert content.startswith(b"\xff\xd8")
        assert not content.endswith(b"\xff\xd9")
        sizes.append(len(content))
    assert sizes == sorted(sizes, reverse=True)


# --- what is missing is said in a line -------------------------------------------------------------------------------


def refused(run: Run, *arguments: Any) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert isinstance(stopped.value.code, str)
    assert "\n" not in stopped.value.code
    return stopped.value.code


def test_nothing_is_downloaded_unasked(run: Run, tmp_path: Path) -> None:
    for name in ("cifar10", "cifar100", "mnist"):
        assert "--download" in refused(run, "classify", name, tmp_path)
        assert not list(tmp_path.glob("*.tar.gz"))


def test_what_is_missing_is_said(run: Run, tmp_path: Path, album: Any) -> None:
    _, names, said = album
    assert "no data set imagine" in refused(run, "classify", "imagine", tmp_path)
    assert "no folder" in refused(run, "classify", "folder", tmp_path / "nowhere")
    assert "no classes" in refused(run, "similar", "photos", tmp_path / "images")
    (tmp_path / "captions.json").write_text(coco(names, said))
    (tmp_path / "images" / names[0]).unlink()
    assert "1 of 20 pictures are missing" in refused(run, "captions", tmp_path / "captions.json", tmp_path / "images")
    (tmp_path / "captions.json").write_text("[]")
    assert "known form" in refused(run, "captions", tmp_path / "captions.json", tmp_path / "images")
    write_folders(tmp_path / "classes", *pictures_of(["red star"], 1, (32, 32)), ["red star"])
    assert "no prompts nowhere" in refused(run, "classify", "folder", tmp_path / "classes", "--prompts", "nowhere")


def test_a_picture_that_cannot_be_read_is_a_wrong_answer(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, labels = pictures_of(KINDS, 2, (64, 64))
    write_folders(tmp_path / "data", pictures, labels, KINDS)
    (before,) = run("classify", "folder", tmp_path / "data")["results"]
    for path in (tmp_path / "data" / KINDS[0]).iterdir():
        path.write_bytes(b"half a photo")
    (after,) = run("classify", "folder", tmp_path / "data")["results"]
    assert before["top 5"] - after["top 5"] == pytest.approx(2 / 20)
    assert "2 of 20 pictures cannot be read" in capsys.readouterr().err
