"""Models of OpenCLIP's and transformers' families, small and with random weights, against these libraries."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rclip.models import Model, model_files
from rclip.models.config import ModelConfig
from rclip.models.hardware import has_bf16
from rclip.models.mapped_weights import MappedWeights
from tests.support import families
from tests.support.families import OPEN_CLIP_IMAGE, OPEN_CLIP_TEXT, SIDE, open_clip_folder, randomize
from tests.support.gallery import photograph
from tests.support.models import cosine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import open_clip
    import transformers

TEXTS = ["a photo of dogs", "a", "red star on the branch, in snow", "снег кот 東京 🐈", "word " * 200]
SIGLIP_PREPROCESS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


def opened(folder: Path, tmp_path: Path) -> Model:
    return Model(str(folder), str(tmp_path / "data"), lambda line: None)


def random_pixels(side: int = SIDE, count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)


def normalized(pixels: np.ndarray, config: ModelConfig) -> torch.Tensor:
    scaled = (torch.tensor(pixels).float() / 255 - torch.tensor(config.image.mean)) / torch.tensor(config.image.std)
    return scaled.permute(0, 3, 1, 2)


def assert_pictures_are(
    model: Model, theirs: Callable[[torch.Tensor], torch.Tensor], pixels: np.ndarray | None = None
) -> None:
    """Of the numpy tower, and of torch's in float32 and bf16."""
    from rclip.models.torch_tower import ImageTower

    pixels = random_pixels(model.resolution) if pixels is None else pixels
    with torch.inference_mode():
        expected = theirs(normalized(pixels, model.config)).float().numpy()
        assert cosine(model.encode_pictures(pixels), expected) >= 0.99999
        weights = model._open(model_files.IMAGE)
        for dtype, least in ((torch.float32, 0.99999), (torch.bfloat16, 0.999)):
            tower = ImageTower(weights, model.config, torch.device("cpu"), dtype)
            assert cosine(tower(torch.tensor(pixels)).float().numpy(), expected) >= least
    assert cosine(expected[:1], expected[1:2]) < 0.999  # else the comparison would show nothing


def assert_texts_are(model: Model, theirs: Callable[[str], torch.Tensor], texts: list[str] = TEXTS) -> None:
    """One by one, and all in one batch."""
    with torch.inference_mode():
        expected = np.concatenate([theirs(text).float().numpy() for text in texts])
    together, _ = model.encode_texts(texts)
    alone = np.concatenate([model.encode_texts([text])[0] for text in texts])
    assert cosine(together, expected) >= 0.99999
    assert cosine(alone, expected) >= 0.99999
    assert cosine(expected[:1], expected[2:3]) < 0.999


