"""The models that are recommended, with what is published of them, and what of all models is on this machine."""

import os
import re
from typing import NamedTuple

from rclip.models import model_files, registry


class Recommended(NamedTuple):
    """A model that is recommended. The sources of the figures are in docs/models.md."""

    alias: str
    megabytes: int
    """Of its weights, as they are fetched."""
    dimensions: int
    languages: str
    imagenet: float
    """Zero-shot accuracy, in percent."""
    coco: float
    """How often the right picture is found first for its caption, in percent."""
    licence: str

    @property
    def name(self) -> str:
        return registry.ALIASES[self.alias]


RECOMMENDED = (
    Recommended("vit-b-32", 354, 512, "English", 63.3, 30.4, "MIT"),
    Recommended("datacomp-b32", 605, 512, "English", 72.8, 39.9, "MIT"),
    Recommended("siglip2-b32", 1507, 768, "many", 74.0, 47.2, "Apache-2.0"),
    Recommended("siglip2-b16", 1501, 768, "many", 79.1, 53.2, "Apache-2.0"),
    Recommended("siglip2-l16", 3526, 1024, "many", 82.5, 54.7, "Apache-2.0"),
    Recommended("xlmr-b32", 1464, 512, "many", 62.4, 37.8, "MIT"),
    Recommended("mobileclip2-s0", 299, 512, "English", 71.5, 43.7, "research only"),
)


class ModelState(NamedTuple):
    """A model on this machine, or one that could be."""

    label: str
    """As in the names of its files."""
    is_here: bool
    """Whether its weights are ready for use, or at least fetched."""
    has_index: bool


def state_of(name: str, data_dir: str, index_folder: str) -> ModelState:
    """Of a model by its name; `index_folder` is where indexes of the folder in question lie."""
    source = registry.find(name)
    is_fetched = bool(source.path) and os.path.exists(source.path)
    is_here = is_fetched or model_files.has_any(source, data_dir)
    return ModelState(source.label, is_here, _has_index(source.label, index_folder))


def others(data_dir: str, index_folder: str) -> list[ModelState]:
    """All models on this machine that are not among those recommended."""
    known = {registry.find(each.name).label for each in RECOMMENDED}
    labels = {_without_path(name) for name in _listed(os.path.join(data_dir, "models"))}
    left = sorted(label for label in labels - known if not label.startswith("text-"))
    return [ModelState(label, True, _has_index(label, index_folder)) for label in left]


def _without_path(folder: str) -> str:
    """The label in the name of a folder, which ends with a checksum where the model has a path."""
    return re.sub(r"-[0-9a-f]{8}$", "", folder)


def _has_index(label: str, folder: str) -> bool:
    pattern = re.compile(re.escape(label) + r"(-[0-9a-f]{12})?\.db")
    return any(pattern.fullmatch(name) for name in _listed(folder))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
