"""Sight: driver and workers prove to each other that they see one SOURCE and one DEST, before a worker has a page.

A path may lead elsewhere on another machine, and nothing there says so: the worker would write to a disk of its own. So
the driver writes a token below DEST, which each worker must find, and each worker writes an answer, which the driver
must find. SOURCE is never written; there a worker must find documents that the driver has found.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from foliopress.configs.loading import without_password
from foliopress.configs.settings import OcrSettings, StorageSettings
from foliopress.tasks.errors import ConfigError, StoreUnavailable
from foliopress.tasks.storage.store import Store, StoredObject

if TYPE_CHECKING:
    from distributed import Client

_TOKENS = "work/sight/"
_SAMPLES = 2
_TRIED_FOR_SAMPLES = 20
"""A driver may be allowed to list what it may not read."""
_SAMPLE_BYTES = 4096
"""Of a document's beginning, and as many of its end, which shows its size."""

_MAKE_THE_OUTPUT = (
    *("foliopress", "pillow", "numpy", "opencv-python-headless", "imagecodecs", "pikepdf", "pypdfium2", "tesserocr"),
    *("ai-edge-litert", "pyarrow"),
)
_NOT_ON_ALL = ("ai-edge-litert",)
"""Where TensorFlow scores it need not be installed."""

_proven: set[tuple[Sight, int]] = set()
_proving = threading.Lock()


@dataclass(frozen=True)
class Sample:
    """A document that the driver has found, known by its size and the bytes at its ends."""

    key: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Sight:
    """What a worker must see before it touches SOURCE or DEST; it travels with each job."""

    topic: str
    """Of the Dask events by which workers tell the driver where their answers lie."""
    source_url: str | None
    source_samples: tuple[Sample, ...]
    dest_url: str
    dest_samples: tuple[Sample, ...]
    """Of a DEST that is only read."""
    token_key: str | None
    token: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What a worker has told the driver."""

    worker: str
    key: str | None
    token: str = field(repr=False)
    versions: tuple[tuple[str, str], ...]


class Lookout:
    """The driver's side: writes the token, hears from each worker that has found it, and looks for their answers.

    Args:
        client: Of the cluster.
        dest: Where the outputs are.
        source: Where the documents are; None if none are read.
        writes: Whether DEST is written; else it is proven by what lies there below `stats/pages/`.
    """

    def __init__(
        self,
        client: Client,
        dest: Store,
        source: Store | None,
        writes: bool = True,
    ) -> None:
        self._client, self._dest = client, dest
        self._heard: SimpleQueue[Answer] = SimpleQueue()
        self._versions: tuple[str, dict[str, str]] | None = None
        self._lock = threading.Lock()
        name = uuid4().hex
        self.sight = Sight(
            topic=f"foliopress-{name}",
            source_url=None if source is None else located(source.url),
            source_samples=() if source is None else _samples(source, ""),
            dest_url=located(dest.url),
            dest_samples=() if writes else _samples(dest, "stats/pages/"),
            token_key=f"{_TOKENS}{name}/token" if writes else None,
            token=uuid4().hex,
        )

    def __enter__(self) -> Self:
        if self.sight.token_key is not None:
            self._dest.write_bytes(self.sight.token_key, self.sight.token.encode())
        self._client.subscribe_topic(self.sight.topic, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # of a cluster that is lost
            self._client.unsubscribe_topic(self.sight.topic)
        if self.sight.token_key is not None:
            with suppress(StoreUnavailable, ConfigError, OSError):  # what is left the end of a later run deletes
                for found in list(self._dest.list_objects(self.sight.token_key.removesuffix("token"))):
                    self._dest.delete(found.key)

    def check(self) -> None:
        """Look for the answers of the workers that have been heard of since.

        A worker's results come after the word of its answer, so that no page can be committed that was not looked for.

        Raises:
            ConfigError: If one is not there, or that worker would make another output than its neighbours.
            StoreUnavailable: If DEST gives no answer.
        """
        with self._lock, suppress(Empty):
            while True:
                answer = self._heard.get_nowait()
                try:
                    self._check(answer)
                except StoreUnavailable:
                    self._heard.put(answer)  # to be looked for again
                    raise

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        told = event[1]
        versions = tuple((str(name), str(version)) for name, version in told["versions"])
        self._heard.put(Answer(told["worker"], told["key"], told["token"], versions))

    def _check(self, answer: Answer) -> None:
        if answer.key is not None:
            try:
                found = self._dest.read_bytes(answer.key).decode(errors="replace")
            except OSError:
                found = ""
            if found != answer.token:
                raise ConfigError(_blind(answer.worker, "DEST", self._dest.url, "what it wrote there is not here"))
            self._dest.delete(answer.key)
        if answer.versions:
            self._compare(answer)

    def _compare(self, answer: Answer) -> None:
        own = dict(answer.versions)
        if self._versions is None:
            self._versions = answer.worker, own
            return
        first, expected = self._versions
        differing = [
            f"{name} {own[name]} instead of {expected[name]}"
            for name in own
            if own[name] != expected[name] and not (name in _NOT_ON_ALL and "none" in (own[name], expected[name]))
        ]
        if differing:
            raise ConfigError(
                f"worker {answer.worker} has {', '.join(differing)} as {first} has, so that its pages would come out "
                "otherwise; use one image or environment for all workers"
            )


def prove(sight: Sight, storage: StorageSettings, ocr: OcrSettings | None = None) -> None:
    """Run on a worker, before it touches SOURCE or DEST: hold what it sees against what the driver sees, once.

    Raises:
        ConfigError: If that is another place, or none.
        StoreUnavailable: If a store gives no answer.
    """
    if (sight, os.getpid()) in _proven:
        return
    with _proving:
        if (sight, os.getpid()) in _proven:
            return
        worker = _own_name()
        for name, url, samples in (
            ("SOURCE", sight.source_url, sight.source_samples),
            ("DEST", sight.dest_url, sight.dest_samples),
        ):
            # of several, as SOURCE may change while the run lasts
            if url is not None and samples and not any(_is_seen(Store(url, storage), sample) for sample in samples):
                raise ConfigError(_blind(worker, name, url, f"{samples[0].key!r} is not there as the run finds it"))
        key, token = _answered(sight, storage, worker)
        _tell(sight.topic, worker, key, token, own_versions(ocr) if ocr is not None else ())
        _proven.add((sight, os.getpid()))


def located(url: str) -> str:
    """Return a path as it is called from any folder; a URL as it is.

    >>> located("s3://bucket/a"), located("/scans")
    ('s3://bucket/a', '/scans')
    """
    return url if "://" in url else os.path.abspath(Path(url).expanduser())


@lru_cache(maxsize=4)
def own_versions(ocr: OcrSettings) -> tuple[tuple[str, str], ...]:
    """Return the versions of what makes the output in this process; `none` for what is not installed.

    Raises:
        ConfigError: If Tesseract cannot read.
    """
    from foliopress.tasks.ocr.recognition import check_tesseract

    found = {"tesseract": check_tesseract(ocr)}
    for package in _MAKE_THE_OUTPUT:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return tuple(found.items())


def _answered(sight: Sight, storage: StorageSettings, worker: str) -> tuple[str | None, str]:
    """Find the driver's token in DEST, and write an answer beside it; return its key and what it says."""
    if sight.token_key is None:
        return None, ""
    dest = Store(sight.dest_url, storage)
    try:
        found = dest.read_bytes(sight.token_key).decode(errors="replace")
    except OSError as error:
        why = f"the run's token {sight.token_key} is not there ({type(error).__name__})"
        raise ConfigError(_blind(worker, "DEST", sight.dest_url, why)) from error
    if found != sight.token:
        raise ConfigError(_blind(worker, "DEST", sight.dest_url, f"another token lies at {sight.token_key}"))
    token = uuid4().hex
    key = f"{sight.token_key.removesuffix('token')}{token}"
    try:
        dest.write_bytes(key, token.encode())
    except OSError as error:
        raise ConfigError(_blind(worker, "DEST", sight.dest_url, f"it cannot be written: {error}")) from error
    return key, token


