"""Models of OpenCLIP: `open_clip_config.json`, as open_clip 3.3 reads it.

Towers that are plain transformers are described, and run as all others do. Whatever has more to it (convolutions,
rotary positions, scaled residuals) is left to `open_clip` itself.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rclip.errors import UnsupportedModel
from rclip.models.config import ImageConfig, ModelConfig, TextConfig
from rclip.models.families import names
from rclip.models.families.description import Description, Settings
from rclip.models.renamed import Origin, Origins
from rclip.models.text_cleaning import CLEANINGS

CONFIG_FILE = "open_clip_config.json"

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

_TEXT_DEFAULTS = {
    "embed_cls": False,
    "ls_init_value": None,
    "block_type": "default",
    "tokenizer_mode": None,
}
"""What a text tower's configuration may say without being more than a plain transformer."""
_IMAGE_DEFAULTS = {
    "ls_init_value": None,
    "attentional_pool": False,
    "final_ln_after_pool": False,
    "pool_type": "tok",
    "block_type": "default",
}
_EXTRAS = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
"""Of either: each is off in a plain transformer."""


class _Timm(NamedTuple):
    """An architecture of timm's: what its name stands for."""

    width: int
    heads: int
    layers: int
    mlp_width: int


_SIGLIP = {
    "base": _Timm(768, 12, 12, 3072),
    "large": _Timm(1024, 16, 24, 4096),
    "so400m": _Timm(1152, 16, 27, 4304),
    "giantopt": _Timm(1536, 16, 40, 6144),
}
_SIGLIP_NAME = re.compile(r"vit_(base|large|so400m|giantopt)_patch(\d\d)_siglip_(\d\d\d)", re.ASCII)
_EXACT_GELU = {
    *(f"vit_base_patch16_siglip_{side}" for side in (224, 256, 384, 512)),
    *(f"vit_large_patch16_siglip_{side}" for side in (256, 384)),
    *(f"vit_so400m_patch14_siglip_{side}" for side in (224, 378, 384)),
}
"""timm has the exact GELU for these, and its approximation by tanh for the others."""


class _Roberta(NamedTuple):
    """A text model of transformers', by the name that configurations have for it."""

    width: int
    heads: int
    layers: int
    vocabulary_size: int


_ROBERTAS = {
    "xlm-roberta-base": _Roberta(768, 12, 12, 250_002),
    "xlm-roberta-large": _Roberta(1024, 16, 24, 250_002),
    "roberta-base": _Roberta(768, 12, 12, 50_265),
    "roberta-large": _Roberta(1024, 16, 24, 50_265),
}
_ROBERTA_PADDING = 1
_ROBERTA_POSITIONS = 514
"""The first two are never used: positions are counted from the padding token's id on."""


def describe(path: str, arrays: Mapping[str, np.ndarray]) -> Description:
    """Raises `ModelError` for a configuration that neither we nor open_clip can run."""
    settings = Settings.read(path)
    if "model_cfg" not in settings:
        raise UnsupportedModel(name="model_cfg", value=None)
    return describe_parts(settings.part("model_cfg"), settings.part("preprocess_cfg"), arrays)


def describe_parts(model: Settings, preprocessing: Settings, arrays: Mapping[str, np.ndarray]) -> Description:
    """The same of the two parts of such a file."""
    dimensions = model.number("embed_dim")
    text, text_origins = _text(model, dimensions, arrays)
    image, image_origins = _image(model, preprocessing, dimensions)
    config = ModelConfig(dimensions, text, image).checked()
    needs_library = text.library or image.library
    settings = model.part("text_cfg")
    has_file = "hf_tokenizer_name" in settings
    if image.is_resnet and not image.library:
        image_origins = {
            name: Origin(name)
            for name in arrays
            if name.startswith("visual.") and not name.endswith("num_batches_tracked")
        }
    return Description(
        config=config,
        origins={**text_origins, **image_origins},
        tokenizer_file="tokenizer.json" if has_file and not text.library else None,
        definition=json.dumps(_definition(model)) if needs_library else "",
    )


