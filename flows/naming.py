"""Naming: by what rules the names of a DEST are spelt, as it was begun and as long as it is gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import ValidationError

from configs.loading import without_password
from tasks.errors import ConfigError
from tasks.name_probe import find_naming
from tasks.naming import ORDINARY, Naming
from tasks.store import Store

NAMES_KEY = "runs/names.json"


def settle_naming(dest: Store, say: Callable[[str], None]) -> Naming:
    """Return the rules of a DEST whose lease is held; of a new one they are found out and written down.

    A folder is asked by every run, as it may have been copied to another disk since.

    Args:
        dest: Where the outputs go.
        say: Called with one line where names are not spelt as on an ordinary store.

    Raises:
        ConfigError: If DEST was begun by rules under which names would be one here, or its rules cannot be read.
        StoreUnavailable: If DEST gives no answer.
    """
    begun = _read(dest)
    if begun is not None and not dest.is_folder:
        return begun
    found = find_naming(dest)
    if begun is None:
        has_outputs = next(dest.list_objects("stats/pages/"), None) is not None
        begun = ORDINARY if has_outputs else found  # by an older version, which knew no rules
    if not begun.covers(found):
        raise ConfigError(
            f"DEST {without_password(dest.url)} was begun where more names are told apart or held than here "
            f"({_lacks(found, begun)}): names would be taken for one another. Go on with it on a disk like the "
            "one that it was begun on, or begin a new DEST here"
        )
    if begun != ORDINARY:
        say(f"names in DEST are spelt otherwise where it has to be: {_lacks(begun, ORDINARY)} ({NAMES_KEY})")
    dest.write_bytes(NAMES_KEY, json.dumps(begun.model_dump(), indent=1, ensure_ascii=True).encode() + b"\n")
    return begun


def _read(dest: Store) -> Naming | None:
    try:
        return Naming.model_validate_json(dest.read_bytes(NAMES_KEY))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ConfigError(
            f"{NAMES_KEY} in {without_password(dest.url)}, which says how names are spelt there, cannot be read: it is "
            "spoiled, or of a newer version of foliopress; put it back, or begin a new DEST"
        ) from error


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
