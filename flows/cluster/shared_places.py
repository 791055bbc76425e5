"""Check that the driver and the workers see the same SOURCE and DEST, before a worker gets a page.

A path may lead elsewhere on another machine, without any error: the worker would write to a disk of its own. So the
driver writes a token below DEST, which each worker must find, and each worker writes an answer, which the driver must
find. SOURCE is never written; there a worker must find documents that the driver has found.
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

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import without_password
from foliopress.configs.settings import OcrSettings, StorageSettings
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage.backend import StoredObject
from foliopress.tasks.storage.store import Store

if TYPE_CHECKING:
    from distributed import Client

_TOKENS = "work/tokens/"
_SAMPLES = 2
_TRIED_FOR_SAMPLES = 20
"""Documents to try for samples: a driver may be able to list documents that it cannot read."""
_SAMPLE_BYTES = 4096
"""Bytes to read of a document's beginning, and of its end, which confirms its size."""

_OUTPUT_PACKAGES = (
    *("foliopress", "pillow", "numpy", "opencv-python-headless", "imagecodecs", "pikepdf", "pypdfium2", "tesserocr"),
    *("ai-edge-litert", "pyarrow"),
)
_OPTIONAL_PACKAGES = ("ai-edge-litert",)
"""Not needed where TensorFlow scores."""

_checked: set[tuple[SharedPlaces, int]] = set()
_checking = threading.Lock()


@dataclass(frozen=True)
class Sample:
    """A document that the driver has found, identified by its size and the bytes at its ends."""

    key: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class SharedPlaces:
    """SOURCE and DEST as the driver sees them; it travels with each job."""

    topic: str
    """Topic of the Dask events by which workers report their answers."""
    source_url: str | None
    source_samples: tuple[Sample, ...]
    dest_url: str
    dest_samples: tuple[Sample, ...]
    """Samples of a DEST that is only read."""
    token_key: str | None
    token: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A worker's report to the driver."""

    worker: str
    key: str | None
    token: str = field(repr=False)
    versions: tuple[tuple[str, str], ...]


class SharedPlacesCheck:
    """The driver's side: writes the token, receives the workers' reports, and looks for their answers in DEST.

    Args:
        client: Client of the cluster.
        dest: Where the outputs are.
        source: Where the documents are; None if none are read.
        writes: Whether DEST is written; else workers must find files that lie below `stats/pages/`.
    """

    def __init__(
        self,
        client: Client,
        dest: Store,
        source: Store | None,
        writes: bool = True,
    ) -> None:
        self._client, self._dest = client, dest
        self._reported: SimpleQueue[Answer] = SimpleQueue()
        self._versions: tuple[str, dict[str, str]] | None = None
        self._lock = threading.Lock()
        name = uuid4().hex
        self.shared_places = SharedPlaces(
            topic=f"foliopress-{name}",
            source_url=None if source is None else absolute_url(source.url),
            source_samples=() if source is None else _samples(source, ""),
            dest_url=absolute_url(dest.url),
            dest_samples=() if writes else _samples(dest, "stats/pages/"),
            token_key=f"{_TOKENS}{name}/token" if writes else None,
            token=uuid4().hex,
        )

    def __enter__(self) -> Self:
        if self.shared_places.token_key is not None:
            self._dest.write_bytes(self.shared_places.token_key, self.shared_places.token.encode())
        self._client.subscribe_topic(self.shared_places.topic, self._on_report)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # the cluster may be lost
            self._client.unsubscribe_topic(self.shared_places.topic)
        if self.shared_places.token_key is not None:
            with suppress(StoreUnavailable, ConfigError, OSError):  # a later run deletes what is left
                for found in list(self._dest.list_objects(self.shared_places.token_key.removesuffix("token"))):
                    self._dest.delete(found.key)

    def check(self) -> None:
        """Look for the answers of the workers that have reported since the last call.

        A worker's report arrives before its results, so that no page is committed whose worker was not checked.

        Raises:
            ConfigError: If an answer is not there, or that worker would make other outputs than its neighbours.
            StoreUnavailable: If DEST gives no answer.
        """
        with self._lock, suppress(Empty):
            while True:
                answer = self._reported.get_nowait()
                try:
                    self._check(answer)
                except StoreUnavailable:
                    self._reported.put(answer)  # to be looked for by the next call
                    raise

    def _on_report(self, event: tuple[float, dict[str, Any]]) -> None:
        report = event[1]
        versions = tuple((str(name), str(version)) for name, version in report["versions"])
        self._reported.put(Answer(report["worker"], report["key"], report["token"], versions))

    def _check(self, answer: Answer) -> None:
        if answer.key is not None:
            try:
                found = self._dest.read_bytes(answer.key).decode(errors="replace")
            except OSError:
                found = ""
            if found != answer.token:
                raise ConfigError(
                    _mismatch(
                        answer.worker, "DEST", self._dest.url, "the run does not find what the worker wrote there"
                    )
                )
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
            if own[name] != expected[name]
            and not (name in _OPTIONAL_PACKAGES and "none" in (own[name], expected[name]))
        ]
        if differing:
            raise ConfigError(
                f"worker {answer.worker} has {', '.join(differing)} as {first} has, so that its pages would differ; "
                "use one image or environment for all workers"
            )