def _definition(model: Settings) -> dict[str, object]:
    """What open_clip builds the model from; nothing in it names a place to load weights from.

    Raises `UnsupportedModel` where it does.
    """
    vision, text = model.part("vision_cfg"), model.part("text_cfg")
    for settings, name, pattern in (
        (vision, "timm_model_name", r"[\w.]+"),
        (text, "hf_model_name", r"([\w-]+/)?[\w.-]+"),
        (text, "hf_tokenizer_name", r"([\w-]+/)?[\w.-]+"),
    ):
        if name in settings and not re.fullmatch(pattern, settings.text(name), re.ASCII):
            raise UnsupportedModel(name=name, value=settings.text(name))
    _require_harmless(text.part("tokenizer_kwargs"))
    _require_few_layers(model.as_dict())
    return {
        **model.as_dict(),
        "vision_cfg": vision.as_dict() | {"timm_model_pretrained": False},
        "text_cfg": text.as_dict() | {"hf_model_pretrained": False},
    }


_TOKENIZER_OPTIONS = frozenset({"clean", "language", "strip_sep_token"})
_MOST_LAYERS = 1024


def _require_harmless(options: Settings) -> None:
    """Raises `UnsupportedModel` for one that does more than clean a text: open_clip hands all of them on.

    `trust_remote_code` would have transformers run the Python files of the folder, others write to any place.
    """
    others = options.names() - _TOKENIZER_OPTIONS
    if others:
        raise UnsupportedModel(name="tokenizer_kwargs", value=min(others))


def _require_few_layers(settings: Mapping[str, Any]) -> None:
    """Raises `UnsupportedModel` for more than any model has: each would be built before it is compared with a file."""
    for name, value in settings.items():
        counts = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            _require_few_layers(value)
        elif "layers" in name and any(isinstance(count, int | float) and count > _MOST_LAYERS for count in counts):
            raise UnsupportedModel(name=name, value=value)


# --- texts -----------------------------------------------------------------------------------------------------------


def _text(model: Settings, dimensions: int, arrays: Mapping[str, np.ndarray]) -> tuple[TextConfig, Origins]:
    settings = model.part("text_cfg")
    if settings.text("hf_model_name").removeprefix("FacebookAI/") in _ROBERTAS:
        found = _roberta(settings, dimensions)
    elif "hf_model_name" in settings or "multimodal_cfg" in model or not _is_plain(settings, _TEXT_DEFAULTS):
        found = None
    else:
        found = _transformer(model, settings, arrays)
    return found or (_library_text(settings), {})


def _library_text(settings: Settings) -> TextConfig:
    length = settings.number("context_length", 77)
    return TextConfig(length, settings.number("vocab_size", 49408), 0, 0, 0, library="open_clip")


def _is_plain(settings: Settings, defaults: Mapping[str, object]) -> bool:
    is_default = all(settings.raw(name) in (None, value) for name, value in defaults.items())
    return is_default and not any(settings.raw(name) for name in _EXTRAS)


_PROJECTIONS = {("linear", False): "linear", ("linear", True): "biased", ("none", False): "", ("none", True): ""}


