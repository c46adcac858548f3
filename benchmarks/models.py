"""What the recommended models cost: photos a second, seconds of a cold query, megabytes; and whether they are right.

    .venv/bin/python benchmarks/models.py --quick
    .venv/bin/python benchmarks/models.py --models datacomp-b32 siglip2-b32

Each model has the shape of the published one and random weights, and a tokenizer of the published kind and size with
made-up tokens: nothing is downloaded, and times do not depend on training. It is written as its library would write it,
into a folder that rclip is given. "query" is the command itself with words that it has not seen, "repeated" with the
same words again; "parity" is the smallest cosine between rclip's vectors of random pictures and open_clip's in float32.
"""

import json
import random
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, draw_photos, environment, keep, machine, parse, parser, print_table, say

ALIASES = ["vit-b-32", "datacomp-b32", "siglip2-b32", "siglip2-b16", "siglip2-l16", "xlmr-b32", "mobileclip2-s0"]
PICTURES = 256
_TOKENS = {"siglip": 256_000, "xlm": 250_002}


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--models", nargs="+", default=ALIASES, choices=ALIASES, metavar="ALIAS", help=", ".join(ALIASES))
    made.add_argument("--pictures", type=int, default=PICTURES, help="encoded for photos a second")
    made.add_argument("--device", default="cpu", help="that encodes pictures: cpu, cuda")
    options = parse(made, {"models": ["tiny"], "pictures": 32, "runs": 2})
    results = [measure(alias, options) for alias in options.models]
    columns = ("photos/s", "query s", "repeated s", "MB", "parity text", "parity pictures")
    lines = [("model", *columns)]
    lines += [(each["model"], *(f"{each[column]:.{_digits(column)}f}" for column in columns)) for each in results]
    print_table(lines)
    keep(options.json, {"machine": machine(), "results": results})


def _digits(column: str) -> int:
    return {"photos/s": 1, "MB": 0, "parity text": 6, "parity pictures": 6}.get(column, 3)


