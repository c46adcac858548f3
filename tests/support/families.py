"""Small models of all families, with random weights, saved by the libraries that these come from."""

import json
import random
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

HALF = [0.5, 0.5, 0.5]
SIDE = 32


def randomize(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights that leave no array without effect: fresh models have biases of 0 and the like."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if parameter.ndim == 1 and name.endswith("weight"):  # a norm's
                parameter.add_(1)
    return model.eval()


# --- tokenizers ------------------------------------------------------------------------------------------------------

ALPHABETS = (string.ascii_lowercase, "àéîõüßñç", "абвгдежзиклмнопрст", "αβγδεζηθικλ", "あいうえおかきくけ", "กขคงจฉชซ")


def generated_text(lines: int, seed: int = 0) -> list[str]:
    """Words of some alphabets, some of which come often."""
    rng = random.Random(seed)
    words = [
        "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 9))) for alphabet in ALPHABETS for _ in range(80)
    ]
    common = ["a", "photo", "of", "the", "dog", "dogs", "cat", "red", "star", "on", "branch", "and", "in", "snow"]
    return [" ".join(rng.choice(common if rng.random() < 0.5 else words) for _ in range(12)) for _ in range(lines)]


def _trained(tokenizer: Any, trainer: Any) -> Any:
    tokenizer.train_from_iterator(generated_text(400), trainer)
    return tokenizer


def gemma_tokenizer(size: int = 900) -> Any:
    """Byte-pair encoding of whole texts with "▁" for spaces, bytes for unknown characters, and the end token last."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    _trained(
        trained, trainers.BpeTrainer(vocab_size=size, special_tokens=[*special, *byte_tokens], show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab=model["vocab"],
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.add_tokens([AddedToken("\n\n"), AddedToken("<b>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", tokenizer.token_to_id("<eos>"))]
    )
    return tokenizer


def xlm_roberta_tokenizer(size: int = 700) -> Any:
    """A unigram model after SentencePiece's normalization and splitting."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(_spaces(), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False)
    _trained(tokenizer, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _spaces() -> Any:
    from tokenizers import Regex

    return Regex(" {2,}")


def bert_tokenizer(size: int = 700, lowercase: bool = False) -> Any:
    """WordPiece."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def byte_tokenizer(size: int = 600) -> Any:
    """Byte-level, as RoBERTa's and GPT-2's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    _trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def awkward_texts(count: int) -> Iterator[str]:
    """Of the alphabets, of others, and of what no tokenizer expects."""
    rng = random.Random(4)
    odd = (  # noqa: SIM905 - a list would be a page
        "a photo of two dogs isn't cat's 12345 3.5 C++ #tag __init__ --- !!! naïve “quoted” Ã© ½ Ⅷ ſ İstanbul ΑΣ 東京 "
        "写真 사진 مرحبا नमस्ते ไทย กขค абв Ж 🐈 👩‍👩‍👧‍👦 🇯🇵 é ▁ ▁▁ <b> <eos> </s> <mask> [MASK] <unk> <0x41> &amp; "
        "&lt;b&gt; &amp;amp; \u00a0 \u200b \u3000 \u0301 \ufeff \x1c \x85 \t \n \n\n \x7f \x1b[31m ##s snowdog dogsnow"
    ).split(" ")
    words = [word for line in generated_text(20, seed=7) for word in line.split()]
    yield from ("", " ", "a", "a photo of dogs", "x" * 10_000, "снег " * 2_000)
    for _ in range(count):
        parts = (
            rng.choice(["", " ", " ", "  "]) + rng.choice(rng.choice([odd, words])) for _ in range(rng.randrange(25))
        )
        yield "".join(parts)


# --- OpenCLIP --------------------------------------------------------------------------------------------------------

OPEN_CLIP_TEXT = {"context_length": 20, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 2}
OPEN_CLIP_IMAGE = {"image_size": SIDE, "layers": 3, "width": 60, "head_width": 20, "patch_size": 8}


def open_clip_folder(
    folder: Path,
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    weights: str = "open_clip_model.safetensors",
) -> torch.nn.Module:
    """Saves a model as open_clip does, and returns it."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess_cfg or {})}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    definition = json.loads(json.dumps(config["model_cfg"]))
    is_custom = definition.pop("custom_text", False)
    kind = (
        open_clip.CoCa if "multimodal_cfg" in definition else open_clip.CustomTextCLIP if is_custom else open_clip.CLIP
    )
    model = randomize(kind(**definition))
    save(model.state_dict(), folder / weights)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    return model


def save(state_dict: Mapping[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in state_dict.items()}, path)
    else:
        torch.save(dict(state_dict), path)


# --- sentence-transformers -------------------------------------------------------------------------------------------


def text_model_folder(folder: Path, dimensions: int, kind: str = "distilbert", has_bias: bool = False) -> Any:
    """Saves a text model as `clip-ViT-B-32-multilingual-v1` is saved, and returns its transformer and linear layer."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    modules = [
        {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    sizes: dict[str, Any] = {"vocab_size": 700, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
    roberta: dict[str, Any] = {"max_position_embeddings": 130, "type_vocab_size": 1, "pad_token_id": 1}
    model: Any
    if kind == "distilbert":
        small = transformers.DistilBertConfig(vocab_size=700, dim=48, hidden_dim=96, n_layers=2, n_heads=4)
        model = transformers.DistilBertModel(small)
    elif kind == "bert":
        bert = transformers.BertConfig(num_attention_heads=4, **sizes)
        model = transformers.BertModel(bert, add_pooling_layer=False)
    else:
        xlm = transformers.XLMRobertaConfig(num_attention_heads=4, **sizes, **roberta)
        model = transformers.XLMRobertaModel(xlm, add_pooling_layer=False)
    randomize(model)
    model.save_pretrained(folder / "0_Transformer")
    tokenizer = xlm_roberta_tokenizer() if kind == "xlm-roberta" else bert_tokenizer()
    tokenizer.save(str(folder / "0_Transformer" / "tokenizer.json"))
    (folder / "0_Transformer" / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))
    for name, settings in {
        "1_Pooling": {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True},
        "2_Dense": {
            "in_features": 48,
            "out_features": dimensions,
            "bias": has_bias,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(settings))
    dense = torch.nn.Linear(48, dimensions, bias=has_bias)
    randomize(dense, seed=1)
    save(
        {f"linear.{name}": tensor for name, tensor in dense.state_dict().items()}, folder / "2_Dense/model.safetensors"
    )
    return model, dense, tokenizer