def _transformer(
    model: Settings, settings: Settings, arrays: Mapping[str, np.ndarray]
) -> tuple[TextConfig, Origins] | None:
    """None for one with more to it."""
    tokenizer = _tokenizer(settings)
    activation = _activation(model, settings)
    pooling = _pooling(settings)
    if tokenizer is None or activation is None or pooling is None:
        return None
    if settings.text("proj_type", "linear") not in ("linear", "none"):
        return None
    width, layers = settings.number("width", 512), settings.number("layers", 12)
    vocabulary_size = settings.number("vocab_size", 49408)
    is_causal = not settings.flag("no_causal_mask")
    name, end_token = pooling
    if is_causal and name == "last token":
        return None
    text = TextConfig(
        context_length=settings.number("context_length", 77),
        vocabulary_size=vocabulary_size,
        width=width,
        heads=settings.number("heads", 8),
        layers=layers,
        tokenizer=tokenizer[0],
        cleaning=tokenizer[1],
        pooling=name,
        end_token=end_token,
        is_causal=is_causal,
        activation=activation,
        padding="" if is_causal else "right",
        norm_epsilon=settings.part("norm_kwargs").fraction("eps", 1e-5),
        mlp_width=_mlp_width(settings, width),
        projection=_PROJECTIONS[settings.text("proj_type", "linear"), settings.flag("proj_bias")],
    )
    text.check()  # before a name is made for each of its layers
    prefix = "text." if "text.token_embedding.weight" in arrays else ""
    return text, names.open_clip_text(prefix, layers, text.projection)


def _tokenizer(settings: Settings) -> tuple[str, str] | None:
    """Its kind and how it cleans texts; None for one that does more than that."""
    options = settings.part("tokenizer_kwargs")
    if options.text("clean", "lower") not in CLEANINGS:
        raise UnsupportedModel(name="clean", value=options.text("clean"))
    if options.names() - {"clean", "strip_sep_token"} or options.flag("strip_sep_token"):
        return None
    if "hf_tokenizer_name" in settings:
        return "file", options.text("clean", "whitespace")
    return ("open_clip", "") if options.text("clean", "lower") == "lower" else None


def _pooling(settings: Settings) -> tuple[str, int] | None:
    """With the id of the end token."""
    kind = settings.text("pool_type", "argmax")
    if kind == "last":
        return "last token", -1
    if kind == "eos":
        return "end token", settings.number("eos_id", 2)
    if kind == "argmax" and "hf_tokenizer_name" not in settings:  # the highest id is the end token's
        return "end token", -1
    return None


def _activation(model: Settings, settings: Settings) -> str | None:
    """Both towers' is QuickGELU, or the exact GELU unless a tower's own settings say otherwise."""
    options = settings.part("act_kwargs")
    if options.names() - {"approximate"}:
        return None
    if model.flag("quick_gelu"):
        return None if options.names() else "quick_gelu"
    return {"none": "gelu", "tanh": "gelu_tanh"}.get(options.text("approximate", "none"))


def _mlp_width(settings: Settings, width: int) -> int:
    return int(width * settings.fraction("mlp_ratio", 4.0))


def _roberta(settings: Settings, dimensions: int) -> tuple[TextConfig, Origins] | None:
    """XLM-RoBERTa and RoBERTa: the mean under the mask, and a linear layer or a small MLP."""
    shape = _ROBERTAS[settings.text("hf_model_name").removeprefix("FacebookAI/")]
    projection = settings.text("hf_proj_type", "mlp")
    tokenizer = _tokenizer(settings)
    is_mean = settings.text("hf_pooler_type", "mean_pooler") == "mean_pooler"
    if not is_mean or projection not in ("mlp", "linear") or tokenizer is None or tokenizer[0] != "file":
        return None
    length = min(settings.number("context_length", 77), _ROBERTA_POSITIONS - _ROBERTA_PADDING - 1)
    text = TextConfig(
        length,
        shape.vocabulary_size,
        shape.width,
        shape.heads,
        shape.layers,
        tokenizer="file",
        cleaning=tokenizer[1],
        pooling="mean",
        is_causal=False,
        activation="gelu",
        padding_token=_ROBERTA_PADDING,
        norms="after",
        norm_epsilon=1e-5,
        projection=projection,
    )
    origins = names.bert("text.transformer.", shape.layers, length, _ROBERTA_PADDING + 1)
    return text, origins | _roberta_projection(projection)