# --- OpenCLIP --------------------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "gelu": {},
    "quick_gelu": {"quick_gelu": True},
    "tanh in text": {"text_cfg": {"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-6}}},
    "head width 80, patch 14": {"vision_cfg": {"image_size": 42, "width": 160, "head_width": 80, "patch_size": 14}},
    "mlp ratio": {"vision_cfg": {"mlp_ratio": 4.9231}, "text_cfg": {"mlp_ratio": 3.7362}},
    "no ln_pre": {"vision_cfg": {"no_ln_pre": True}},
    "a side that is no multiple of the patch": {"vision_cfg": {"image_size": 35}},
    "custom text": {"custom_text": True},
    "not causal": {"custom_text": True, "text_cfg": {"no_causal_mask": True}},
    "projection with bias": {"custom_text": True, "text_cfg": {"proj_bias": True}},
    "ResNet": {"vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "image_size": 64}},
}


def open_clip_config(variant: dict[str, Any]) -> dict[str, Any]:
    config = {"embed_dim": 40, **variant}
    vision = {**OPEN_CLIP_IMAGE, **variant.get("vision_cfg", {})}
    if isinstance(vision["layers"], list):
        del vision["patch_size"]
    return config | {"vision_cfg": vision, "text_cfg": {**OPEN_CLIP_TEXT, **variant.get("text_cfg", {})}}


@pytest.mark.parametrize("name", VARIANTS)
def test_models_of_open_clip_are_its_own(name: str, tmp_path: Path) -> None:
    theirs: Any = open_clip_folder(tmp_path / "model", open_clip_config(VARIANTS[name]))
    model = opened(tmp_path / "model", tmp_path)
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    assert_texts_are(model, lambda text: theirs.encode_text(tokenizer([text])))
    if name == "ResNet":
        pixels = random_pixels(64)
        expected = theirs.encode_image(normalized(pixels, model.config)).detach().numpy()
        assert cosine(model.encode_pictures(pixels, "cpu"), expected) >= 0.999
    else:
        assert_pictures_are(model, theirs.encode_image)


@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "half", "bfloat16"])
def test_weights_are_mapped_or_converted(weights: str, tmp_path: Path) -> None:
    """A file of float32 is not copied; all others give the same vectors, too."""
    folder = tmp_path / "model"
    name = weights if "." in weights else "open_clip_model.safetensors"
    theirs: Any = open_clip_folder(folder, open_clip_config({}), weights=name)
    if name != weights:
        theirs.to(getattr(torch, weights))
        families.save(theirs.state_dict(), folder / name)
        theirs.float()
    model = opened(folder, tmp_path)
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    assert_texts_are(model, lambda text: theirs.encode_text(tokenizer([text])))
    assert_pictures_are(model, theirs.encode_image)
    copied = sum(path.stat().st_size for path in (tmp_path / "data").rglob("image.safetensors"))
    assert (copied < 20_000) == (name == weights and name.endswith("safetensors"))


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    open_clip_folder(folder, open_clip_config({}))
    before, _ = opened(folder, tmp_path).encode_texts(["dogs"])
    key = opened(folder, tmp_path).key
    other = randomize(open_clip.CLIP(**open_clip_config({})), seed=5)
    families.save(other.state_dict(), folder / "open_clip_model.safetensors")
    model = opened(folder, tmp_path)
    after, _ = model.encode_texts(["dogs"])
    assert cosine(before, after) < 0.99
    assert model.key != key


def test_other_preprocessing_is_another_index(tmp_path: Path) -> None:
    keys = set()
    changes: list[dict[str, Any]] = [{}, {"mean": [0.1] * 3}, {"resize_mode": "squash"}, {"interpolation": "bilinear"}]
    for number, preprocessing in enumerate(changes):
        folder = tmp_path / str(number) / "model"
        open_clip_folder(folder, open_clip_config({}), preprocessing)
        keys.add(opened(folder, tmp_path / str(number)).key)
    assert len(keys) == 4


def test_names_and_shapes_of_all_siglips_in_open_clip_are_known() -> None:
    """Without any weights: only what their arrays are called, and how large they are."""
    from rclip.models.families import open_clip_family
    from rclip.models.families.description import Settings, require_fit

    names = [name for name in open_clip.list_models() if "SigLIP" in name]
    assert len(names) > 20
    for name in names:
        config = open_clip.get_model_config(name)
        definition = json.loads(json.dumps(config))
        definition.pop("custom_text")
        with torch.device("meta"):
            model = open_clip.CustomTextCLIP(**definition)
        arrays = {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in model.state_dict().items()}
        described = open_clip_family.describe_parts(Settings(config, name), Settings({}, name), arrays)
        require_fit(arrays, described)
        assert not described.config.image.library
        assert not described.config.text.library
        block = model.visual.trunk.blocks[0]
        assert described.config.image.heads == block.attn.num_heads
        is_tanh = type(block.mlp.act).__name__ == "GELUTanh" or block.mlp.act.approximate == "tanh"
        assert described.config.image.activation == ("gelu_tanh" if is_tanh else "gelu")
        assert described.config.image.norm_epsilon == block.norm1.eps


def test_every_model_that_open_clip_has_is_described_or_left_to_it() -> None:
    from rclip.errors import ModelError
    from rclip.models.families import open_clip_family
    from rclip.models.families.description import Settings

    kinds: dict[tuple[bool, bool], list[str]] = {}
    for name in open_clip.list_models():
        try:
            described = open_clip_family.describe_parts(
                Settings(open_clip.get_model_config(name), name), Settings({}, name), {}
            )
        except ModelError as error:
            raise AssertionError(name) from error
        kinds.setdefault((not described.config.text.library, not described.config.image.library), []).append(name)
    assert len(kinds[True, True]) >= 60
    assert {"ViT-H-14", "ViT-bigG-14", "ViT-H-14-worldwide-378", "xlm-roberta-large-ViT-H-14"} <= set(kinds[True, True])
    assert {"MobileCLIP2-S0", "EVA02-B-16", "convnext_base_w", "PE-Core-B-16"} <= set(kinds[True, False])