def _blind(worker: str, name: str, url: str, why: str) -> str:
    return (
        f"worker {worker} does not see {name} {without_password(url)} as the run does: {why}; mount it at the same "
        "path on all workers, or name a place that all of them reach, e.g. s3://…"
    )


def _samples(store: Store, prefix: str) -> tuple[Sample, ...]:
    """Return some objects by which another process knows the place again."""
    found = islice(store.list_objects(prefix), _TRIED_FOR_SAMPLES)
    return tuple(islice(_readable(store, found), _SAMPLES))


def _readable(store: Store, found: Iterable[StoredObject]) -> Iterator[Sample]:
    for one in found:
        with suppress(OSError):
            yield Sample(one.key, one.size_bytes, _digest(store, one.key, one.size_bytes))


def _is_seen(store: Store, sample: Sample) -> bool:
    try:
        return _digest(store, sample.key, sample.size_bytes) == sample.digest
    except (OSError, ConfigError):  # no such folder, bucket or object
        return False


def _digest(store: Store, key: str, size_bytes: int) -> str:
    beginning = store.read_range(key, 0, min(size_bytes, _SAMPLE_BYTES)) if size_bytes else b""
    end = store.read_range(key, max(0, size_bytes - _SAMPLE_BYTES), 2 * _SAMPLE_BYTES)
    return hashlib.sha256(len(beginning).to_bytes(8, "big") + beginning + end).hexdigest()


def _own_name() -> str:
    address = getattr(_own_worker(), "address", "")
    return " ".join(filter(None, (address, f"on host {socket.gethostname()}")))


def _own_worker() -> Any:
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:  # not on a cluster
        return None


def _tell(topic: str, worker: str, key: str | None, token: str, versions: tuple[tuple[str, str], ...]) -> None:
    told = {"worker": worker, "key": key, "token": token, "versions": [list(pair) for pair in versions]}
    if (here := _own_worker()) is not None:
        here.log_event(topic, told)