def _roberta_projection(projection: str) -> Origins:
    if projection == "linear":
        return {"text_projection": Origin("text.proj.weight", ("T",))}
    return {
        "text_projection.hidden": Origin("text.proj.0.weight", ("T",)),
        "text_projection": Origin("text.proj.2.weight", ("T",)),
    }


# --- pictures --------------------------------------------------------------------------------------------------------


def _image(model: Settings, preprocessing: Settings, dimensions: int) -> tuple[ImageConfig, Origins]:
    settings = model.part("vision_cfg")
    common = _preprocessing(settings, preprocessing)
    activation = _activation(model, settings)
    if "timm_model_name" in settings:
        siglip = _siglip(settings, common, dimensions)
        if siglip:
            return siglip
    elif isinstance(settings.raw("layers"), list):
        return _resnet(settings, common), {}
    elif activation and "multimodal_cfg" not in model and _is_plain(settings, _IMAGE_DEFAULTS):
        return _vit(settings, common, activation)
    return common._replace(library="open_clip"), {}


def _preprocessing(settings: Settings, preprocessing: Settings) -> ImageConfig:
    """The picture's way to the tower, and nothing of the tower."""
    modes = {"shortest": "crop", "squash": "squash"}
    mode = preprocessing.text("resize_mode", "shortest")
    if mode not in modes:
        raise UnsupportedModel(name="resize_mode", value=mode)
    interpolation = preprocessing.text("interpolation", "bicubic")
    return ImageConfig(
        side=settings.side("image_size", 224),
        patch_size=0,
        width=0,
        heads=0,
        layers=(0,),
        mean=preprocessing.three("mean", _MEAN),
        std=preprocessing.three("std", _STD),
        resize_mode=modes[mode],
        interpolation="bicubic" if interpolation == "random" else interpolation,
    )


def _vit(settings: Settings, common: ImageConfig, activation: str) -> tuple[ImageConfig, Origins]:
    width, layers = settings.number("width", 768), settings.number("layers", 12)
    head_width = settings.number("head_width", 64)
    image = common._replace(
        patch_size=settings.side("patch_size", 16),
        width=width,
        heads=width // head_width if head_width > 0 else 0,
        layers=(layers,),
        has_pre_norm=not settings.flag("no_ln_pre"),
        activation=activation,
        norm_epsilon=settings.part("norm_kwargs").fraction("eps", 1e-5),
        mlp_width=_mlp_width(settings, width),
    )
    image.check()
    return image, names.open_clip_image(layers, image.has_pre_norm)


def _resnet(settings: Settings, common: ImageConfig) -> ImageConfig:
    layers, width = settings.raw("layers"), settings.number("width", 64)
    if len(layers) != 4 or any(type(count) is not int for count in layers):
        raise UnsupportedModel(name="layers", value=layers)
    head_width = settings.number("head_width", 64)
    return common._replace(
        patch_size=32,
        width=width,
        heads=width * 32 // head_width if head_width > 0 else 0,
        layers=tuple(layers),
        pooling="attention",
        has_pre_norm=False,
    )


def _siglip(settings: Settings, common: ImageConfig, dimensions: int) -> tuple[ImageConfig, Origins] | None:
    """None for any other of timm's architectures."""
    name = settings.text("timm_model_name")
    match = _SIGLIP_NAME.fullmatch(name)
    if not match or settings.text("timm_pool", "avg") != "map" or settings.text("timm_proj", "linear") != "none":
        return None
    shape = _SIGLIP[match[1]]
    if shape.width != dimensions or int(match[3]) != common.side:
        return None
    image = common._replace(
        patch_size=int(match[2]),
        width=shape.width,
        heads=shape.heads,
        layers=(shape.layers,),
        pooling="attention",
        has_pre_norm=False,
        has_patch_bias=True,
        has_projection=False,
        activation="gelu" if name in _EXACT_GELU else "gelu_tanh",
        norm_epsilon=1e-6,
        mlp_width=shape.mlp_width,
    )
    return image, names.timm_image(shape.layers, shape.width)
