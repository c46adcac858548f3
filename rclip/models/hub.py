"""Models from the Hugging Face hub, through `huggingface_hub`: its cache, which other tools share, its tokens and its
variables (`HF_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`) are all honoured. Files are resumed, and verified by it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rclip.errors import HubFailed, MissingModelPackage, NoModelFolder, UnknownModel, plain_reason
from rclip.models.registry import ALIASES, ModelFolder

OPEN_CLIP_CONFIG, CONFIG, TOKENIZER = "open_clip_config.json", "config.json", "tokenizer.json"
_BESIDE = ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
_OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_TRANSFORMERS_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


@contextmanager
def left_alone_by(path: str) -> Iterator[None]:
    """Inside, nothing is asked for on the hub because a model on this machine, whose file this is, names it.

    One that has itself come from the hub may ask: its user has named it.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    is_from_hub = os.path.realpath(path).startswith(os.path.join(os.path.realpath(constants.HF_HUB_CACHE), ""))
    constants.HF_HUB_OFFLINE = before or not is_from_hub
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


class _Repository:
    """One repository, whose files are fetched one by one."""

    def __init__(self, name: str, needed: str, notify: Callable[[str], None]):
        """`needed` lists, in words, all files that the model needs."""
        self._name, self._needed, self._notify = name, needed, notify
        self._is_announced = self._is_reached = False

    def fetch(self, *names: str) -> str:
        """The path of the first of these files that the repository has. Raises `ModelError`."""
        for name in names:
            path = self.fetch_if_there(name)
            if path:
                return path
        raise self._failure(names[0], "the repository has no such file")

    def fetch_if_there(self, name: str) -> str | None:
        """Raises `ModelError` where that cannot be found out."""
        hub, errors = _package()
        try:
            cached = hub.try_to_load_from_cache(self._name, name)
            if cached is not None:  # or else the cache knows that there is none
                return cached if isinstance(cached, str) else None
            if not self._is_announced:
                self._notify(f"fetching {self._name} from the Hugging Face hub")
                self._is_announced = True
            self._require_network(name)
            path: str = hub.hf_hub_download(self._name, name)
            return path
        except errors.LocalEntryNotFoundError as error:
            reason = "HF_HUB_OFFLINE is set" if hub.constants.HF_HUB_OFFLINE else "the hub cannot be reached"
            raise self._failure(name, reason) from error
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            raise self._failure(name, "its owner gives access to those who ask for it (then: hf auth login)") from error
        except errors.RepositoryNotFoundError as error:
            raise self._failure(name, "the hub has no such repository, or it is private") from error
        except Exception as error:  # of the network, in the words of the package's client
            raise self._failure(name, plain_reason(error)[:200]) from error

    def _require_network(self, name: str) -> None:
        """Asks once: the package itself would try for half a minute, with a line for each time."""
        hub, _ = _package()
        if not self._is_reached and not hub.constants.HF_HUB_OFFLINE:
            hub.get_hf_file_metadata(hub.hf_hub_url(self._name, name))
            self._is_reached = True

    def _failure(self, name: str, reason: str) -> HubFailed:
        return HubFailed(repository=self._name, file=name, reason=reason, files=self._needed)


def _package() -> Any:
    """`huggingface_hub` and its errors. Raises `MissingModelPackage`."""
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors  # noqa: F401
        from huggingface_hub.utils import logging
    except ImportError as error:
        raise MissingModelPackage(package="huggingface_hub") from error
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it would advise on tokens, and on packages of its own
    return huggingface_hub, errors


