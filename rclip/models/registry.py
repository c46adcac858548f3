"""OpenAI's checkpoints: their names, their digests, and where they lie on this machine.

Weights are kept where OpenAI's own package keeps them, so that a download made by either serves both.
"""

import os
import re
from typing import NamedTuple

from rclip.errors import SimilarModel, UnknownModel

_OPENAI = "https://openaipublic.azureedge.net/clip/models"
_SHA256 = {
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B/32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B/16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L/14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "ViT-L/14@336px": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
}
DEFAULT = "ViT-B/32"
NAMES = tuple(_SHA256)


class Checkpoint(NamedTuple):
    """A file that `clip.load` takes; one of OpenAI's need not be on this machine yet."""

    name: str
    """As the user says it: one of `NAMES`, or a path."""
    path: str
    sha256: str | None
    """What OpenAI's file must have; None for a file of the user's own."""

    @property
    def label(self) -> str:
        """For file names: ViT-B-32, or the stem of the user's file."""
        stem = self.name if self.sha256 else os.path.splitext(os.path.basename(self.path))[0]
        return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII)

    @property
    def url(self) -> str:
        """Where to fetch it; `RCLIP_WEIGHTS_URL` names another server than OpenAI's with the same folders."""
        base = os.environ.get("RCLIP_WEIGHTS_URL") or _OPENAI
        return f"{base.rstrip('/')}/{self.sha256}/{os.path.basename(self.path)}"


def find(model: str) -> Checkpoint:
    """The checkpoint of this name or path. Raises `UnknownModel` for one that is neither."""
    if model in _SHA256:
        file_name = model.replace("/", "-").replace("@", "-") + ".pt"
        return Checkpoint(model, os.path.join(os.path.expanduser("~/.cache/clip"), file_name), _SHA256[model])
    path = os.path.abspath(os.path.expanduser(model))
    if os.path.isfile(path):
        return Checkpoint(model, path, None)
    nearest, names = _nearest(model), ", ".join(NAMES)
    if nearest:
        raise SimilarModel(model=model, names=names, nearest=nearest)
    raise UnknownModel(model=model, names=names)


def _nearest(model: str) -> str | None:
    """The name that may have been meant, such as ViT-L/14 by `vit-l14`; none for what is plainly a path."""
    if model.startswith((".", "/", "~")):
        return None
    from difflib import get_close_matches

    names = {_plain(name): name for name in NAMES}
    found = get_close_matches(_plain(model), names, n=1, cutoff=0.8)
    return names[found[0]] if found else None


def _plain(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
