"""What models are called, and where they lie: OpenAI's checkpoints, files and folders of the user's, and repositories.

OpenAI's weights are kept where OpenAI's own package keeps them, so that a download made by either serves both.
"""

import os
import re
from typing import NamedTuple, NoReturn

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


ALIASES = {
    "vit-b-32": "ViT-B/32",
    "datacomp-b32": "ViT-B-32-256:datacomp_s34b_b86k",
    "siglip2-b32": "ViT-B-32-SigLIP2-256:webli",
    "siglip2-b16": "ViT-B-16-SigLIP2-256:webli",
    "siglip2-l16": "ViT-L-16-SigLIP2-256:webli",
    "xlmr-b32": "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k",
    "mobileclip2-s0": "MobileCLIP2-S0:dfndr2b",
}
"""Short names of the models that are recommended."""

REPOSITORIES = {
    "ViT-B-32-256:datacomp_s34b_b86k": "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
    "ViT-B-32-SigLIP2-256:webli": "timm/ViT-B-32-SigLIP2-256",
    "ViT-B-16-SigLIP2-256:webli": "timm/ViT-B-16-SigLIP2-256",
    "ViT-L-16-SigLIP2-256:webli": "timm/ViT-L-16-SigLIP2-256",
    "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k": "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",
    "MobileCLIP2-S0:dfndr2b": "timm/MobileCLIP2-S0-OpenCLIP",
}
"""Where open_clip has them; of all others it is asked itself."""


def _for_file_names(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII)


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
        return _for_file_names(stem)

    @property
    def url(self) -> str:
        """Where to fetch it; `RCLIP_WEIGHTS_URL` names another server than OpenAI's with the same folders."""
        base = os.environ.get("RCLIP_WEIGHTS_URL") or _OPENAI
        return f"{base.rstrip('/')}/{self.sha256}/{os.path.basename(self.path)}"


class ModelFolder(NamedTuple):
    """A model as its own library keeps it: a folder on this machine, or a repository of the Hugging Face hub."""

    name: str
    """As the user says it."""
    path: str = ""
    """Of the folder; empty for a repository."""
    repository: str = ""
    """`ORG/NAME`"""
    architecture: str = ""
    """Of OpenCLIP, with the tag of its weights, where that is how the user names the model."""
    tag: str = ""

    @property
    def sha256(self) -> None:
        """As a `Checkpoint` of the user's own."""

    @property
    def label(self) -> str:
        """For file names."""
        stem = os.path.basename(self.path.rstrip("/")) or f"{self.architecture}-{self.tag}".strip("-")
        return _for_file_names(stem or self.repository)


class TextModel(NamedTuple):
    """A text model that answers in the space of another model, as sentence-transformers keeps it."""

    name: str
    path: str = ""
    """Of the folder; empty for the one that `MULTILINGUAL` is fetched from."""

    @property
    def sha256(self) -> None:
        """As a `Checkpoint` of the user's own."""

    @property
    def label(self) -> str:
        return "text-" + _for_file_names(os.path.basename(self.path.rstrip("/")) or MULTILINGUAL.split("/")[1])


MULTILINGUAL = "sentence-transformers/clip-ViT-B-32-multilingual-v1"
"""Fifty languages in the space of OpenAI's ViT-B/32."""

_SAME_SPACE = {"ViT-B/32", "ViT-B-32:openai", "ViT-B-32-quickgelu:openai", "openai/clip-vit-base-patch32"}


def find_text_model(language: str) -> TextModel:
    """The one for any language, or a folder of the user's."""
    path = "" if language == "any" else os.path.abspath(os.path.expanduser(language))
    return TextModel(language, path)


def may_answer_for(text_model: TextModel, model: "Checkpoint | ModelFolder") -> bool:
    """Whether it may be for the space of this model: what is the user's own is what the user says it is."""
    return bool(text_model.path or model.name.removeprefix(_HUB) in _SAME_SPACE or (model.path and not model.sha256))


def find(model: str) -> Checkpoint | ModelFolder:
    """What has this name or path. Raises `UnknownModel` for nothing that can be meant by it."""
    name = ALIASES.get(model, model)
    if name in _SHA256:
        file_name = name.replace("/", "-").replace("@", "-") + ".pt"
        return Checkpoint(name, os.path.join(os.path.expanduser("~/.cache/clip"), file_name), _SHA256[name])
    path = os.path.abspath(os.path.expanduser(name))
    if os.path.isfile(path):
        return Checkpoint(name, path, None)
    if name and os.path.isdir(path):
        return ModelFolder(name, path)
    return _remote(name) or _raise_unknown(name)


_HUB = "hf-hub:"
_REPOSITORY = r"\w[\w.-]*/[\w.-]+"
_ARCHITECTURE = r"(\w[\w.-]*):([\w.-]+)"
_ENDINGS = (".pt", ".pth", ".bin", ".safetensors")
_LIKE_OPENAIS = r"(?ia)(?:vit|rn|resnet)[-\d]"
"""How OpenAI's names begin. Nobody on the hub is called so, and a name that is mistyped asks nobody."""


def _remote(name: str) -> ModelFolder | None:
    """A repository of the hub; not a path that is mistyped, nor one of OpenAI's names."""
    plain = name.removeprefix(_HUB)
    if match := re.fullmatch(_ARCHITECTURE, name, re.ASCII):
        return ModelFolder(name, repository=REPOSITORIES.get(name, ""), architecture=match[1], tag=match[2])
    if not re.fullmatch(_REPOSITORY, plain, re.ASCII) or plain.endswith(_ENDINGS):
        return None
    is_mistyped = os.path.isdir(plain.split("/")[0]) or re.match(_LIKE_OPENAIS, plain) or _nearest(name)
    if is_mistyped and not name.startswith(_HUB):
        return None
    return ModelFolder(name, repository=plain)


def _raise_unknown(model: str) -> NoReturn:
    nearest, names = _nearest(model), ", ".join(NAMES)
    if nearest:
        raise SimilarModel(model=model, names=names, nearest=nearest)
    raise UnknownModel(model=model, names=names)


def _nearest(model: str) -> str | None:
    """The name that may have been meant, such as ViT-L/14 by `vit-l14`; none for what is plainly a path."""
    if model.startswith((".", "/", "~")):
        return None
    from difflib import get_close_matches

    names = {_plain(name): name for name in (*ALIASES, *NAMES)}
    found = get_close_matches(_plain(model), names, n=1, cutoff=0.8)
    return names[found[0]] if found else None


def _plain(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
