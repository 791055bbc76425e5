"""Find out by writing and listing a few empty objects which names a store can hold and distinguish."""

from __future__ import annotations

import logging
import unicodedata
import uuid
from typing import Literal

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import without_password
from foliopress.tasks.errors import NameRefused, StoreUnavailable
from foliopress.tasks.naming.key_spelling import LONGEST_KEY_BYTES, LONGEST_NAME_BYTES, WINDOWS_LETTERS, Naming
from foliopress.tasks.storage.store import Store

SCRATCH = "runs/.names-"

log = logging.getLogger(__name__)

_PLAIN = "plain%2e-_.09~"
"""Characters that names consist of on the most restrictive store."""
_PUNCTUATION = "!#$&'()+,;=@[]^`{} "
_TWINS = (("Aa", "aa"), ("\u00c9", "\u00e9"), ("\u03a3", "\u03c2"))
_FORMS = (("\u00e9", "e\u0301"), ("\uac00", "\u1100\u1161"), ("\u212a", "K"), ("a\u200db", "ab"), ("\ufb01", "fi"))
_DEVICES = ("con", "nul.txt", "com1", "aux.jpg")
_ROOM_BYTES = 40  # for an extension, and for the temporary name of a file on a disk
_ROOM_BELOW_BYTES = 30  # for `pages/` and a page's number


def find_naming(dest: Store) -> Naming:
    """Return the rules for spelling names in a store.

    An ordinary store passes with one object whose name has every peculiarity, and two look-ups of names that it might
    treat as equal. The caller holds the lease: objects left by another probe are deleted.

    Raises:
        ConfigError: If it cannot hold even plain names, or cannot be written.
        StoreUnavailable: If it does not respond.
    """
    probe = _Probe(dest)
    try:
        return Naming() if probe.is_ordinary() else probe.rules()
    finally:
        probe.clear()


