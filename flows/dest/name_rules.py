"""Naming: by what rules the names of a DEST are spelt, as it was begun and as long as it is gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from foliopress.configs.loading import without_password
from foliopress.tasks.errors import ConfigError
from foliopress.tasks.records.self_checksum import read_json, sealed_json
from foliopress.tasks.records.table_files import FileDamaged, read_table
from foliopress.tasks.storage.key_spelling import ORDINARY, Naming
from foliopress.tasks.storage.name_probe import find_naming
from foliopress.tasks.storage.output_keys import output_key
from foliopress.tasks.storage.store import Store

NAMES_KEY = "runs/names.json"


def settle_naming(dest: Store, say: Callable[[str], None]) -> Naming:
    """Return the rules of a DEST whose lease is held; of a new one they are found out and written down.

    A folder is asked by every run, as it may have been copied to another disk since.

    Args:
        dest: Where the outputs go.
        say: Called with one line where names are not spelt as on an ordinary store.

    Raises:
        ConfigError: If DEST was begun by rules under which names would be one here, or nothing tells its rules.
        StoreUnavailable: If DEST gives no answer.
    """
    begun, is_damaged = _read(dest)
    if begun is not None and not dest.is_folder:
        return begun
    found = find_naming(dest)
    if begun is None:
        begun = _told_by_rows(dest, (found, ORDINARY))
        if is_damaged:
            say(f"{NAMES_KEY} was damaged; written again from what the rows say")
    if not begun.covers(found):
        raise ConfigError(
            f"DEST {without_password(dest.url)} was begun where more names are told apart or held than here "
            f"({_lacks(found, begun)}): names would be taken for one another. Go on with it on a disk like the "
            "one that it was begun on, or begin a new DEST here"
        )
    if begun != ORDINARY:
        say(f"names in DEST are spelt otherwise where it has to be: {_lacks(begun, ORDINARY)} ({NAMES_KEY})")
    dest.write_bytes(NAMES_KEY, sealed_json(begun.model_dump()))
    return begun


def _read(dest: Store) -> tuple[Naming | None, bool]:
    """Return the rules that stand there, and whether they cannot be read."""
    try:
        return Naming.model_validate(read_json(dest.read_bytes(NAMES_KEY))), False
    except FileNotFoundError:
        return None, False
    except ValidationError as error:
        raise ConfigError(
            f"{NAMES_KEY} in {without_password(dest.url)}, which says how names are spelt there, is of another version "
            "of foliopress; go on with that one, or begin a new DEST"
        ) from error
    except ValueError:
        return None, True


def _told_by_rows(dest: Store, candidates: Sequence[Naming]) -> Naming:
    """Return the first of some rules by which the outputs that rows name can be spelt; of a new DEST that is the first.

    Raises:
        ConfigError: If by none of them they are.
    """
    rows = [
        (str(row["document_key"]), str(row["output_key"]))
        for row in _some_rows(dest)
        if row["output_key"] is not None and row["duplicate_of"] is None
    ]
    for naming in candidates:
        names = ((output_key(document, naming=naming), key) for document, key in rows)
        if all(key == name or key.startswith((f"{name}.", f"{name}/")) for name, key in names):
            return naming
    raise ConfigError(
        f"{NAMES_KEY} in {without_password(dest.url)}, which says how names are spelt there, is missing or damaged, "
        "and the rows do not tell; put it back, or begin a new DEST"
    )


def _some_rows(dest: Store) -> Iterator[dict[str, Any]]:
    for found in dest.list_objects("stats/pages/"):
        name = found.key.rpartition("/")[2].removesuffix(".parquet")
        with suppress(FileDamaged):
            yield from read_table(dest, "pages", name, ("document_key", "output_key", "duplicate_of")).to_pylist()


def _lacks(here: Naming, than: Naming) -> str:
    """Return in words what a store does not do that one of other rules does."""
    lacks = []
    if here.folds_case > than.folds_case:
        lacks.append("capitals are not told from small letters")
    if here.forms != than.forms:
        lacks.append("Unicode's forms of a letter are not told apart")
    if here.letters != than.letters:
        lacks.append("only ASCII is held" if here.letters == "ascii" else "letters above U+FFFF are not held")
    if not_held := set(here.not_held) - set(than.not_held):
        lacks.append(f"{' '.join(sorted(not_held))} are not held")
    if here.is_windows > than.is_windows:
        lacks.append("nor dots and spaces at the end of a name, and names of devices")
    if here.longest_name_bytes < than.longest_name_bytes or here.longest_key_bytes < than.longest_key_bytes:
        lacks.append("names or paths have to be shorter")
    return ", ".join(lacks)
