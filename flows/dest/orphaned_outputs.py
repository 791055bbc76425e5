"""Delete outputs that a stopped run did not commit, if another run has done their documents since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from foliopress.flows.dest.inventory import OUTPUTS, ObjectSet
from foliopress.tasks.naming.key_spelling import Naming
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.statistics import live_tables
from foliopress.tasks.storage.store import Store

_AT_ONCE = 4096


def delete_orphaned_outputs(dest: Store, footers: Mapping[str, Footer], naming: Naming) -> int:
    """Delete each output that no row names, if its document has other outputs; return their number.

    An output whose document has no rows stays: it may be all that is left of a scan.

    Args:
        dest: The output, whose lease is held.
        footers: Footers of all committed files, by their names.
        naming: How names are spelt in DEST.
    """
    named = ObjectSet((key, 0) for key in _named(dest, footers))
    left = [key for place in OUTPUTS for key in _not_held((one.key for one in dest.list_objects(place)), named)]
    if not left:
        return 0
    done = ObjectSet((key, 0) for key in _own_names(dest, footers, naming))
    deleted = 0
    for key in left:
        if done.contains([(name, 0) for name in own_names_behind(key)]).any():
            dest.delete(key)
            deleted += 1
    return deleted


def own_names_behind(key: str) -> list[str]:
    """Return the output keys of the documents, kept whole, that an output or a text file may belong to.

    >>> own_names_behind("pages/b.tif/0002.avif")
    ['pages/b.tif/0002.avif', 'pages/b.tif/0002', 'pages/b.tif']
    >>> own_names_behind("text/a.jpg.alto.xml")
    ['pages/a.jpg.alto.xml', 'pages/a.jpg.alto', 'pages/a.jpg', 'pages']
    """
    place = "pages/" + key.partition("/")[2]
    folder, _, name = place.rpartition("/")
    names = [place]
    for _ in range(2):
        name, dot, _ = name.rpartition(".")
        if dot and name:
            names.append(f"{folder}/{name}")
    return [*names, folder]


def _named(dest: Store, footers: Mapping[str, Footer]) -> Iterator[str]:
    for table in live_tables(dest, footers, ("output_key", "text_files")):
        rows: list[dict[str, Any]] = table.to_pylist()
        yield from (row["output_key"] for row in rows if row["output_key"] is not None)
        yield from (file["key"] for row in rows for file in row["text_files"] or ())


def _own_names(dest: Store, footers: Mapping[str, Footer], naming: Naming) -> Iterator[str]:
    for table in live_tables(dest, footers, ("document_key",)):
        yield from (output_key(key, naming=naming) for key in table["document_key"].to_pylist())


def _not_held(keys: Iterable[str], named: ObjectSet) -> Iterator[str]:
    rest = iter(keys)
    while some := list(islice(rest, _AT_ONCE)):
        is_held = named.contains([(key, 0) for key in some])
        yield from (key for key, held in zip(some, is_held, strict=True) if not held)
