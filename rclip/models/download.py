"""Fetching checkpoints, and only those that are not there. The network has nothing else for rclip, but for pictures
whose address is a query's.
"""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import BinaryIO

from rclip import datadir
from rclip.errors import DownloadFailed, UnreadableCheckpoint, plain_reason
from rclip.models.registry import Checkpoint

_TIMEOUT_S = 30  # without a byte from the server
_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 4 << 30
"""No checkpoint has as many: a server that never ends would fill the disk."""


def fetch(checkpoint: Checkpoint, notify: Callable[[str], None]) -> str:
    """Makes sure that the checkpoint lies at its path, whole and right, and returns its SHA-256.

    Raises `ModelError`; what was at the path before is then still there.
    """
    present = os.path.exists(checkpoint.path)
    if present:
        digest = _sha256(checkpoint.path)
        if digest == (checkpoint.sha256 or digest):
            return digest
    if checkpoint.sha256 is None:
        raise UnreadableCheckpoint(path=checkpoint.path, reason="it is gone")
    notify(f"fetching {checkpoint.url}")
    try:
        download(checkpoint.url, checkpoint.path, checkpoint.sha256)
    except DownloadFailed as error:
        if present:
            error.reason += f", and {checkpoint.path} has the wrong SHA-256"
        raise
    return checkpoint.sha256


def download(url: str, path: str, sha256: str) -> None:
    """Fetches `url` with a progress bar, under a temporary name until its SHA-256 has been found right.

    Raises `ModelError` and leaves nothing behind when there is no network, no room, or the wrong bytes come.
    """
    temporary = None
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        datadir.sweep(os.path.dirname(path))
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as source:  # noqa: S310 - ours, or the mirror's
            descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=datadir.TEMPORARY)
            with open(descriptor, "wb") as target:
                digest = _copy(source, target, int(source.headers.get("Content-Length") or 0), os.path.basename(path))
        if digest != sha256:
            raise DownloadFailed(url=url, reason=f"it came with the wrong SHA-256 ({digest[:12]}…)", path=path)
        os.replace(temporary, path)
        temporary = None
    except (OSError, HTTPException, ValueError) as error:
        reason = plain_reason(getattr(error, "reason", None) or error)
        raise DownloadFailed(url=url, reason=reason, path=path) from error
    finally:
        if temporary:
            os.unlink(temporary)


def _copy(source: BinaryIO, target: BinaryIO, total_bytes: int, label: str) -> str:
    """Copies to the end and returns the SHA-256 of what was copied."""
    from tqdm import tqdm

    digest = hashlib.sha256()
    left_bytes = _MOST_BYTES
    with tqdm(total=total_bytes or None, desc=label, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        while chunk := source.read(_CHUNK_BYTES):
            left_bytes -= len(chunk)
            if left_bytes < 0:
                raise ValueError(f"it is larger than {_MOST_BYTES >> 30} GB")
            target.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableCheckpoint(path=path, reason=plain_reason(error)) from error