def measure(alias: str, options: Any) -> dict[str, Any]:
    scratch = options.scratch / "families"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        say(f"writing {alias} with random weights")
        folder = Path(options.model) if alias == "tiny" else write_model(alias, scratch / alias)
        draw_photos(scratch / "photos", 640, 480, 4)
        data_dir = scratch / "data"
        _rclip(folder, data_dir, scratch / "photos", "--index")
        words = [f"a red kite over number {number} of some hills" for number in range(options.runs)]
        queries = [_rclip(folder, data_dir, scratch / "photos", "-n", text) for text in words]
        repeated = [_rclip(folder, data_dir, scratch / "photos", "-n", text) for text in words]
        text, pictures = (1.0, 1.0) if alias == "tiny" else parity(folder, data_dir)
        return {
            "model": alias,
            "photos/s": photos_per_s(folder, data_dir, options.pictures, options.device),
            "query s": sorted(queries)[len(queries) // 2],
            "repeated s": sorted(repeated)[len(repeated) // 2],
            "MB": sum(path.stat().st_size for path in _files(folder)) / 1e6,
            "parity text": text,
            "parity pictures": pictures,
        }
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in [folder, *folder.rglob("*")] if path.is_file())


def _rclip(model: Path, data_dir: Path, photos: Path, *arguments: str) -> float:
    """Seconds."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(model), *arguments]
    started = time.perf_counter()
    subprocess.run(command, cwd=photos, env=environment(data_dir), check=True, capture_output=True)
    return time.perf_counter() - started


def photos_per_s(model: Path, data_dir: Path, count: int, device: str) -> float:
    """Of pixels that are ready, as indexing has them encoded, the start of torch left out; in a process of its own."""
    script = str(HERE / "models.py")
    command = [sys.executable, script, "--encode", str(model), str(data_dir), str(count), device]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def encode(model_name: str, data_dir: str, count: str, device: str) -> None:
    from rclip.models import Model

    model = Model(model_name, data_dir, say)
    side = model.resolution
    with model.image_encoder(device) as encoder:
        batch = encoder.batch_size
        pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
        for _ in range(3 * encoder.parallel):  # until what starts has started
            encoder.submit(pixels, left=100_000).result()
        pixels = np.random.default_rng(0).integers(0, 256, (encoder.batch_size, side, side, 3), np.uint8)
        started, waiting, done = time.perf_counter(), [], 0
        while done < int(count):
            waiting.append(encoder.submit(pixels, left=100_000))
            done += len(pixels)
            if len(waiting) >= encoder.parallel:
                waiting.pop(0).result()
        for future in waiting:
            future.result()
        print(done / (time.perf_counter() - started))


# --- the models ------------------------------------------------------------------------------------------------------


def write_model(alias: str, folder: Path) -> Path:
    """The path that `rclip --model` takes."""
    import torch

    torch.manual_seed(0)
    if alias == "vit-b-32":
        path = folder.with_suffix(".pt")
        subprocess.run([sys.executable, str(HERE / "random_models.py"), "checkpoint", str(path)], check=True)
        return path
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config, model = build(alias, folder)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    siglip = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"} if "siglip" in alias else {}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": siglip}))
    if "siglip" in alias:
        (folder / "tokenizer.json").write_text(json.dumps(gemma_like(_TOKENS["siglip"])))
    elif "xlmr" in alias:
        (folder / "tokenizer.json").write_text(json.dumps(unigram(_TOKENS["xlm"])))
    return folder


def build(alias: str, folder: Path) -> tuple[dict[str, Any], Any]:
    """open_clip's configuration of the model, and its own module with random weights."""
    import open_clip
    import torch

    from rclip.models.registry import ALIASES as NAMES

    config = open_clip.get_model_config(NAMES[alias].split(":")[0])
    definition = json.loads(json.dumps(config))
    is_custom = definition.pop("custom_text", False) or "hf_model_name" in definition["text_cfg"]
    if "hf_model_name" in definition["text_cfg"]:  # else it would be fetched
        from transformers import XLMRobertaConfig

        local = folder.with_name("xlm-roberta-base")
        XLMRobertaConfig(vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1).save_pretrained(local)
        definition["text_cfg"] |= {"hf_model_name": str(local), "hf_model_pretrained": False}
    model = (open_clip.CustomTextCLIP if is_custom else open_clip.CLIP)(**definition)
    with torch.no_grad():
        for parameter in model.parameters():  # fresh ones have many arrays of zeros
            if parameter.ndim == 1 and parameter.abs().max() == 0:
                parameter.normal_(0, 0.1)
    return config, model.eval()


def parity(folder: Path, data_dir: Path) -> tuple[float, float]:
    """The smallest cosine of texts in float32, and of pictures as they are indexed, in bf16 where the CPU has it."""
    import torch

    from rclip.models import Model

    if folder.is_file():
        return _parity_with_clip(folder, data_dir)
    _, theirs = build(folder.name, folder)
    from safetensors.torch import load_file

    theirs.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    model = Model(str(folder), str(data_dir), say)
    texts = ["a red kite", "two dogs in the snow", "a"]
    tokenizer, _ = model._text()
    length, padding = model.config.text.context_length, model.config.text.padding_token
    rows = [[*ids, *[padding] * (length - len(ids))] for ids, _ in tokenizer.encode_all(texts)]
    return _compare(model, texts, lambda: theirs.encode_text(torch.tensor(rows)), theirs.encode_image)


def _parity_with_clip(path: Path, data_dir: Path) -> tuple[float, float]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clip

        theirs, _ = clip.load(str(path), "cpu")
    from rclip.models import Model

    texts = ["a red kite", "two dogs in the snow", "a"]
    model = Model(str(path), str(data_dir), say)
    return _compare(model, texts, lambda: theirs.encode_text(clip.tokenize(texts)), theirs.encode_image)


def _compare(model: Any, texts: list[str], encode_texts: Any, encode_image: Any) -> tuple[float, float]:
    import torch

    from rclip.models import model_files
    from rclip.models.torch_encoder import TorchEncoder

    image = model.config.image
    pixels = np.random.default_rng(1).integers(0, 256, (4, image.side, image.side, 3), np.uint8)
    normal = (torch.tensor(pixels).float() / 255 - torch.tensor(image.mean)) / torch.tensor(image.std)
    with torch.inference_mode():
        expected_texts = encode_texts().numpy()
        expected = encode_image(normal.permute(0, 3, 1, 2)).numpy()
    vectors, _ = model.encode_texts(texts)
    found = TorchEncoder(model._open(model_files.IMAGE), model.config, "cpu", None)(pixels)
    return _cosine(vectors, expected_texts), _cosine(found, expected)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    products = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(products.min())


# --- tokenizers of their size ----------------------------------------------------------------------------------------


def made_up(count: int, tokens: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Adds words, each of two that are there, until there are so many tokens."""
    rng = random.Random(0)
    pieces = [token for token in tokens if len(token) == 1]
    while len(tokens) < count:
        left, right = rng.choice(pieces), rng.choice(pieces[:200])
        if len(left + right) <= 14 and left + right not in tokens:
            tokens[left + right] = len(tokens)
            pieces.append(left + right)
            yield left, right


def letters() -> list[str]:
    return [*string.ascii_lowercase, "▁", *map(chr, range(0x4E00, 0x4E00 + 3000))]


def gemma_like(count: int) -> dict[str, Any]:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {token: number for number, token in enumerate([*special, *letters()])}
    merges = [list(pair) for pair in made_up(count, vocab)]
    model = {
        "type": "BPE",
        "vocab": vocab,
        "merges": merges,
        "unk_token": "<unk>",
        "byte_fallback": True,
        "fuse_unk": True,
    }
    return tokenizer_json(
        model, [0, 1, 2, 3], special, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, 1
    )


def unigram(count: int) -> dict[str, Any]:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocab = {token: number for number, token in enumerate([*special, *letters()])}
    for _ in made_up(count, vocab):
        pass
    scored = [[token, 0.0 if number < 4 else -8 - number / 1e5] for token, number in vocab.items()]
    made = tokenizer_json({"type": "Unigram", "vocab": scored, "unk_id": 3}, [0, 1, 2, 3], special, {"type": "NFKC"}, 2)
    return made | {
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    }


def tokenizer_json(
    model: dict[str, Any], ids: list[int], special: list[str], normalizer: Any, end: int
) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    last = {"SpecialToken": {"id": special[end], "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, last],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {special[end]: {"id": special[end], "ids": [end], "tokens": [special[end]]}},
    }
    return {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": special[number], **flags} for number in ids],
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "post_processor": template,
        "decoder": None,
        "model": model,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--encode"]:
        encode(*sys.argv[2:])
    else:
        main()
