"""Write and check the BagIt tag files around a payload (RFC 8493).

Written by hand: bagit.py works on local folders only and moves the payload; tests check our bags with it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Self

from foliopress.configs.errors import ConfigError
from foliopress.tasks.errors import PayloadDamaged
from foliopress.tasks.storage.backend import StoredObject
from foliopress.tasks.storage.store import Store

PAYLOAD = "data"
AGENT = "Foliopress"
"""Prefix of the agent in bag-info.txt."""

Algorithm = Literal["sha256", "sha512"]
BagItVersion = Literal["1.0", "0.97"]

_DECLARATION, _INFO = "bagit.txt", "bag-info.txt"
_ALGORITHMS: tuple[Algorithm, ...] = ("sha256", "sha512")
_MANIFESTS = tuple(f"{kind}-{algorithm}.txt" for algorithm in _ALGORITHMS for kind in ("tagmanifest", "manifest"))
_LINE_END = re.compile(r"%0[AaDd]|[\r\n]")
_AT_ONCE, _READERS, _BLOCK_BYTES = 256, 8, 2**20


@dataclass(frozen=True)
class Payload:
    """Contents of a bag: number and bytes of its files, and the BagIt version that can name them all."""

    n_files: int
    size_bytes: int
    version: BagItVersion


class OutputDigests:
    """SHA-256 and size of each output from the statistics, in a temporary database on disk: there may be millions."""

    def __init__(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Read the outputs.

        Args:
            rows: (output_key, output_sha256, output_bytes) of page rows; rows of one output each hold a share of its
                bytes.
        """
        self._base = sqlite3.connect("")  # unnamed: a temporary file, private to this connection and deleted on closing
        self._base.execute("CREATE TABLE outputs (key TEXT PRIMARY KEY, sha256 TEXT, size INTEGER) WITHOUT ROWID")
        self._base.executemany(
            "INSERT INTO outputs VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET size = size + excluded.size", rows
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def take(self, key: str) -> tuple[str, int] | None:
        """Remove an output and return its SHA-256 and size; None if no row names it."""
        found: tuple[str, int] | None = self._base.execute(
            "SELECT sha256, size FROM outputs WHERE key = ?", (key,)
        ).fetchone()
        if found is not None:
            self._base.execute("DELETE FROM outputs WHERE key = ?", (key,))
        return found

    def first_left(self) -> str | None:
        """Return the key of an output that was not taken, or None if all were."""
        found = self._base.execute("SELECT key FROM outputs LIMIT 1").fetchone()
        return None if found is None else str(found[0])


def bag_url(dest_url: str) -> str:
    """Return the URL of the bag whose payload is a DEST: its parent folder, as a payload is named `data`.

    Raises:
        ConfigError: If DEST has another name.

    >>> bag_url("s3://bucket/1931/data/"), bag_url("/archive/1931/data")
    ('s3://bucket/1931', '/archive/1931')
    """
    protocol, separator, path = dest_url.partition("://")
    if not separator or protocol in ("file", "local"):
        folder = Path(os.path.abspath(Path(path if separator else dest_url).expanduser()))
        if folder.name == PAYLOAD and folder.parent != folder:
            return str(folder.parent)
    else:
        above, _, name = path.rstrip("/").rpartition("/")
        if above.strip("/") and name == PAYLOAD:
            return f"{protocol}://{above}"
    raise ConfigError(
        f"DEST {dest_url} cannot be a bag's payload, which must be named `data`: compress into …/data, or move "
        "the existing files to …/data, where later runs continue with them"
    )


def version_for(keys: Iterable[str]) -> BagItVersion:
    """Return the BagIt version with which validators find all files of a payload.

    Version 1.0 (RFC 8493) writes `%` in a path as `%25`, which bagit.py and others do not decode; 0.97 writes it as
    it is. They decode `%0A` and `%0D` as line ends in both versions, so a file with those in its name is found only by
    a validator that follows the RFC.

    >>> version_for(["pages/a.jpg.avif"]), version_for(["pages/a.jpg%.avif"]), version_for(["pages/a%0Ab.jpg"])
    ('1.0', '0.97', '1.0')
    """
    has_percent = False
    for key in keys:
        if _LINE_END.search(key):
            return "1.0"
        has_percent = has_percent or "%" in key
    return "0.97" if has_percent else "1.0"


def manifest_line(digest: str, path: str, version: BagItVersion) -> bytes:
    """Return one line of a manifest.

    >>> manifest_line("00ff", "data/a%.avif", "1.0").decode().strip()
    '00ff  data/a%25.avif'
    >>> manifest_line("00ff", "data/a%.avif", "0.97").decode().strip()
    '00ff  data/a%.avif'
    """
    if version == "1.0":
        path = path.replace("%", "%25")
    path = path.replace("\r", "%0D").replace("\n", "%0A")
    return f"{digest}  {path}\n".encode()


def count_payload(dest: Store, passing_over: Collection[str]) -> Payload:
    """Count the files and bytes of a payload.

    Args:
        dest: The payload.
        passing_over: Keys of objects to exclude.

    Raises:
        PayloadDamaged: If a folder cannot be read.
    """
    n_files = size_bytes = 0

    def keys() -> Iterator[str]:
        nonlocal n_files, size_bytes
        for found in _objects(dest, passing_over):
            n_files += 1
            size_bytes += found.size_bytes
            yield found.key

    listed = keys()
    version = version_for(listed)
    for _ in listed:  # count the rest after the version is known
        pass
    return Payload(n_files, size_bytes, version)


def digests(
    dest: Store, algorithm: Algorithm, outputs: OutputDigests, passing_over: Collection[str], check: Callable[[], None]
) -> Iterator[tuple[str, str, bool]]:
    """Yield key, digest and whether a row names it, for each object of a payload; some are read in parallel.

    An output's SHA-256 is the one computed when it was written, so that a bag does not vouch for later changes; its
    size must still match. Objects that are read anyway are checked against it.

    Args:
        dest: The payload.
        algorithm: Digest algorithm.
        outputs: Digests and sizes from the rows.
        passing_over: Keys of objects to exclude.
        check: Called regularly; an exception from it stops the work.

    Raises:
        PayloadDamaged: If an output is missing or has changed, or an object cannot be read.
        StoreUnavailable: If the store does not respond.
    """

    def digest(entry: tuple[StoredObject, tuple[str, int] | None]) -> tuple[str, str, bool]:
        found, expected = entry
        if expected is not None and found.size_bytes != expected[1]:
            raise PayloadDamaged(f"{found.key} has {found.size_bytes} bytes, its rows say {expected[1]}")
        if expected is not None and algorithm == "sha256":
            return found.key, expected[0], True
        try:
            read = _read(dest, found.key, {algorithm, "sha256"} if expected else {algorithm})
        except OSError as error:
            raise PayloadDamaged(f"{found.key} cannot be read: {error.strerror or error}") from error
        if expected is not None and read["sha256"] != expected[0]:
            raise PayloadDamaged(f"{found.key} does not match its rows")
        return found.key, read[algorithm], expected is not None

    objects = _objects(dest, passing_over)
    with ThreadPoolExecutor(_READERS) as readers:
        while some := [(found, outputs.take(found.key)) for found in islice(objects, _AT_ONCE)]:
            check()
            yield from readers.map(digest, some)
    if (left := outputs.first_left()) is not None:
        raise PayloadDamaged(f"{left} is missing")


def write_bag(
    bag: Store,
    payload: Payload,
    lines: Iterable[tuple[str, str]],
    algorithm: Algorithm,
    info: Iterable[tuple[str, str]],
    confirm: Callable[[], None],
) -> None:
    """Write the tag files around a payload; `bagit.txt`, which makes it a bag, is written last.

    The manifest is one object and is held in memory: about 130 bytes per file.

    Args:
        bag: Parent folder of the payload.
        payload: Its number of files, bytes and version.
        lines: (key, digest) of each file.
        algorithm: Digest algorithm.
        info: Labels and values of bag-info.txt, in order.
        confirm: Called before `bagit.txt` is written; an exception from it leaves no bag.

    Raises:
        PayloadDamaged: If the number of files differs from the count.
    """
    manifest, n_lines = io.BytesIO(), 0
    for key, digest in lines:
        manifest.write(manifest_line(digest, f"{PAYLOAD}/{key}", payload.version))
        n_lines += 1
    if n_lines != payload.n_files:
        raise PayloadDamaged(
            f"the payload had {payload.n_files} files and now has {n_lines}; is another program writing to it?"
        )
    tags = {
        _INFO: "".join(f"{label}: {value}\n" for label, value in info).encode(),
        f"manifest-{algorithm}.txt": manifest.getvalue(),
        _DECLARATION: f"BagIt-Version: {payload.version}\nTag-File-Character-Encoding: UTF-8\n".encode(),
    }
    of_tags = [manifest_line(hashlib.new(algorithm, data).hexdigest(), name, "0.97") for name, data in tags.items()]
    declaration = tags.pop(_DECLARATION)
    for name, data in {**tags, f"tagmanifest-{algorithm}.txt": b"".join(of_tags)}.items():
        bag.write_bytes(name, data)
    confirm()
    bag.write_bytes(_DECLARATION, declaration)


def read_info(bag: Store) -> dict[str, str] | None:
    """Return labels and values of bag-info.txt, or None if it does not exist."""
    try:
        text = bag.read_bytes(_INFO).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def is_ours(info: Mapping[str, str] | None) -> bool:
    """Return whether Foliopress wrote a bag-info.txt."""
    return info is not None and info.get("Bag-Software-Agent", "").startswith(f"{AGENT} ")


def is_made_by_us(bag: Store) -> bool:
    """Return whether Foliopress wrote a bag, even if one of its tag files is missing or damaged.

    If bag-info.txt does not show it, the tag manifest does: it lists our tag files in our order, and one of them
    matches.
    """
    if is_ours(read_info(bag)):
        return True
    for algorithm in _ALGORITHMS:
        listed = _listed_tags(bag, algorithm)
        if list(listed) == _tag_names(algorithm):
            return any(_digest_of(bag, name, algorithm) == digest for name, digest in listed.items())
    return False


def tag_problems(bag: Store, keys: Collection[str]) -> Iterator[tuple[Literal["missing", "changed"], str, str]]:
    """Yield errors in the tag files of a bag written by Foliopress: kind, name and message.

    Args:
        bag: Parent folder of the payload.
        keys: Keys of all objects of the payload.

    Raises:
        StoreUnavailable: If the store does not respond.
    """
    both = [(kind, one) for kind in ("manifest", "tagmanifest") for one in _ALGORITHMS]
    algorithm = next((one for kind, one in both if bag.exists(f"{kind}-{one}.txt")), _ALGORITHMS[0])
    manifest, tags = f"manifest-{algorithm}.txt", f"tagmanifest-{algorithm}.txt"
    names = _tag_names(algorithm)
    lost = [name for name in (*names, tags) if not bag.exists(name)]
    for name in lost:
        yield "missing", name, "it is a tag file of this bag"
    if tags not in lost:
        listed = _listed_tags(bag, algorithm)
        for name in names:
            if name not in lost and listed.get(name) != _digest_of(bag, name, algorithm):
                yield "changed", name, f"it and {tags} do not agree"
                yield "changed", tags, f"it and {name} do not agree"
        if list(listed) != names or not _is_as_written(bag, tags, listed):
            yield "changed", tags, "it does not match its checksum"
    if manifest not in lost:
        named = set(_named_in(bag, manifest))
        for key in sorted(named - set(keys)):
            yield "missing", f"{PAYLOAD}/{key}", f"{manifest} names it"
        if unnamed := set(keys) - named:
            yield "changed", manifest, f"it does not name {len(unnamed)} files of the payload, e.g. {min(unnamed)}"


def is_bag(bag: Store) -> bool:
    """Return whether there is a complete bag."""
    return bag.exists(_DECLARATION)


def has_tag_files(bag: Store) -> bool:
    """Return whether a folder has files with the names of tag files."""
    return any(bag.exists(name) for name in (_DECLARATION, *_MANIFESTS, _INFO))


def remove_bag(bag: Store) -> None:
    """Delete the tag files of our bag: `bagit.txt` first, the files that identify it as ours last."""
    for name in (_DECLARATION, *_MANIFESTS, _INFO):
        bag.delete(name)


def _tag_names(algorithm: str) -> list[str]:
    """Return the names of the tag files in tag manifest order."""
    return [_INFO, f"manifest-{algorithm}.txt", _DECLARATION]


def _listed_tags(bag: Store, algorithm: str) -> dict[str, str]:
    """Return the digests of the tag files by name, from the tag manifest."""
    try:
        lines = bag.read_bytes(f"tagmanifest-{algorithm}.txt").decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _is_as_written(bag: Store, tags: str, listed: Mapping[str, str]) -> bool:
    written = b"".join(manifest_line(digest, name, "0.97") for name, digest in listed.items())
    return bag.read_bytes(tags) == written


def _digest_of(bag: Store, name: str, algorithm: str) -> str | None:
    try:
        return hashlib.new(algorithm, bag.read_bytes(name)).hexdigest()
    except OSError:
        return None


def _named_in(bag: Store, manifest: str) -> Iterator[str]:
    """Yield the keys that a manifest lists, in the form written by `manifest_line`."""
    try:
        declaration = bag.read_bytes(_DECLARATION).decode("utf-8", "replace")
    except OSError:
        declaration = ""
    for line in io.BytesIO(bag.read_bytes(manifest)):
        path = line.decode("utf-8", "replace").rstrip("\n").partition("  ")[2]
        path = path.replace("%0A", "\n").replace("%0D", "\r")
        if "BagIt-Version: 0.97" not in declaration:
            path = path.replace("%25", "%")
        yield path.removeprefix(f"{PAYLOAD}/")


def _read(dest: Store, key: str, algorithms: Collection[str]) -> dict[str, str]:
    """Return an object's digests by algorithm."""
    found = {name: hashlib.new(name) for name in algorithms}
    with dest.open_input(key) as file:
        while block := file.read(_BLOCK_BYTES):
            for one in found.values():
                one.update(block)
    return {name: one.hexdigest() for name, one in found.items()}


def _objects(dest: Store, passing_over: Collection[str]) -> Iterator[StoredObject]:
    def refuse(folder: str) -> None:
        raise PayloadDamaged(f"the folder {folder} cannot be read")

    return (found for found in dest.list_objects(on_unreadable=refuse) if found.key not in passing_over)
