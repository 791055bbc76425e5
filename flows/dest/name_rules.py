"""Decide by which rules the names of a DEST are spelt; they are fixed when it is created."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import without_password
from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.naming.name_probe import find_naming
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.records.self_checksum import json_with_checksum, read_checked_json
from foliopress.tasks.records.table_files import FileDamaged, read_table
from foliopress.tasks.storage.store import Store

NAMES_KEY = "runs/names.json"


def resolve_naming(dest: Store, say: Callable[[str], None]) -> Naming:
    """Return the rules of a DEST whose lease is held; probe and store those of a new DEST.

    Every run probes a folder, as it may have been copied to another disk since.

    Args:
        dest: Where the outputs go.
        say: Called with a line for the user if names are not spelt as on an ordinary store.

    Raises:
        ConfigError: If names would collide here under the rules of DEST, or its rules are lost.
        StoreUnavailable: If DEST gives no answer.
    """
    begun, is_damaged = _read(dest)
    if begun is not None and not dest.is_folder:
        return begun
    found = find_naming(dest)
    if begun is None:
        begun = _inferred_from_rows(dest, (found, ORDINARY))
        if is_damaged:
            say(f"{NAMES_KEY} was damaged; written again from the rows")
    if not begun.covers(found):
        raise ConfigError(
            f"DEST {without_password(dest.url)} was created on a store that accepts more names than this one "
            f"({_limits(found, begun)}): names would collide. Continue it on a disk like the one that it was created "
            "on, or use a new DEST"
        )
    if begun != ORDINARY:
        say(f"some names in DEST are escaped: {_limits(begun, ORDINARY)} ({NAMES_KEY})")
    dest.write_bytes(NAMES_KEY, json_with_checksum(begun.model_dump()))
    return begun


def _read(dest: Store) -> tuple[Naming | None, bool]:
    """Return the stored rules, and whether they are damaged."""
    try:
        return Naming.model_validate(read_checked_json(dest.read_bytes(NAMES_KEY))), False
    except FileNotFoundError:
        return None, False
    except ValidationError as error:
        raise ConfigError(
            f"{NAMES_KEY} in {without_password(dest.url)}, which defines how names are spelt, is of another version of "
            "foliopress; use that version, or a new DEST"
        ) from error
    except ValueError:
        return None, True


def _inferred_from_rows(dest: Store, candidates: Sequence[Naming]) -> Naming:
    """Return the first candidate under which rows and names of outputs agree; the first one for a new DEST.

    Raises:
        ConfigError: If they agree under none.
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
        f"{NAMES_KEY} in {without_password(dest.url)}, which defines how names are spelt, is missing or damaged and "
        "cannot be inferred from the rows; restore it, or use a new DEST"
    )


def _some_rows(dest: Store) -> Iterator[dict[str, Any]]:
    for found in dest.list_objects("stats/pages/"):
        name = found.key.rpartition("/")[2].removesuffix(".parquet")
        with suppress(FileDamaged):
            yield from read_table(dest, "pages", name, ("document_key", "output_key", "duplicate_of")).to_pylist()


def _limits(here: Naming, than: Naming) -> str:
    """Return in words how one store limits names more than another."""
    limits = []
    if here.folds_case > than.folds_case:
        limits.append("upper and lower case are not distinguished")
    if here.forms != than.forms:
        limits.append("Unicode forms of a letter are not distinguished")
    if here.letters != than.letters:
        limits.append("only ASCII is allowed" if here.letters == "ascii" else "letters above U+FFFF are not allowed")
    if not_held := set(here.not_held) - set(than.not_held):
        limits.append(f"{' '.join(sorted(not_held))} are not allowed")
    if here.is_windows > than.is_windows:
        limits.append("names of devices and dots or spaces at the end of a name are not allowed")
    if here.longest_name_bytes < than.longest_name_bytes or here.longest_key_bytes < than.longest_key_bytes:
        limits.append("names or paths must be shorter")
    return ", ".join(limits)
