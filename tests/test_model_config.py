"""What a model's configuration says is what its towers, tokenizer and preprocessing do: against torch.nn and clip."""

import json
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rclip.errors import ModelError
from rclip.models import Model, numpy_towers, openai_layout, safetensors
from rclip.models.config import ImageConfig, ModelConfig, TextConfig
from rclip.models.local_encoder import LocalEncoder
from rclip.models.safetensors import Tensors
from rclip.models.tokenizer import Tokenizer, clip_merges, merge_table
from tests.support.models import cosine

TEXT = TextConfig(context_length=12, vocabulary_size=600, width=40, heads=5, layers=2, activation="gelu")
IMAGE = ImageConfig(
    side=24,
    patch_size=8,
    width=48,
    heads=3,
    layers=(2,),
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.5, 0.25),
    activation="gelu",
)
CONFIG = ModelConfig(dimensions=20, text=TEXT, image=IMAGE)
"""Nothing in it is as in OpenAI's models."""

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}


def random_arrays(config: ModelConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in openai_layout.shapes(config).items():
        scale = 0.1 if "embedding" in name else 1.5 / shape[-1] ** 0.5 if len(shape) > 1 else 0.7
        arrays[name] = rng.normal(0, scale, shape).astype(np.float32)
    return arrays


def stored(folder: Path, config: ModelConfig) -> Tensors:
    path = str(folder / "weights.safetensors")
    safetensors.write(path, random_arrays(config), {"config": config.to_json()})
    return Tensors(path)


# --- the reference: the towers as torch.nn's own layers ---------------------------------------------------------------


def module(
    kind: type[torch.nn.Module], weights: Tensors, prefix: str, *sizes: int, **options: object
) -> torch.nn.Module:
    made = kind(*sizes, **options)
    names = [name for name in weights if name.startswith(prefix)]
    made.load_state_dict({name.removeprefix(prefix): torch.tensor(weights[name]) for name in names})
    return made


def transformed(
    x: torch.Tensor, weights: Tensors, prefix: str, layers: int, heads: int, activation: str, mask: torch.Tensor | None
) -> torch.Tensor:
    width = x.shape[-1]
    for number in range(layers):
        block = f"{prefix}{number}."
        attention = module(torch.nn.MultiheadAttention, weights, block + "attn.", width, heads, batch_first=True)
        normed = module(torch.nn.LayerNorm, weights, block + "ln_1.", width)(x)
        x = x + attention(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        normed = module(torch.nn.LayerNorm, weights, block + "ln_2.", width)(x)
        hidden = ACTIVATIONS[activation](
            module(torch.nn.Linear, weights, block + "mlp.c_fc.", width, 4 * width)(normed)
        )
        x = x + module(torch.nn.Linear, weights, block + "mlp.c_proj.", 4 * width, width)(hidden)
    return x


@torch.inference_mode()
def reference_text(weights: Tensors, config: ModelConfig, tokens: list[int]) -> np.ndarray:
    """All tokens that the model can read, padded, as CLIP computes it."""
    text = config.text
    padded = torch.tensor(tokens + [0] * (text.context_length - len(tokens)))
    x = torch.tensor(weights["token_embedding.weight"])[padded] + torch.tensor(weights["positional_embedding"])
    mask = torch.full((text.context_length, text.context_length), -torch.inf).triu(1)
    x = transformed(x[None], weights, "transformer.resblocks.", text.layers, text.heads, text.activation, mask)[0]
    x = module(torch.nn.LayerNorm, weights, "ln_final.", text.width)(x)
    return (x[len(tokens) - 1] @ torch.tensor(weights["text_projection"])).numpy()


@torch.inference_mode()
def reference_images(weights: Tensors, config: ModelConfig, pixels: np.ndarray) -> np.ndarray:
    image = config.image
    normal = (torch.tensor(pixels).float() / 255 - torch.tensor(image.mean)) / torch.tensor(image.std)
    patches = torch.nn.functional.conv2d(
        normal.permute(0, 3, 1, 2), torch.tensor(weights["visual.conv1.weight"]), stride=image.patch_size
    )
    x = patches.flatten(2).transpose(1, 2)
    class_token = torch.tensor(weights["visual.class_embedding"]).expand(len(x), 1, -1)
    x = torch.cat([class_token, x], 1) + torch.tensor(weights["visual.positional_embedding"])
    x = module(torch.nn.LayerNorm, weights, "visual.ln_pre.", image.width)(x)
    x = transformed(x, weights, "visual.transformer.resblocks.", image.layers[0], image.heads, image.activation, None)
    x = module(torch.nn.LayerNorm, weights, "visual.ln_post.", image.width)(x[:, 0])
    return (x @ torch.tensor(weights["visual.proj"])).numpy()


def random_pixels(config: ModelConfig, count: int = 5) -> np.ndarray:
    shape = (count, config.image.side, config.image.side, 3)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


@pytest.fixture(params=ACTIVATIONS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return CONFIG._replace(text=TEXT._replace(activation=request.param), image=IMAGE._replace(activation=request.param))


def test_the_text_tower_is_the_configured_one(config: ModelConfig, tmp_path: Path) -> None:
    weights = stored(tmp_path, config)
    tower = numpy_towers.TextTower(weights, config)
    texts = [[598, 5, 599], [598, *range(10), 599], [598, 599]]
    expected = np.stack([reference_text(weights, config, tokens) for tokens in texts])
    assert cosine(tower(texts), expected) >= 0.99999


BEGINNINGS = [
    [598, 5, 6, 7, 599], [598, 5, 6, 8, 599], [598, 5, 6, 7, 599], [598, 5, 599], [598, 599], [598, 5, 599, 6, 599],
    [598, 5, 599, 7, 599], [4, 5], [4, 5, 6], [598, *range(10), 599], [598, *range(9), 20, 599],
]  # fmt: skip


@pytest.mark.parametrize("pooling", ["end token", "last token"])
def test_a_text_that_begins_like_the_one_before_has_its_own_vector(pooling: str, tmp_path: Path) -> None:
    config = CONFIG._replace(text=TEXT._replace(pooling=pooling))
    weights = stored(tmp_path, config)
    tower = numpy_towers.TextTower(weights, config)
    right = [numpy_towers.TextTower(weights, config)([tokens])[0] for tokens in BEGINNINGS]
    for _ in range(2):
        for tokens, vector in zip(BEGINNINGS, right, strict=True):
            assert cosine(tower([tokens])[0], vector) >= 0.999999
    with ThreadPoolExecutor(8) as pool:
        several = list(pool.map(lambda tokens: tower([tokens])[0], BEGINNINGS * 20))
    assert cosine(np.stack(several), np.stack(right * 20)) >= 0.999999


def test_what_a_text_shares_with_the_one_before_is_not_computed_again(tmp_path: Path) -> None:
    """Which shows where its embedding is lost meanwhile."""
    weights = {name: np.array(array) for name, array in stored(tmp_path, CONFIG).items()}
    tower = numpy_towers.TextTower(weights, CONFIG)
    tower([[598, 5, 6, 599]])
    weights["token_embedding.weight"][5] = np.nan
    assert np.isfinite(tower([[598, 5, 7, 599]])).all()
    assert not np.isfinite(tower([[598, 7, 5, 599]])).all()


def test_the_image_towers_are_the_configured_one(config: ModelConfig, tmp_path: Path) -> None:
    from rclip.models.torch_tower import ImageTower

    weights, pixels = stored(tmp_path, config), random_pixels(config)
    expected = reference_images(weights, config, pixels)
    assert cosine(numpy_towers.ImageTower(weights, config)(pixels), expected) >= 0.99999
    for dtype, least in ((torch.float32, 0.99999), (torch.bfloat16, 0.999)):
        tower = ImageTower(weights, config, torch.device("cpu"), dtype)
        with torch.inference_mode():
            assert cosine(tower(torch.tensor(pixels)).float().numpy(), expected) >= least


@pytest.mark.parametrize("change", [{"mean": (0.1, 0.2, 0.9)}, {"std": (0.9, 0.3, 0.1)}, {"heads": 6}, {"heads": 1}])
def test_every_number_counts(change: dict[str, Any], tmp_path: Path) -> None:
    """Else the comparisons above would show nothing."""
    weights, pixels = stored(tmp_path, CONFIG), random_pixels(CONFIG)
    other = CONFIG._replace(image=IMAGE._replace(**change))
    assert cosine(numpy_towers.ImageTower(weights, other)(pixels), reference_images(weights, CONFIG, pixels)) < 0.999
    assert cosine(numpy_towers.ImageTower(weights, other)(pixels), reference_images(weights, other, pixels)) > 0.99999


@pytest.mark.parametrize("rows", [1, 9, 32, 33, 64, 65])
@pytest.mark.parametrize(("outputs", "inputs"), [(2048, 512), (512, 2048), (1, 512), (2039, 512), (24, 40_000)])
def test_a_linear_layer_is_torchs_however_its_product_is_divided(rows: int, outputs: int, inputs: int) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((rows, inputs), (outputs, inputs), outputs))
    expected = torch.nn.functional.linear(*(torch.tensor(array).double() for array in (x, weight, bias))).numpy()
    for laid_out in (weight, np.asfortranarray(weight), np.repeat(weight, 2, axis=0)[::2]):
        found = numpy_towers.linear(x[np.newaxis], laid_out, bias)
        assert found.flags.c_contiguous
        np.testing.assert_allclose(found[0], expected, atol=1e-5 * inputs**0.5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs_over_all_that_can_come(name: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 200_001), [0, -0.0, 1e-30, -200, 200, 1e4, -1e4]]).astype(np.float32)
    expected = ACTIVATIONS[name](torch.tensor(x).double()).numpy()
    np.testing.assert_allclose(numpy_towers.ACTIVATIONS[name](x.copy()), expected, atol=2e-6, rtol=2e-6)


def test_the_encoder_takes_the_side_and_the_whole_configuration(tmp_path: Path) -> None:
    weights, pixels = stored(tmp_path, CONFIG), random_pixels(CONFIG)
    with LocalEncoder("made up", weights, CONFIG, "cpu") as encoder:
        assert encoder.resolution == 24
        futures = [encoder.submit(pixels, left=1000) for _ in range(20)]
        vectors = [future.result() for future in futures]
    assert min(cosine(batch, reference_images(weights, CONFIG, pixels)) for batch in vectors) >= 0.999


def test_a_resnet_takes_heads_and_normalization_from_its_configuration() -> None:
    from rclip.models.openai_clip import ResNet, clip_model

    image = ImageConfig(
        64, 32, 16, 4, (1, 1, 1, 1), (0.5, 0.4, 0.3), (0.2, 0.5, 0.25), pooling="attention", has_pre_norm=False
    )
    config = CONFIG._replace(image=image)
    torch.manual_seed(0)
    theirs = clip_model.ModifiedResNet(image.layers, config.dimensions, image.heads, image.side, image.width).eval()
    arrays = {f"visual.{name}": tensor.numpy() for name, tensor in theirs.state_dict().items()}
    pixels = torch.tensor(random_pixels(config))
    normal = (pixels.float() / 255 - torch.tensor(image.mean)) / torch.tensor(image.std)
    with torch.inference_mode():
        expected = theirs(normal.permute(0, 3, 1, 2)).numpy()
        assert cosine(ResNet(arrays, config, torch.device("cpu"))(pixels).numpy(), expected) >= 0.99999


# --- tokenizer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("vocabulary_size", "context_length"), [(514, 77), (600, 12), (20_000, 30), (65_536, 64)])
def test_the_tokenizer_has_the_vocabulary_and_the_context(vocabulary_size: int, context_length: int) -> None:
    """clip's own, with its merges cut to those that the vocabulary has room for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from clip.simple_tokenizer import SimpleTokenizer
    theirs = SimpleTokenizer()
    if vocabulary_size <= 49408:
        kept = vocabulary_size - 514
        theirs.bpe_ranks = {merge: rank for merge, rank in theirs.bpe_ranks.items() if rank < kept}
    ours = Tokenizer(*merge_table(clip_merges(), vocabulary_size), vocabulary_size, context_length)
    for text in ("a photo of two parrots", "antidisestablishmentarianism", "naïve café 東京 🐈", "word " * 100):
        ids, was_cut = ours(text)
        assert max(ids) == ids[-1] == vocabulary_size - 1
        assert ids[0] == vocabulary_size - 2
        if vocabulary_size <= 49408:
            expected = theirs.encode(text)
            assert ids[1:-1] == expected[: context_length - 2]
            assert was_cut == (len(expected) > context_length - 2)
        assert len(ids) <= context_length


# --- keeping it ------------------------------------------------------------------------------------------------------


def test_a_configuration_comes_back_as_it_was_written() -> None:
    assert ModelConfig.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize("damage", ["{}", "[]", "no json", "unknown field", "missing field"])
def test_a_damaged_configuration_is_an_error_that_its_reader_expects(damage: str) -> None:
    fields = json.loads(CONFIG.to_json())
    if damage == "unknown field":
        fields["image"]["new"] = 1
    elif damage == "missing field":
        del fields["text"]["width"]
    with pytest.raises((KeyError, ValueError, TypeError)):
        ModelConfig.from_json(json.dumps(fields) if " field" in damage else damage)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("text", {"tokenizer": "gemma"}),
        ("text", {"pooling": "last"}),
        ("text", {"padding": "right"}),  # which no token before it could attend to
        ("text", {"padding": "middle"}),
        ("text", {"norms": "none"}),
        ("text", {"norm_epsilon": 0}),
        ("text", {"projection": "conv"}),
        ("text", {"end_token": 600}),
        ("text", {"layers": 1_000_000}),
        ("text", {"library": "other"}),
        ("text", {"activation": "relu"}),
        ("text", {"vocabulary_size": 256_000}),
        ("text", {"context_length": 1}),
        ("text", {"heads": 7}),
        ("image", {"pooling": "average"}),
        ("image", {"resize_mode": "longest"}),
        ("image", {"interpolation": "nearest"}),
        ("image", {"patch_size": 25}),
        ("image", {"side": 1_000_000}),
        ("image", {"library": "other"}),
        ("image", {"activation": "relu"}),
        ("image", {"layers": (1, 2)}),
        ("image", {"std": (0.5, 0.0, 0.5)}),
        ("image", {"mean": (0.5,)}),
        ("", {"dimensions": 0}),
    ],
)
def test_a_value_that_nothing_can_run_is_one_line(part: str, change: dict[str, Any]) -> None:
    """Neither kept nor read."""
    other = CONFIG._replace(**({part: getattr(CONFIG, part)._replace(**change)} if part else change))
    with pytest.raises(ModelError):
        other.to_json()
    kept = json.loads(CONFIG.to_json())
    (kept[part] if part else kept).update(change)
    with pytest.raises(ModelError) as caught:
        ModelConfig.from_json(json.dumps(kept))
    (value,) = change.values()
    assert str(value) in str(caught.value)
    assert "does not support" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- a model that threads share --------------------------------------------------------------------------------------


def test_eight_threads_share_a_model_and_each_gets_its_right_vectors(tiny_checkpoint: Path, tmp_path: Path) -> None:
    said: list[str] = []
    model = Model(str(tiny_checkpoint), str(tmp_path), said.append)
    alone = Model(str(tiny_checkpoint), str(tmp_path / "alone"), lambda line: None)
    texts = [[f"{count} red {shape}s", "café"][: 1 + count % 2] * (1 + 9 * (count % 3 == 0))
             for count in range(8) for shape in ("star", "circle")]  # fmt: skip
    expected = [alone.encode_texts(each)[0] for each in texts]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected_pictures = alone.encode_pictures(pixels, "cpu")
    wrong: list[object] = []
    ready = threading.Barrier(8)

    def work(first: int) -> None:
        ready.wait()
        try:
            for turn in range(40):
                number = (first + turn) % len(texts)
                np.testing.assert_allclose(model.encode_texts(texts[number])[0], expected[number], atol=1e-6)
            np.testing.assert_allclose(model.encode_pictures(pixels, "cpu"), expected_pictures, atol=1e-6)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(said) == 1  # prepared once
    assert model._text() is model._text()  # and kept