class _Probe:
    def __init__(self, dest: Store) -> None:
        # a store may report its own error for a name that it cannot hold: retry once at most
        self._dest = Store(dest.url, dest.storage.model_copy(update={"retries": min(1, dest.storage.retries)}))
        self._scratch = f"{SCRATCH}{uuid.uuid4().hex[:12]}/"
        self._n_asked = 0

    def is_ordinary(self) -> bool:
        """Return whether the store can hold the most unusual name and distinguish it from similar ones."""
        every = "".join(one for pair in (*_TWINS, *_FORMS) for one in pair)
        name = f"{every}{WINDOWS_LETTERS}{_PUNCTUATION}\u4e2d\U0001f4dc"
        name += "n" * (LONGEST_NAME_BYTES + _ROOM_BYTES - len(name.encode()))
        filled = "n" * (LONGEST_NAME_BYTES + _ROOM_BYTES)
        above = f"{self._scratch}con/end./end /"
        whole = LONGEST_KEY_BYTES + _ROOM_BELOW_BYTES
        while (missing := whole - len((above + name).encode())) > 1:  # folders above, up to the longest path
            above += filled[: missing - 1] + "/"
        small = "".join(letter.lower() if letter.isascii() else letter for letter in name)
        composed = unicodedata.normalize("NFC", name)
        return self._holds(above + name) and not any(self._dest.exists(above + twin) for twin in (small, composed))

    def rules(self) -> Naming:
        """Return the rules, found by testing one peculiarity after another."""
        if not self._holds_name(_PLAIN):
            place = without_password(self._dest.url)
            raise ConfigError(f"DEST {place} cannot hold a file named {_PLAIN!r} unchanged; choose another DEST")
        letters = self._letters()
        is_windows = not all(map(self._holds_name, (*(f"x{one}y" for one in WINDOWS_LETTERS), *_DEVICES)))
        is_windows = is_windows or not all(self._holds(f"{self._new()}/{end}/x") for end in ("end.", "end "))
        not_held = "".join(one for one in _PUNCTUATION if not self._holds_name(f"x{one}y"))
        return Naming(
            folds_case=any(self._are_one(*pair) for pair in _TWINS if letters != "ascii" or pair[0].isascii()),
            forms="kept" if letters == "ascii" else self._forms(),
            letters=letters,
            not_held=not_held + (WINDOWS_LETTERS if is_windows else ""),
            is_windows=is_windows,
            longest_name_bytes=self._longest_name_bytes("n" if letters == "ascii" else "n\u4e2d"),
            longest_key_bytes=self._longest_key_bytes(),
        )

    def clear(self) -> None:
        """Delete the objects of this probe, and those of one that was killed."""
        try:
            for found in list(self._dest.list_objects(SCRATCH)):
                self._dest.delete(found.key)
        except (NameRefused, StoreUnavailable, ConfigError, OSError) as error:
            log.warning("cannot delete the test objects for names in DEST below %s: %s", SCRATCH, error)

    def _letters(self) -> Literal["all", "basic", "ascii"]:
        # composed or not: a store that changes the form can hold them
        if not all(self._holds_somehow(letter) for letter in ("\u00fc", "\u0142", "\u4e2d")):
            return "ascii"
        return "all" if self._holds_name("\U0001f4dc") else "basic"

    def _forms(self) -> Literal["kept", "equal", "changed"]:
        held = {one: self._held_as(one) for pair in _FORMS[:2] for one in pair}
        if any(back is not None and back != one for one, back in held.items()):
            return "changed"
        return "equal" if None in held.values() or any(self._are_one(*pair) for pair in _FORMS) else "kept"

    def _longest_name_bytes(self, letters: str) -> int:
        for n_bytes in (LONGEST_NAME_BYTES, 150, 100):
            if all(self._holds_name(one * ((n_bytes + _ROOM_BYTES) // len(one.encode()))) for one in letters):
                return n_bytes
        raise self._too_short("names")

    def _longest_key_bytes(self) -> int:
        for n_bytes in (LONGEST_KEY_BYTES, 600, 400, 200):
            key = self._new() + f"/{'n' * 60}" * 20
            if self._holds(key[: n_bytes + _ROOM_BELOW_BYTES].rstrip("/")):
                return n_bytes
        raise self._too_short("paths")

    def _too_short(self, what: str) -> ConfigError:
        return ConfigError(f"DEST {without_password(self._dest.url)} can hold only short {what}; choose another DEST")

    def _are_one(self, one: str, other: str) -> bool:
        """Return whether the store treats two names as equal."""
        above = self._new()
        return self._write(f"{above}/{one}") and (
            self._dest.exists(f"{above}/{other}") or self._names_below(above) != [one]
        )

    def _holds_name(self, name: str) -> bool:
        return self._holds(f"{self._new()}/{name}")

    def _holds_somehow(self, name: str) -> bool:
        back = self._held_as(name)
        return back is not None and unicodedata.normalize("NFC", back).lower() == name.lower()

    def _held_as(self, name: str) -> str | None:
        above = self._new()
        return next(iter(self._names_below(above)), None) if self._write(f"{above}/{name}") else None

    def _holds(self, key: str) -> bool:
        """Return whether an object can be written and is listed under its own key."""
        above = key[: key.index("/", len(self._scratch))]
        return self._write(key) and [f"{above}/{name}" for name in self._names_below(above)] == [key]

    def _write(self, key: str) -> bool:
        try:
            self._dest.write_bytes(key, b"")
        except (NameRefused, StoreUnavailable, ConfigError, OSError, ValueError):
            if self._n_asked <= 1:
                self._dest.check_writable()  # with a plain name: the store itself may fail
            return False
        return True

    def _names_below(self, above: str) -> list[str]:
        return [found.key.removeprefix(f"{above}/") for found in self._dest.list_objects(f"{above}/")]

    def _new(self) -> str:
        """Return a new folder for another name."""
        self._n_asked += 1
        return f"{self._scratch}{self._n_asked}"
