"""The numpy towers and the bulk encoder against the `clip` package itself, tiny and at full ViT-B/32 size.

The full-size model has random weights: what is compared is arithmetic, and that does not depend on training.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from rclip.errors import ModelError
from rclip.models import Model, model_files
from rclip.models.hardware import has_bf16
from rclip.models.local_encoder import LocalEncoder
from rclip.photo import image
from tests.support.gallery import photograph
from tests.support.models import cosine
from tests.support.tiers import few
from tests.tiny_clip import scenes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import clip

MAX_PIXELS = 1 << 30
TEXTS = [
    "a",
    "a red circle",
    "two parrots on a branch, photographed from below; it's late",
    "naïve café 東京 🐈",
    "word " * 200,
]


class Pair(NamedTuple):
    """One checkpoint in both hands."""

    ours: Model
    theirs: Any
    preprocess: Callable[[Image.Image], torch.Tensor]


SHAPES = {
    "ViT-B/32": (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12),
    "ResNet": (64, 64, (1, 2, 1, 1), 16, None, 77, 49408, 64, 1, 1),  # the others' architecture, a few layers of it
}


def random_checkpoint(shape: str, folder: Path) -> Path:
    from clip.model import CLIP, convert_weights

    torch.manual_seed(0)
    model = CLIP(*SHAPES[shape])
    convert_weights(model)
    torch.save(model.state_dict(), folder / "random.pt")
    return folder / "random.pt"


@pytest.fixture(scope="module", params=["tiny", "ResNet", pytest.param("ViT-B/32", marks=pytest.mark.slow)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("parity")
    is_tiny = request.param == "tiny"
    path = request.getfixturevalue("tiny_checkpoint") if is_tiny else random_checkpoint(request.param, folder)
    theirs, preprocess = clip.load(str(path), device="cpu")
    yield Pair(Model(str(path), str(folder), notify=lambda line: None), theirs, preprocess)
    for file in folder.rglob("*.*"):
        if file.is_file():
            file.unlink()  # 900 MB


@torch.inference_mode()
def clip_vectors(pair: Pair, pictures: list[Image.Image]) -> np.ndarray:
    batch = torch.stack([pair.preprocess(picture) for picture in pictures])
    return np.asarray(pair.theirs.encode_image(batch))


def square_pictures(resolution: int, count: int = 6) -> list[Image.Image]:
    rng = random.Random(1)
    return [scenes.draw(scenes.random_scene(rng), (resolution, resolution), rng) for _ in range(count)]


@pytest.mark.parametrize("text", few(TEXTS, fast=3))
def test_query_vectors_are_clips(pair: Pair, text: str) -> None:
    (vector,), (was_cut,) = pair.ours.encode_texts([text])
    with torch.inference_mode():
        expected = np.asarray(pair.theirs.encode_text(clip.tokenize([text], truncate=True)))
    assert cosine(vector, expected[0]) >= 0.99999
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert was_cut == (len(text) > 500)


def is_resnet(pair: Pair) -> bool:
    return pair.ours.config.image.is_resnet


def image_weights(pair: Pair) -> Any:
    return pair.ours._open(model_files.IMAGE)


def test_numpy_photo_vectors_are_clips(pair: Pair) -> None:
    if is_resnet(pair):
        pytest.skip("ResNets always take torch")
    pictures = square_pictures(pair.ours.resolution)
    vectors = pair.ours.encode_pictures(np.stack([np.asarray(picture) for picture in pictures]))
    assert cosine(vectors, clip_vectors(pair, pictures)) >= 0.99999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_bulk_photo_vectors_are_clips(pair: Pair) -> None:
    from rclip.models.torch_encoder import TorchEncoder

    pictures = square_pictures(pair.ours.resolution)
    bulk = TorchEncoder(image_weights(pair), pair.ours.config, "cpu", 4)  # two batches, one of them short
    vectors = bulk(np.stack([np.asarray(picture) for picture in pictures]))
    assert cosine(vectors, clip_vectors(pair, pictures)) >= (0.9995 if bulk.half else 0.99999)


def test_torchs_tower_in_float32_is_clips_to_the_last_digits(pair: Pair) -> None:
    from rclip.models.torch_tower import ImageTower

    if is_resnet(pair):
        pytest.skip("clip's own module is used")
    pictures = square_pictures(pair.ours.resolution)
    tower = ImageTower(image_weights(pair), pair.ours.config, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        vectors = tower(torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])))
    assert cosine(torch.nn.functional.normalize(vectors, dim=-1).numpy(), clip_vectors(pair, pictures)) >= 0.99999


@pytest.mark.parametrize("kind", ["_Linear", "_PackedLinear"])
def test_a_linear_layer_and_what_follows_it_are_within_half_precision(kind: str) -> None:
    from rclip.models import torch_tower

    if kind == "_PackedLinear" and not torch_tower._can_pack(torch.device("cpu"), torch.bfloat16):
        pytest.skip("not for this processor")
    torch.manual_seed(0)
    x, residual = (torch.randn(2, 50, 64, dtype=torch.bfloat16) for _ in range(2))
    weight, bias = torch.randn(64, 64, dtype=torch.bfloat16) / 8, torch.randn(64, dtype=torch.bfloat16)
    exact = x.double() @ weight.double().T + bias.double()
    layer = getattr(torch_tower, kind)(weight, bias)
    with torch.inference_mode():
        for found, expected in (
            (layer(x), exact),
            (layer.activated(x, torch_tower._Activation("swish")), exact * torch.sigmoid(exact)),
            (layer.activated(x, torch_tower._Activation("gelu", "none")), torch.nn.functional.gelu(exact)),
            (layer.added_to(residual.clone(), x), exact + residual.double()),
        ):
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=2**-6)


def test_batches_of_many_photos_are_clips(pair: Pair) -> None:
    """As indexing has them encoded: on several threads, first by numpy and then by torch."""
    pictures = square_pictures(pair.ours.resolution, 8)
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    with pair.ours.image_encoder("cpu", batch_size=8) as encoder:
        batches = [encoder.submit(pixels, left=1000) for _ in range(7)]
        vectors = [batch.result() for batch in batches]
        assert isinstance(encoder, LocalEncoder)
        assert (encoder._bulk is not None) == (is_resnet(pair) or has_bf16())
    expected = clip_vectors(pair, pictures)
    assert min(cosine(batch, expected) for batch in vectors) >= 0.9995


def test_a_batch_that_does_not_fit_is_halved_until_it_does(pair: Pair) -> None:
    from rclip.models.torch_encoder import TorchEncoder

    class SmallDevice(TorchEncoder):
        """Has memory for three pictures."""

        room = 3

        def _encode(self, pixels: np.ndarray) -> np.ndarray:
            if len(pixels) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return super()._encode(pixels)

    pixels = np.stack([np.asarray(picture) for picture in square_pictures(pair.ours.resolution, 8)])
    small = SmallDevice(image_weights(pair), pair.ours.config, "cpu", 8)
    whole = TorchEncoder(image_weights(pair), pair.ours.config, "cpu", 8)
    assert cosine(small(pixels), whole(pixels)) >= 0.9995
    assert small.batch_size == 2
    small.room = 0
    with pytest.raises(ModelError, match="no memory for one picture"):
        small(pixels)


def test_a_device_that_is_not_there_is_said(pair: Pair) -> None:
    from rclip.models.torch_encoder import TorchEncoder

    if torch.backends.mps.is_available():
        pytest.skip("it is there")
    with pytest.raises(ModelError, match="this machine has no device 'mps' for torch; it has cpu"):
        TorchEncoder(image_weights(pair), pair.ours.config, "mps", None)


def test_a_vector_does_not_depend_on_its_batch(pair: Pair) -> None:
    pixels = np.stack([np.asarray(picture) for picture in square_pictures(pair.ours.resolution)])
    encoder = pair.ours.encode_pictures
    alone = np.concatenate([encoder(pixels[row : row + 1]) for row in range(len(pixels))])
    assert cosine(encoder(pixels), alone) >= (0.9995 if is_resnet(pair) else 0.999999)


FILES = {
    "RGB large JPEG": ("a.jpg", (4000, 3000), "RGB", {"quality": 90}),
    "RGB JPEG of odd size": ("a.jpg", (4898, 3265), "RGB", {"quality": 90}),
    "RGB small JPEG": ("a.jpg", (640, 480), "RGB", {"quality": 85}),
    "grey JPEG": ("a.jpg", (1600, 1200), "L", {}),
    "CMYK JPEG": ("a.jpg", (1600, 1200), "CMYK", {}),
    "RGB PNG": ("a.png", (2000, 1500), "RGB", {}),
    "16-bit PNG": ("a.png", (900, 700), "I;16", {}),
    "palette PNG": ("a.png", (900, 700), "P", {}),
    "palette GIF": ("a.gif", (900, 700), "P", {}),
    "wide JPEG": ("a.jpg", (6000, 700), "RGB", {"quality": 90}),
    "tall WebP": ("a.webp", (500, 3000), "RGB", {"quality": 90}),
    "CMYK TIFF": ("a.tif", (900, 700), "CMYK", {}),
    "16-bit TIFF": ("a.tif", (900, 700), "I;16", {}),
}


def save_as(path: Path, picture: Image.Image, mode: str, options: dict[str, Any]) -> Image.Image:
    """Writes the picture in that mode and returns what a full decode of it is in 8-bit RGB."""
    if mode == "I;16":
        grey = picture.convert("L")
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(path)
        return grey.convert("RGB")
    (picture.quantize(64) if mode == "P" else picture.convert(mode)).save(path, **options)
    with Image.open(path) as decoded:
        return decoded.convert("RGB")


@pytest.mark.parametrize("name", few(FILES, fast=3))
def test_from_file_to_vector_is_clips_on_a_full_decode(pair: Pair, tmp_path: Path, name: str) -> None:
    file_name, size, mode, options = FILES[name]
    path = tmp_path / file_name
    decoded = save_as(path, photograph(size), mode, options)
    with open(path, "rb") as stream:
        pixels = np.asarray(image.decode(stream, path.suffix[1:], pair.ours.resolution, MAX_PIXELS).square)
    vector = pair.ours.encode_pictures(pixels[np.newaxis])
    assert cosine(vector, clip_vectors(pair, [decoded])) >= 0.999
