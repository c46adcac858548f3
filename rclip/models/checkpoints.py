"""OpenAI's checkpoints: their names, where they lie on this machine, and fetching them.

Weights are kept where OpenAI's own package keeps them, so that a download made by either serves both.
"""

import hashlib
import os
import re
import tempfile
import urllib.request
from http.client import HTTPException
from typing import BinaryIO, NamedTuple

from rclip.errors import ModelError, plain_reason

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

_TIMEOUT_S = 30  # without a byte from the server
_CHUNK_BYTES = 1 << 20


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
    """The checkpoint of this name or path. Raises `ModelError` for one that is neither."""
    if model in _SHA256:
        file_name = model.replace("/", "-").replace("@", "-") + ".pt"
        return Checkpoint(model, os.path.join(os.path.expanduser("~/.cache/clip"), file_name), _SHA256[model])
    path = os.path.abspath(os.path.expanduser(model))
    if os.path.isfile(path):
        return Checkpoint(model, path, None)
    raise ModelError(f"no model and no checkpoint file {model!r}; the models are {', '.join(NAMES)}")


def fetch(checkpoint: Checkpoint) -> str:
    """Makes sure that the checkpoint lies at its path, whole and right, and returns its SHA-256.

    Raises `ModelError`; what was at the path before is then still there.
    """
    present = os.path.exists(checkpoint.path)
    if present:
        digest = _sha256(checkpoint.path)
        if digest == (checkpoint.sha256 or digest):
            return digest
    if checkpoint.sha256 is None:
        raise ModelError(f"the checkpoint {checkpoint.path} is gone")
    try:
        download(checkpoint.url, checkpoint.path, checkpoint.sha256)
    except ModelError as error:
        if present:
            raise ModelError(f"{checkpoint.path} is not OpenAI's file of that name (wrong SHA-256); {error}") from error
        raise
    return checkpoint.sha256


def download(url: str, path: str, sha256: str) -> None:
    """Fetches `url` with a progress bar, under a temporary name until its SHA-256 has been found right.

    Raises `ModelError` and leaves nothing behind when there is no network, no room, or the wrong bytes come.
    """
    by_hand = f"or put the file there by hand: {path}"
    temporary = None
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as source:  # noqa: S310 - ours, or the mirror's
            descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".part")
            with open(descriptor, "wb") as target:
                digest = _copy(source, target, int(source.headers.get("Content-Length") or 0), os.path.basename(path))
        if digest != sha256:
            raise ModelError(f"{url} came with the wrong SHA-256 ({digest[:12]}…): try again, {by_hand}")
        os.replace(temporary, path)
        temporary = None
    except (OSError, HTTPException, ValueError) as error:
        reason = plain_reason(getattr(error, "reason", None) or error)
        raise ModelError(f"cannot fetch {url} ({reason}): try again, {by_hand}") from error
    finally:
        if temporary:
            os.unlink(temporary)


def _copy(source: BinaryIO, target: BinaryIO, total_bytes: int, label: str) -> str:
    """Copies to the end and returns the SHA-256 of what was copied."""
    from tqdm import tqdm

    digest = hashlib.sha256()
    with tqdm(total=total_bytes or None, desc=label, unit="B", unit_scale=True, leave=False) as bar:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {plain_reason(error)}") from error
