"""Queries in any language beside plain ones: whole processes, in turns, each with a text never asked before.

    .venv/bin/python benchmarks/language.py --quick
    .venv/bin/python benchmarks/language.py --runs 11

The text model has the shape of the one that `--language any` fetches, a DistilBERT of 119,547 tokens, with random
weights and made-up tokens. "ratio" is of the processor time.
"""

import json
import shutil
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from common import (
    QUERY,
    Ours,
    Run,
    draw_photos,
    emptied,
    in_turns,
    keep,
    parse,
    parser,
    prepared,
    print_cases,
    print_head,
    say,
    summary,
    timed_run,
)
from models import letters, made_up, tokenizer_json

TOKENS = 119_547
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_MODULES = {"Transformer": "0_Transformer", "Pooling": "1_Pooling", "Dense": "2_Dense"}


def write_text_model(folder: Path, dimensions: int, tokens: int, layers: int) -> None:
    """As sentence-transformers saves it, for a model with vectors of this length."""
    import torch
    from safetensors.torch import save_file
    from transformers import DistilBertConfig, DistilBertModel

    say(f"writing a text model with random weights: {folder}")
    folder.mkdir(parents=True)
    modules = [{"path": path, "type": f"sentence_transformers.models.{name}"} for name, path in _MODULES.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    transformer, pooling, dense = (folder / path for path in _MODULES.values())
    DistilBertModel(DistilBertConfig(vocab_size=tokens, n_layers=layers)).save_pretrained(transformer)
    (transformer / "tokenizer.json").write_text(json.dumps(wordpiece(tokens)))
    (transformer / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))
    pooling.mkdir()
    mean = {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": True}
    (pooling / "config.json").write_text(json.dumps(mean))
    dense.mkdir()
    identity = "torch.nn.modules.linear.Identity"
    linear = {"in_features": 768, "out_features": dimensions, "bias": False, "activation_function": identity}
    (dense / "config.json").write_text(json.dumps(linear))
    save_file({"linear.weight": 0.02 * torch.randn(dimensions, 768)}, dense / "model.safetensors")


def wordpiece(count: int) -> dict[str, Any]:
    vocab = {token: number for number, token in enumerate([*_SPECIAL, *letters(), *(f"##{c}" for c in letters())])}
    for _ in made_up(count, vocab):
        pass
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocab,
    }
    cased = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": False}
    made = tokenizer_json(model, [0, 1, 2, 3, 4], _SPECIAL, {"type": "BertNormalizer", **cased}, 3)
    made["post_processor"]["single"].insert(0, {"SpecialToken": {"id": "[CLS]", "type_id": 0}})
    made["post_processor"]["special_tokens"]["[CLS]"] = {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}
    return made | {"pre_tokenizer": {"type": "BertPreTokenizer"}}


def measure(ours: Ours, options: Any) -> dict[str, list[Run]]:
    folder = emptied(options.scratch / "language")
    text_model, photos, data_dir = folder / "text", folder / "photos", folder / "data"
    draw_photos(photos, 320, 240, 4)
    ours.new_data_dir(data_dir)
    with ours.open(data_dir, photos) as opened:
        dimensions = opened._model.config.dimensions
    write_text_model(text_model, dimensions, options.tokens, options.layers)
    any_language = ("--language", str(text_model))
    numbers = iter(range(10**6))

    def ask(*arguments: str) -> Run:
        return timed_run(ours, data_dir, photos, ("-n", *arguments, f"{QUERY}, number {next(numbers)}"))

    timed_run(ours, data_dir, photos, ("--index",))
    ask(*any_language)  # it prepares what it does once
    found = in_turns({"plain": ask, "any language": partial(ask, *any_language)}, options.runs, "query")
    shutil.rmtree(folder)
    return found


def main() -> None:
    made = parser(__doc__, runs=11)
    made.add_argument("--tokens", type=int, default=TOKENS, help=f"of the text model ({TOKENS})")
    made.add_argument("--layers", type=int, default=6, help="of the text model (6)")
    options = parse(made, {"tokens": 7000, "layers": 1})
    ours = prepared(options)
    metadata = print_head([ours])
    found = measure(ours, options)
    results = [{"case": f"query, {name}", "n": 4, **summary(runs)} for name, runs in found.items()]
    print_cases(results)
    pairs = zip(found["any language"], found["plain"], strict=True)
    ratios = sorted(other.cpu_seconds / plain.cpu_seconds for other, plain in pairs)
    print(f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    keep(options.json, {**metadata, "results": results, "ratios": ratios})


if __name__ == "__main__":
    main()
