"""One run's use of a cluster, for all folders that it updates."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rclip.errors import RclipError
from rclip.index.store import Store
from rclip.indexing.claims import Claims
from rclip.indexing.cluster.interface import Engine, PhotoReaders
from rclip.indexing.cluster.source import ClusterSource, photo_readers
from rclip.indexing.local_source import LocalSource
from rclip.indexing.source import Source
from rclip.models import Model
from rclip.photo import decode_pool


class Cluster:
    """A cluster at an address. It is connected to when there is something to read."""

    def __init__(self, address: str, notify: Callable[[RclipError], None]):
        """`notify` is given an error, once, for each worker that is not used."""
        self._address = address
        self._notify = notify
        self._reported: set[str] = set()
        self._engine: Engine | None = None

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine:
            self._engine.close()
            self._engine = None

    @contextmanager
    def source(
        self,
        store: Store,
        model: Model,
        folder: bytes,
        max_pixels: int | None,
        device: str | None,
        batch_size: int | None,
    ) -> Iterator[Source]:
        """What reads a folder's photos there, and its films here."""
        limit = max_pixels or decode_pool.default_max_pixels()
        claims = Claims(store)

        def readers(samples: Sequence[bytes]) -> PhotoReaders:
            return photo_readers(
                self._connected(),
                model,
                max_pixels=limit,
                is_limit_given=max_pixels is not None,
                device=device,
                batch_size=batch_size,
                samples=samples,
                notify=self._report,
            )

        with model.image_encoder(device, batch_size) as encoder:  # starts nothing before it has work
            yield ClusterSource(claims, folder, readers, lambda: LocalSource(store, claims, encoder, folder, limit))

    def _connected(self) -> Engine:
        if self._engine is None:
            from rclip.indexing.cluster.dask_engine import DaskEngine

            self._engine = DaskEngine(self._address)
        return self._engine

    def _report(self, error: RclipError) -> None:
        if str(error) not in self._reported:
            self._reported.add(str(error))
            self._notify(error)