def fetch(model: ModelFolder, notify: Callable[[str], None]) -> tuple[str, str | None]:
    """The folder that the model's files lie in, and that of its tokenizer if it is another one. Raises `ModelError`."""
    name = model.repository or _repository_of(model)
    is_open_clip = bool(model.architecture)
    needed = (
        _listing(OPEN_CLIP_CONFIG, _OPEN_CLIP_WEIGHTS[0]) if is_open_clip else _listing(CONFIG, "model.safetensors")
    )
    repository = _Repository(name, needed, notify)
    config = repository.fetch_if_there(OPEN_CLIP_CONFIG)
    if config is None and is_open_clip:
        repository.fetch(OPEN_CLIP_CONFIG)
    if config is None:
        return _fetch_transformers(repository), None
    repository.fetch(*_OPEN_CLIP_WEIGHTS)
    folder = os.path.dirname(config)
    tokenizer = _tokenizer_repository(config)
    if tokenizer is None or repository.fetch_if_there(TOKENIZER):
        repository.fetch_if_there("tokenizer_config.json")
        return folder, None
    other = _Repository(tokenizer, TOKENIZER, notify)
    path = other.fetch(TOKENIZER)
    other.fetch_if_there("tokenizer_config.json")
    return folder, os.path.dirname(path)


def fetch_text_model(repository_name: str, notify: Callable[[str], None]) -> str:
    """The folder of a text encoder of sentence-transformers. Raises `ModelError`."""
    dense = "2_Dense/config.json"
    needed = _listing("modules.json", CONFIG, "model.safetensors", TOKENIZER, "1_Pooling/config.json", dense)
    repository = _Repository(repository_name, needed, notify)
    folder = os.path.dirname(repository.fetch("modules.json"))
    with open(os.path.join(folder, "modules.json"), "rb") as file:
        paths = [module["path"] for module in json.loads(file.read(1 << 16)) if isinstance(module, dict)]
    for path in paths:
        repository.fetch(f"{path}/config.json" if path else CONFIG)
        if path.endswith("Dense"):
            repository.fetch(f"{path}/model.safetensors", f"{path}/pytorch_model.bin")
        elif not path or path.endswith("Transformer"):
            start = f"{path}/" if path else ""
            repository.fetch(*(start + name for name in _TRANSFORMERS_WEIGHTS if not name.endswith("json")))
            repository.fetch(start + TOKENIZER)
            repository.fetch_if_there(start + "sentence_bert_config.json")
    return folder


def _fetch_transformers(repository: _Repository) -> str:
    folder = os.path.dirname(repository.fetch(CONFIG))
    weights = repository.fetch(*_TRANSFORMERS_WEIGHTS)
    if weights.endswith(".index.json"):
        with open(weights, "rb") as file:
            index = json.loads(file.read(4 << 20))
        parts = index.get("weight_map") if isinstance(index, dict) else None
        names = {part for part in parts.values() if isinstance(part, str)} if isinstance(parts, dict) else set()
        for part in sorted(names):
            repository.fetch(part)
    for name in (TOKENIZER, *_BESIDE):
        repository.fetch_if_there(name)
    return folder


def _tokenizer_repository(config: str) -> str | None:
    """Where the tokenizer of a model of OpenCLIP lies, unless it is CLIP's."""
    try:
        with open(config, "rb") as file:
            name = json.loads(file.read(4 << 20))["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NoModelFolder(path=config, reason=plain_reason(error)) from error
    return name if isinstance(name, str) and name else None


def _repository_of(model: ModelFolder) -> str:
    """Of a model that is named by architecture and tag: open_clip knows. Raises `ModelError`."""
    try:
        from open_clip import pretrained
    except ImportError as error:
        raise MissingModelPackage(package="open_clip_torch") from error
    found = pretrained.get_pretrained_cfg(model.architecture, model.tag)
    repository: str = found.get("hf_hub", "").rstrip("/")
    if repository.count("/") == 1:
        return repository
    tags = [f"{model.architecture}:{tag}" for tag in pretrained.list_pretrained_tags_by_model(model.architecture)]
    raise UnknownModel(model=model.name, names=", ".join(tags or ALIASES))


def _listing(*names: str) -> str:
    first: Iterable[str] = names[:-1]
    return f"{', '.join(first)} and {names[-1]}"
