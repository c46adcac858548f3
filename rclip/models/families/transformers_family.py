"""Models of Hugging Face's transformers: `config.json` of a CLIP, MetaCLIP 2, SigLIP or SigLIP 2.

What such a file leaves out is as in transformers' own classes (5.24).
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rclip.errors import UnsupportedModel
from rclip.models.config import ImageConfig, ModelConfig, TextConfig
from rclip.models.families import names
from rclip.models.families.description import Description, Settings
from rclip.models.renamed import Origin, Origins

CONFIG_FILE = "config.json"
_TOKENIZER_FILE = "tokenizer.json"

_ACTIVATIONS = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_BILINEAR, _BICUBIC = 2, 3  # as Pillow numbers them


class _Defaults(NamedTuple):
    """Of a family's configuration."""

    width: int
    activation: str
    epsilon: float
    context_length: int
    vocabulary_size: int
    text_heads: int
    text_mlp_width: int
    patch_size: int
    resize_mode: str
    interpolation: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_CLIP = _Defaults(
    512, "quick_gelu", 1e-5, 77, 49408, 8, 2048, 32, "crop", _BICUBIC, _CLIP_MEAN, _CLIP_STD
)  # fmt: skip
_SIGLIP = _Defaults(
    768, "gelu_pytorch_tanh", 1e-6, 64, 32000, 12, 3072, 16, "squash", _BICUBIC, _HALF, _HALF
)  # fmt: skip
_FAMILIES = {"clip": _CLIP, "metaclip_2": _CLIP, "siglip": _SIGLIP, "siglip2": _SIGLIP}


def describe(path: str, arrays: Mapping[str, np.ndarray]) -> Description:
    """Raises `ModelError` for a configuration of another family, or of one that needs code of its own."""
    settings = Settings.read(path)
    if "auto_map" in settings:
        raise UnsupportedModel(name="auto_map", value="code of its own")
    family = settings.text("model_type")
    if family not in _FAMILIES:
        raise UnsupportedModel(name="model_type", value=family)
    folder = os.path.dirname(path)
    if family in ("siglip", "siglip2"):
        return _siglip(settings, folder, family)
    return _clip(settings, folder, family)


def _clip(settings: Settings, folder: str, family: str) -> Description:
    texts, pictures = settings.part("text_config"), settings.part("vision_config")
    text, image = _text(texts, _CLIP), _image(pictures, _CLIP, folder)
    end_token = texts.number("eos_token_id", 49407)
    has_file = family != "clip" or not _has_clips_tokenizer(folder, text.vocabulary_size)
    text = text._replace(
        tokenizer="file" if has_file else "clip",
        end_token=-1 if family == "clip" and (end_token == 2 or not has_file) else end_token,
    )
    origins = {
        **names.transformers_text(text.layers),
        "text_projection": Origin("text_projection.weight", ("T",)),
        **names.transformers_image(image.layers[0]),
        "visual.class_embedding": Origin("vision_model.embeddings.class_embedding"),
        **names.layer("visual.ln_pre", "vision_model.pre_layrnorm"),
        "visual.proj": Origin("visual_projection.weight", ("T",)),
    }
    config = ModelConfig(settings.number("projection_dim", 512), text, image).checked()
    return Description(config, origins, _TOKENIZER_FILE if has_file else None)


def _has_clips_tokenizer(folder: str, vocabulary_size: int) -> bool:
    """Whether the folder's tokenizer is CLIP's own, which it may leave out."""
    path = os.path.join(folder, _TOKENIZER_FILE)
    if not os.path.exists(path):
        return vocabulary_size == 49408
    from rclip.models.file_tokenizer import has_merges_of_clip

    return has_merges_of_clip(path, vocabulary_size)


def _siglip(settings: Settings, folder: str, family: str) -> Description:
    texts = settings.part("text_config")
    text, image = _text(texts, _SIGLIP), _image(settings.part("vision_config"), _SIGLIP, folder)
    tokenizer = _tokenizer_settings(folder)
    is_first = family == "siglip" and tokenizer.text("tokenizer_class").startswith("SiglipTokenizer")
    text = text._replace(
        tokenizer="file",
        cleaning="siglip" if is_first else "",
        pooling="last token",
        is_causal=False,
        padding=tokenizer.text("padding_side", "right"),
        padding_token=_padding_token(folder, tokenizer, texts),
        projection="biased",
    )
    dimensions = texts.number("projection_size", text.width)
    if not settings.part("vision_config").flag("vision_use_head", True) or dimensions != image.width:
        raise UnsupportedModel(name="projection_size", value=dimensions)
    image = image._replace(pooling="attention", has_pre_norm=False, has_patch_bias=True, has_projection=False)
    origins = {
        **names.transformers_text(text.layers),
        "text_projection": Origin("text_model.head.weight", ("T",)),
        "text_projection.bias": Origin("text_model.head.bias"),
        **names.transformers_image(image.layers[0]),
        "visual.conv1.bias": Origin("vision_model.embeddings.patch_embedding.bias"),
        **names.transformers_pool(image.width),
    }
    if family == "siglip2":
        image = _of_any_shape(settings.part("vision_config"), image, origins)
    return Description(ModelConfig(dimensions, text, image).checked(), origins, _TOKENIZER_FILE, not is_first)