@pytest.mark.slow
def test_siglip_2_of_open_clip_is_its_own(tmp_path: Path) -> None:
    """The image tower in full, because timm's architectures have one size each."""
    config = open_clip.get_model_config("ViT-B-32-SigLIP2-256")
    config["text_cfg"] |= {"width": 48, "heads": 4, "layers": 2, "vocab_size": 900}
    tokenizer = families.gemma_tokenizer()
    folder = tmp_path / "model"
    theirs: Any = open_clip_folder(folder, config, SIGLIP_PREPROCESS, tokenizer)
    gemma_files(folder, tokenizer)
    model = opened(folder, tmp_path)
    assert_pictures_are(model, theirs.encode_image)
    reference = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert_texts_are(model, lambda text: theirs.encode_text(reference([text])))
    assert isinstance(model._open(model_files.IMAGE), MappedWeights)


def gemma_files(folder: Path, tokenizer: Any) -> None:
    """As the published ones say: the tokenizer's class, and that padding follows the text."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "unk_token": "<unk>",
        "padding_side": "right",
        "model_max_length": 64,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture
def mobile_clip(tmp_path: Path) -> tuple[Path, Any]:
    config = open_clip.get_model_config("MobileCLIP2-S0")
    config["text_cfg"] |= {"width": 48, "heads": 4, "layers": 2}
    folder = tmp_path / "model"
    preprocessing = {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
    return folder, open_clip_folder(folder, config, preprocessing)


def test_what_only_open_clip_can_build_runs_through_it(mobile_clip: tuple[Path, Any], tmp_path: Path) -> None:
    folder, theirs = mobile_clip
    model = opened(folder, tmp_path)
    assert model.config.image.library == "open_clip"
    assert not model.config.text.library
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    assert_texts_are(model, lambda text: theirs.encode_text(tokenizer([text])))
    pixels = random_pixels(256, 2)
    # Half precision takes random weights of so many layers further away than trained ones: compared in the same.
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
        expected = theirs.encode_image(normalized(pixels, model.config)).float().numpy()
    assert cosine(model.encode_pictures(pixels, "cpu"), expected) >= 0.999
    with model.image_encoder("cpu") as encoder:
        assert cosine(encoder.submit(pixels, left=2).result(), expected) >= 0.999


def test_texts_that_only_open_clip_can_encode_run_through_it(tmp_path: Path) -> None:
    config = open_clip_config({"custom_text": True, "text_cfg": {"ls_init_value": 0.1}})
    theirs: Any = open_clip_folder(tmp_path / "model", config)
    model = opened(tmp_path / "model", tmp_path)
    assert model.config.text.library == "open_clip"
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    assert_texts_are(model, lambda text: theirs.encode_text(tokenizer([text])))
    assert model.encode_texts(["dogs", "dogs " * 40])[1] == [False, True]
    assert_pictures_are(model, theirs.encode_image)


# --- preprocessing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(4000, 3000), (640, 480), (500, 3000), (50, 40)])
def test_pictures_are_prepared_as_open_clip_prepares_them(
    mode: str, interpolation: str, size: tuple[int, int], tmp_path: Path
) -> None:
    from PIL import Image

    from rclip.photo import image
    from rclip.resizing import Resizing

    path = tmp_path / "photo.jpg"
    photograph(size).save(path, quality=90)
    theirs = open_clip.image_transform(
        224, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode, interpolation=interpolation
    )
    expected = theirs(Image.open(path)).permute(1, 2, 0).numpy() * 255
    resizing = Resizing("crop" if mode == "shortest" else "squash", interpolation)
    with open(path, "rb") as file:
        found = np.asarray(image.decode(file, "jpg", 224, 1 << 30, resizing=resizing).square).astype(float)
    assert np.abs(found - expected).mean() < 1.5
    with open(path, "rb") as file:
        other_way = Resizing("squash" if mode == "shortest" else "crop")
        other = np.asarray(image.decode(file, "jpg", 224, 1 << 30, resizing=other_way).square).astype(float)
    assert np.abs(other - expected).mean() > 2 * np.abs(found - expected).mean()


def test_a_decoding_process_prepares_pictures_in_the_same_way(tmp_path: Path) -> None:
    from rclip.photo import image
    from rclip.photo.decode_pool import DecodePool
    from rclip.resizing import Resizing

    path, resizing = tmp_path / "photo.png", Resizing("squash", "bilinear")
    photograph((90, 40)).save(path)
    pool = DecodePool(32, 1 << 20, resizing)
    with open(path, "rb") as file:
        apart = pool.decode(file, "png").pixels
    pool.close()
    with open(path, "rb") as file:
        here = image.decode(file, "png", 32, 1 << 20, resizing=resizing).square
    np.testing.assert_array_equal(apart, np.asarray(here))


# --- transformers ----------------------------------------------------------------------------------------------------

TOWER = {"hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = TOWER | {"image_size": SIDE, "patch_size": 8}


def saved(model: Any, folder: Path, tokenizer: Any = None, **settings: Any) -> Any:
    randomize(model)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return model


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_clips_of_transformers_are_its_own(activation: str, tmp_path: Path) -> None:
    text = TOWER | {"max_position_embeddings": 20, "hidden_act": activation}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=VISION | {"hidden_act": activation}, projection_dim=24
    )
    theirs = saved(transformers.CLIPModel(config), tmp_path / "model")
    model = opened(tmp_path / "model", tmp_path)
    assert model.config.text.tokenizer == "clip"
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    assert_texts_are(model, lambda text: theirs.get_text_features(tokenizer([text])).pooler_output)
    assert_pictures_are(model, lambda pictures: theirs.get_image_features(pictures).pooler_output)


def test_a_clip_with_a_tokenizer_of_its_own_uses_that(tmp_path: Path) -> None:
    tokenizer = families.byte_tokenizer()
    text = TOWER | {"max_position_embeddings": 20, "vocab_size": 600, "eos_token_id": 2, "bos_token_id": 0}
    config = transformers.MetaClip2Config(text_config=text, vision_config=VISION, projection_dim=24)
    theirs = saved(transformers.MetaClip2Model(config), tmp_path / "model", tokenizer)
    model = opened(tmp_path / "model", tmp_path)
    tokenizer.enable_truncation(20)
    assert_texts_are(
        model, lambda text: theirs.get_text_features(torch.tensor([tokenizer.encode(text).ids])).pooler_output
    )
    assert_pictures_are(model, lambda pictures: theirs.get_image_features(pictures).pooler_output)


def siglip(folder: Path, tokenizer: Any) -> Any:
    text = TOWER | {"vocab_size": 900, "max_position_embeddings": 16, "projection_size": 48}
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=VISION))
    return saved(model, folder, tokenizer, pad_token="<pad>", padding_side="right")


def test_siglips_of_transformers_are_its_own(tmp_path: Path) -> None:
    tokenizer = families.gemma_tokenizer()
    theirs = siglip(tmp_path / "model", tokenizer)
    model = opened(tmp_path / "model", tmp_path)
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_id=0, pad_token="<pad>")

    def text_features(text: str) -> torch.Tensor:
        ids = tokenizer.encode(text.lower()).ids
        return theirs.get_text_features(torch.tensor([ids])).pooler_output

    assert_texts_are(model, text_features)
    assert_pictures_are(model, lambda pictures: theirs.get_image_features(pictures).pooler_output)


def test_siglip_2_for_pictures_of_any_shape_is_given_squares(tmp_path: Path) -> None:
    tokenizer = families.gemma_tokenizer()
    vision = TOWER | {"num_patches": 16, "patch_size": 8}
    text = TOWER | {"vocab_size": 900, "max_position_embeddings": 16, "projection_size": 48}
    theirs: Any = transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=vision))
    saved(theirs, tmp_path / "model", tokenizer, pad_token="<pad>")
    model = opened(tmp_path / "model", tmp_path)
    assert model.resolution == 32

    def image_features(pictures: torch.Tensor) -> torch.Tensor:
        count = len(pictures)
        patches = pictures.reshape(count, 3, 4, 8, 4, 8).permute(0, 2, 4, 3, 5, 1).reshape(count, 16, -1)
        mask, shapes = torch.ones(count, 16), torch.tensor([[4, 4]] * count)
        return theirs.get_image_features(patches, mask, shapes).pooler_output

    assert_pictures_are(model, image_features)


def test_xlm_roberta_with_open_clips_head_is_its_own(tmp_path: Path) -> None:
    """Its encoder is given a small configuration, which it would otherwise fetch."""
    from open_clip.hf_model import HFTextEncoder

    from rclip.models import numpy_towers
    from rclip.models.config import ImageConfig, TextConfig
    from rclip.models.families import names
    from rclip.models.families.open_clip_family import _roberta_projection
    from rclip.models.renamed import Renamed

    small = transformers.XLMRobertaConfig(
        vocab_size=700, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192,
        max_position_embeddings=66, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    for projection in ("mlp", "linear"):
        theirs = randomize(HFTextEncoder("", 24, small, "mean_pooler", projection, pretrained=False))
        arrays = {f"text.{name}": tensor.numpy() for name, tensor in theirs.state_dict().items()}
        text = TextConfig(
            20, 700, 48, 4, 2, tokenizer="file", pooling="mean", is_causal=False, activation="gelu", padding_token=1,
            norms="after", projection=projection,
        )  # fmt: skip
        image = ImageConfig(32, 8, 48, 4, (1,), (0, 0, 0), (1, 1, 1))
        origins = names.bert("text.transformer.", 2, 20, 2) | _roberta_projection(projection)
        tower = numpy_towers.TextTower(Renamed(arrays, origins), ModelConfig(24, text, image).checked())
        rows = [[0, 5, 9, 2], [0, *range(10, 28), 2], [0, 2]]
        padded = torch.tensor([row + [1] * (20 - len(row)) for row in rows])
        with torch.inference_mode():
            assert cosine(tower(rows), theirs(padded).numpy()) >= 0.99999


@pytest.mark.parametrize("family", ["clip", "siglip", "metaclip"])
def test_preprocessing_is_read_from_either_file(family: str, tmp_path: Path) -> None:
    """As transformers 5 saves it, and as those before did."""
    tokenizer = families.gemma_tokenizer()
    siglip(tmp_path / "model", tokenizer)
    settings = {"size": {"height": SIDE, "width": SIDE}, "resample": 2, "image_mean": [0.1] * 3, "image_std": [0.2] * 3}
    if family == "clip":
        (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(settings))
    else:
        (tmp_path / "model" / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    image = opened(tmp_path / "model", tmp_path).config.image
    assert (image.resize_mode, image.interpolation, image.mean[0], image.std[0]) == ("squash", "bilinear", 0.1, 0.2)


LARGE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
PUBLISHED: dict[str, Callable[[], Any]] = {
    "siglip2-base-patch16-224": lambda: transformers.SiglipModel(
        transformers.SiglipConfig(text_config=LARGE | {"vocab_size": 256_000}, vision_config=LARGE)
    ),
    "siglip2-base-patch16-naflex": lambda: transformers.Siglip2Model(
        transformers.Siglip2Config(text_config=LARGE | {"vocab_size": 256_000}, vision_config=LARGE)
    ),
    "metaclip-2": lambda: transformers.MetaClip2Model(
        transformers.MetaClip2Config(
            text_config={"vocab_size": 901_629, "eos_token_id": 2, "hidden_size": 512}, projection_dim=512
        )
    ),
    "clip-vit-base-patch32": lambda: transformers.CLIPModel(transformers.CLIPConfig()),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_of_the_published_sizes_are_described(name: str, tmp_path: Path) -> None:
    """Without any weights: only what their arrays are called, and how large they are."""
    from rclip.models.families import transformers_family
    from rclip.models.families.description import require_fit

    with torch.device("meta"):
        model = PUBLISHED[name]()
    arrays = {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in model.state_dict().items()}
    model.config.to_json_file(tmp_path / "config.json")
    described = transformers_family.describe(str(tmp_path / "config.json"), arrays)
    require_fit(arrays, described)
    assert (described.tokenizer_file is None) == (name == "clip-vit-base-patch32")