def check_shared_places(shared_places: SharedPlaces, storage: StorageSettings, ocr: OcrSettings | None = None) -> None:
    """Run on a worker before it uses SOURCE or DEST: check once that it sees the same places as the driver.

    Raises:
        ConfigError: If it sees another place, or none.
        StoreUnavailable: If a store gives no answer.
    """
    if (shared_places, os.getpid()) in _checked:
        return
    with _checking:
        if (shared_places, os.getpid()) in _checked:
            return
        worker = _own_name()
        for name, url, samples in (
            ("SOURCE", shared_places.source_url, shared_places.source_samples),
            ("DEST", shared_places.dest_url, shared_places.dest_samples),
        ):
            # any of several samples, as SOURCE may change during the run
            if url is not None and samples and not any(_is_there(Store(url, storage), sample) for sample in samples):
                raise ConfigError(_mismatch(worker, name, url, f"{samples[0].key!r} is missing there or differs"))
        key, token = _write_answer(shared_places, storage, worker)
        _report(shared_places.topic, worker, key, token, own_versions(ocr) if ocr is not None else ())
        _checked.add((shared_places, os.getpid()))


def absolute_url(url: str) -> str:
    """Return a path as an absolute path; a URL unchanged.

    >>> absolute_url("s3://bucket/a"), absolute_url("/scans")
    ('s3://bucket/a', '/scans')
    """
    return url if "://" in url else os.path.abspath(Path(url).expanduser())


@lru_cache(maxsize=4)
def own_versions(ocr: OcrSettings) -> tuple[tuple[str, str], ...]:
    """Return the versions of the software that the output depends on, in this process; `none` if not installed.

    Raises:
        ConfigError: If Tesseract cannot be used.
    """
    from foliopress.tasks.ocr.tesseract import check_tesseract

    found = {"tesseract": check_tesseract(ocr)}
    for package in _OUTPUT_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return tuple(found.items())


def _write_answer(shared_places: SharedPlaces, storage: StorageSettings, worker: str) -> tuple[str | None, str]:
    """Find the driver's token in DEST and write an answer next to it; return the key and content of the answer."""
    if shared_places.token_key is None:
        return None, ""
    dest = Store(shared_places.dest_url, storage)
    try:
        found = dest.read_bytes(shared_places.token_key).decode(errors="replace")
    except OSError as error:
        why = f"the run's token {shared_places.token_key} is not there ({type(error).__name__})"
        raise ConfigError(_mismatch(worker, "DEST", shared_places.dest_url, why)) from error
    if found != shared_places.token:
        raise ConfigError(
            _mismatch(worker, "DEST", shared_places.dest_url, f"another token lies at {shared_places.token_key}")
        )
    token = uuid4().hex
    key = f"{shared_places.token_key.removesuffix('token')}{token}"
    try:
        dest.write_bytes(key, token.encode())
    except OSError as error:
        raise ConfigError(
            _mismatch(worker, "DEST", shared_places.dest_url, f"it cannot be written: {error}")
        ) from error
    return key, token


def _mismatch(worker: str, name: str, url: str, why: str) -> str:
    return (
        f"worker {worker} does not see {name} {without_password(url)} as the run does: {why}; mount it at the same "
        "path on all workers, or use a place that all of them can reach, e.g. s3://…"
    )


def _samples(store: Store, prefix: str) -> tuple[Sample, ...]:
    """Return some objects by which another process can recognise the place."""
    found = islice(store.list_objects(prefix), _TRIED_FOR_SAMPLES)
    return tuple(islice(_readable(store, found), _SAMPLES))


def _readable(store: Store, found: Iterable[StoredObject]) -> Iterator[Sample]:
    for one in found:
        with suppress(OSError):
            yield Sample(one.key, one.size_bytes, _digest(store, one.key, one.size_bytes))


def _is_there(store: Store, sample: Sample) -> bool:
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


def _report(topic: str, worker: str, key: str | None, token: str, versions: tuple[tuple[str, str], ...]) -> None:
    report = {"worker": worker, "key": key, "token": token, "versions": [list(pair) for pair in versions]}
    if (here := _own_worker()) is not None:
        here.log_event(topic, report)