def _of_any_shape(pictures: Settings, image: ImageConfig, origins: Origins) -> ImageConfig:
    """SigLIP 2's NaFlex takes pictures of any shape, cut into as many patches as it has positions.

    rclip gives it squares of just so many: then no position has to be moved.
    """
    from math import isqrt

    grid = isqrt(pictures.number("num_patches", 256))
    origins["visual.conv1.weight"] = Origin(
        "vision_model.embeddings.patch_embedding.weight", (f"patches {image.patch_size}",)
    )
    return image._replace(side=grid * image.patch_size, resize_mode="squash")


def _tokenizer_settings(folder: str) -> Settings:
    path = os.path.join(folder, "tokenizer_config.json")
    return Settings.read(path) if os.path.exists(path) else Settings({}, path)


def _padding_token(folder: str, tokenizer: Settings, texts: Settings) -> int:
    """Its id: what the tokenizer has for its padding token; the model's own where it names none."""
    token = tokenizer.raw("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    path = os.path.join(folder, _TOKENIZER_FILE)
    if isinstance(token, str) and os.path.exists(path):
        from rclip.models.file_tokenizer import id_of

        found = id_of(path, token)
        if found is not None:
            return found
    return texts.number("pad_token_id", 1)


def _text(settings: Settings, defaults: _Defaults) -> TextConfig:
    text = TextConfig(
        context_length=settings.number("max_position_embeddings", defaults.context_length),
        vocabulary_size=settings.number("vocab_size", defaults.vocabulary_size),
        width=settings.number("hidden_size", defaults.width),
        heads=settings.number("num_attention_heads", defaults.text_heads),
        layers=settings.number("num_hidden_layers", 12),
        tokenizer="file",  # unless it is found to be CLIP's
        activation=_activation(settings, defaults),
        norm_epsilon=settings.fraction("layer_norm_eps", defaults.epsilon),
        mlp_width=settings.number("intermediate_size", defaults.text_mlp_width),
    )
    text.check()  # before a name is made for each of its layers
    return text


def _activation(settings: Settings, defaults: _Defaults) -> str:
    name = settings.text("hidden_act", defaults.activation)
    if name not in _ACTIVATIONS:
        raise UnsupportedModel(name="hidden_act", value=name)
    return _ACTIVATIONS[name]


# --- pictures --------------------------------------------------------------------------------------------------------


def _image(settings: Settings, defaults: _Defaults, folder: str) -> ImageConfig:
    preprocessing = _preprocessing(folder)
    side = settings.side("image_size", 224)
    image = ImageConfig(
        side=side,
        patch_size=settings.side("patch_size", defaults.patch_size),
        width=settings.number("hidden_size", 768),
        heads=settings.number("num_attention_heads", 12),
        layers=(settings.number("num_hidden_layers", 12),),
        mean=preprocessing.three("image_mean", defaults.mean),
        std=preprocessing.three("image_std", defaults.std),
        resize_mode=_resize_mode(preprocessing, side, defaults),
        interpolation=_interpolation(preprocessing, defaults),
        activation=_activation(settings, defaults),
        norm_epsilon=settings.fraction("layer_norm_eps", defaults.epsilon),
        mlp_width=settings.number("intermediate_size", 3072),
    )
    image.check()
    return image


def _preprocessing(folder: str) -> Settings:
    """Of pictures: a file of its own, or a part of the one for all that goes into the model."""
    path = os.path.join(folder, "preprocessor_config.json")
    if os.path.exists(path):
        return Settings.read(path)
    path = os.path.join(folder, "processor_config.json")
    return Settings.read(path).part("image_processor") if os.path.exists(path) else Settings({}, path)


def _resize_mode(preprocessing: Settings, side: int, defaults: _Defaults) -> str:
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not preprocessing.flag(step, True):
            raise UnsupportedModel(name=step, value=False)
    size = preprocessing.raw("size")
    if size is None or "max_num_patches" in preprocessing:
        return defaults.resize_mode
    if type(size) is int or (isinstance(size, dict) and size.keys() == {"shortest_edge"}):
        shortest = size if isinstance(size, int) else size["shortest_edge"]
        if shortest != side or not preprocessing.flag("do_center_crop", True):
            raise UnsupportedModel(name="size", value=size)
        return "crop"
    if isinstance(size, dict) and size == {"height": side, "width": side}:
        return "squash"
    raise UnsupportedModel(name="size", value=size)


def _interpolation(preprocessing: Settings, defaults: _Defaults) -> str:
    resample = preprocessing.number("resample", defaults.interpolation)
    if resample not in (_BILINEAR, _BICUBIC):
        raise UnsupportedModel(name="resample", value=resample)
    return "bilinear" if resample == _BILINEAR else "bicubic"
