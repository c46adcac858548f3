"""What a folder says of its model: the configuration, and where the arrays are that the towers want."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rclip.errors import NoModelFolder, UnsupportedModel, plain_reason
from rclip.models.config import ModelConfig
from rclip.models.openai_layout import shapes
from rclip.models.renamed import Origins, Renamed

Arrays = Mapping[str, np.ndarray]

_MAX_JSON_BYTES = 4 << 20
_IGNORED = ("logit_scale", "logit_bias", "position_ids", "attn_mask", "num_batches_tracked", "token_type_ids")
"""Ends of the names of arrays that no vector depends on."""


class Description(NamedTuple):
    """A model as its folder describes it."""

    config: ModelConfig
    origins: Origins
    """By the towers' names for them."""
    tokenizer_file: str | None = None
    """The name of a file that `tokenizers` reads, where the tokenizer is not CLIP's."""
    lowercases: bool = False
    """Whether the tokenizer is to make texts lower case, which its file does not say."""
    definition: str = ""
    """In JSON, what `open_clip` builds the towers from that only it can run."""


def require_fit(arrays: Arrays, described: Description) -> None:
    """Raises ValueError when an array is missing, is one that nothing needs, or has another shape than configured."""
    config, origins = described.config, described.origins
    renamed = Renamed(arrays, origins)
    wanted = shapes(config)
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in wanted.items():
        names = [name] if name in origins else [name.replace(".in_proj_", f".{part}_proj.") for part in "qkv"]
        parts = [_shape(renamed, part) for part in names]
        found[name] = (sum(part[0] for part in parts), *parts[0][1:]) if all(parts) else ()
        if found[name] != shape:
            raise ValueError(f"{name} is {_spelled(found[name])}, and must be {_spelled(shape)}")
    _require_no_others(arrays, described)


def _shape(arrays: Arrays, name: str) -> tuple[int, ...]:
    try:
        return arrays[name].shape
    except (KeyError, IndexError, ValueError):
        return ()


def _spelled(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "missing"


def _require_no_others(arrays: Arrays, described: Description) -> None:
    if "open_clip" in (described.config.text.library, described.config.image.library):
        return  # the library looks itself
    used = {source for source, _ in described.origins.values()}
    others = [name for name in arrays if name not in used and not name.endswith(_IGNORED)]
    if others:
        raise ValueError(f"{min(others)} is none of the configured model's")


# --- JSON ------------------------------------------------------------------------------------------------------------


class Settings:
    """An object of a JSON file, each of whose values must be of the type that is asked for."""

    def __init__(self, values: Mapping[str, Any], path: str):
        self._values = values
        self.path = path

    @classmethod
    def read(cls, path: str) -> "Settings":
        """Raises `NoModelFolder`."""
        try:
            with open(path, "rb") as file:
                content = file.read(_MAX_JSON_BYTES + 1)
            values = json.loads(content) if len(content) <= _MAX_JSON_BYTES else None
        except (OSError, ValueError, RecursionError) as error:
            raise NoModelFolder(path=path, reason=_plain(error)) from error
        if not isinstance(values, dict):
            raise NoModelFolder(path=path, reason="it is no JSON object of a model")
        return cls(values, path)

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def part(self, name: str) -> "Settings":
        """An object in it; empty where there is none."""
        value = self._values.get(name) or {}
        if not isinstance(value, dict):
            raise UnsupportedModel(name=name, value=_short(value))
        return Settings(value, self.path)

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number, which must be there where it has no default."""
        value = self._values.get(name)
        value = default if value is None else value
        if type(value) is not int:
            raise UnsupportedModel(name=name, value=_short(value))
        return value

    def fraction(self, name: str, default: float) -> float:
        value = self._values.get(name)
        value = default if value is None else value
        if type(value) not in (int, float):
            raise UnsupportedModel(name=name, value=_short(value))
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name)
        value = default if value is None else value
        if not isinstance(value, str):
            raise UnsupportedModel(name=name, value=_short(value))
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._values.get(name)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise UnsupportedModel(name=name, value=_short(value))
        return value

    def side(self, name: str, default: int | None = None) -> int:
        """Of a square, which may be given as one number or as two."""
        value = self._values.get(name)
        if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        return Settings({name: value}, self.path).number(name, default)

    def three(self, name: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
        """A number for each of red, green and blue, or one for all."""
        value = self._values.get(name)
        if value is None:
            return default
        numbers = list(value) if isinstance(value, list) else [value] * 3
        if len(numbers) != 3 or any(type(number) not in (int, float) for number in numbers):
            raise UnsupportedModel(name=name, value=_short(value))
        return float(numbers[0]), float(numbers[1]), float(numbers[2])

    def raw(self, name: str) -> Any:
        return self._values.get(name)

    def names(self) -> set[str]:
        """Of what it has a value for."""
        return {name for name, value in self._values.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        return dict(self._values)


def _short(value: object) -> object:
    text = repr(value)
    return value if len(text) <= 60 else f"{text[:60]}…"


def _plain(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else plain_reason(error)
