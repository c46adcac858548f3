"""Text encoders of sentence-transformers that answer in a CLIP's own space: a BERT, the mean of its tokens, and a
linear layer to the length of that CLIP's vectors.

The one that people know is `clip-ViT-B-32-multilingual-v1`, whose space is that of OpenAI's ViT-B/32.
"""

import os
import re
from collections.abc import Mapping

import numpy as np

from rclip.errors import NoModelFolder, UnsupportedModel
from rclip.models.config import ImageConfig, ModelConfig, TextConfig
from rclip.models.families import names
from rclip.models.families.description import Description, Settings
from rclip.models.renamed import Origin, Origins

MODULES_FILE = "modules.json"
DENSE = "dense:"
"""Before the names of the arrays of the linear layer, which lie in a file of their own."""
_NO_TOWER = ImageConfig(1, 0, 0, 0, (0,), (0, 0, 0), (1, 1, 1), library="none")
"""Pictures are for the model in whose space the texts are."""
_KINDS = ("Transformer", "Pooling", "Dense")


def parts(folder: str) -> dict[str, str]:
    """The folders of the transformer, its pooling and its linear layer, by kind. Raises `NoModelFolder`."""
    path = os.path.join(folder, MODULES_FILE)
    modules = _read_list(path)
    found = {}
    for module in modules:
        kind = module.text("type").rpartition(".")[2]
        inner = module.text("path")
        if kind == "Normalize":  # which is done to every vector
            continue
        if kind not in _KINDS or kind in found or not re.fullmatch(r"[\w.-]*", inner, re.ASCII) or inner == "..":
            raise UnsupportedModel(name="modules", value=module.text("type"))
        found[kind] = os.path.join(folder, inner) if inner else folder
    if set(found) != set(_KINDS):
        raise NoModelFolder(path=path, reason="it has no transformer, pooling and linear layer")
    return found


def _read_list(path: str) -> list[Settings]:
    import json

    try:
        with open(path, "rb") as file:
            modules = json.loads(file.read(1 << 16))
    except (OSError, ValueError, RecursionError) as error:
        raise NoModelFolder(path=path, reason="it is no list of modules") from error
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise NoModelFolder(path=path, reason="it is no list of modules")
    return [Settings(module, path) for module in modules]


def describe(folder: str, arrays: Mapping[str, np.ndarray]) -> Description:
    """Raises `ModelError`."""
    where = parts(folder)
    pooling = Settings.read(os.path.join(where["Pooling"], "config.json"))
    if not pooling.flag("pooling_mode_mean_tokens") and pooling.text("pooling_mode") != "mean":
        raise UnsupportedModel(name="pooling", value="not the mean")
    dense = Settings.read(os.path.join(where["Dense"], "config.json"))
    activation = dense.text("activation_function", "torch.nn.modules.activation.Tanh")
    if activation.rpartition(".")[2] != "Identity":
        raise UnsupportedModel(name="activation_function", value=activation)
    settings = Settings.read(os.path.join(where["Transformer"], "config.json"))
    if "auto_map" in settings:
        raise UnsupportedModel(name="auto_map", value="code of its own")
    text, origins = _transformer(settings, _context_length(where["Transformer"], settings), set(arrays))
    has_bias = dense.flag("bias", True)
    text = text._replace(projection="biased" if has_bias else "linear")
    origins["text_projection"] = Origin(f"{DENSE}linear.weight", ("T",))
    if has_bias:
        origins["text_projection.bias"] = Origin(f"{DENSE}linear.bias")
    config = ModelConfig(dense.number("out_features"), text, _NO_TOWER).checked()
    return Description(config, origins, "tokenizer.json", _lowercases(where["Transformer"]))


def _context_length(folder: str, settings: Settings) -> int:
    longest = settings.number("max_position_embeddings", 512)
    path = os.path.join(folder, "sentence_bert_config.json")
    asked = Settings.read(path).number("max_seq_length", longest) if os.path.exists(path) else longest
    return min(asked, longest)


def _lowercases(folder: str) -> bool:
    path = os.path.join(folder, "sentence_bert_config.json")
    return os.path.exists(path) and Settings.read(path).flag("do_lower_case")


def _transformer(settings: Settings, context_length: int, arrays: set[str]) -> tuple[TextConfig, Origins]:
    family = settings.text("model_type")
    if settings.text("activation" if family == "distilbert" else "hidden_act", "gelu") != "gelu":
        raise UnsupportedModel(name="activation", value=settings.raw("activation") or settings.raw("hidden_act"))
    if family == "distilbert":
        return _distilbert(settings, context_length, "distilbert." if _has(arrays, "distilbert.") else "")
    if family in ("bert", "xlm-roberta", "roberta"):
        return _bert(settings, context_length, family, arrays)
    raise UnsupportedModel(name="model_type", value=family)


def _has(arrays: set[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in arrays)


_MEAN_OF_ALL = {"tokenizer": "file", "pooling": "mean", "is_causal": False, "activation": "gelu", "norms": "after"}


def _distilbert(settings: Settings, context_length: int, prefix: str) -> tuple[TextConfig, Origins]:
    layers = settings.number("n_layers", 6)
    text = TextConfig(
        context_length,
        settings.number("vocab_size", 30522),
        settings.number("dim", 768),
        settings.number("n_heads", 12),
        layers,
        norm_epsilon=1e-12,
        mlp_width=settings.number("hidden_dim", 3072),
        padding_token=settings.number("pad_token_id", 0),
        **_MEAN_OF_ALL,  # type: ignore[arg-type]
    )
    text.check()  # before a name is made for each of its layers
    return text, names.distilbert(prefix, layers, context_length)


def _bert(settings: Settings, context_length: int, family: str, arrays: set[str]) -> tuple[TextConfig, Origins]:
    layers = settings.number("num_hidden_layers", 12)
    is_roberta = family != "bert"
    padding = settings.number("pad_token_id", 1 if is_roberta else 0)
    first = padding + 1 if is_roberta else 0
    context_length = min(context_length, settings.number("max_position_embeddings", 512) - first)
    text = TextConfig(
        context_length,
        settings.number("vocab_size", 30522),
        settings.number("hidden_size", 768),
        settings.number("num_attention_heads", 12),
        layers,
        norm_epsilon=settings.fraction("layer_norm_eps", 1e-12),
        mlp_width=settings.number("intermediate_size", 3072),
        padding_token=padding,
        **_MEAN_OF_ALL,  # type: ignore[arg-type]
    )
    text.check()
    prefix = next((prefix for prefix in ("bert.", "roberta.") if _has(arrays, prefix)), "")
    return text, names.bert(prefix, layers, context_length, first)
