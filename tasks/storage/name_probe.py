"""Name probe: what names a store tells apart and holds, found out by writing a few empty objects and listing them."""

from __future__ import annotations

import logging
import unicodedata
import uuid
from typing import Literal

from foliopress.configs.loading import without_password
from foliopress.tasks.errors import ConfigError, NameRefused, StoreUnavailable
from foliopress.tasks.storage.key_spelling import LONGEST_KEY_BYTES, LONGEST_NAME_BYTES, WINDOWS_LETTERS, Naming
from foliopress.tasks.storage.store import Store

SCRATCH = "runs/.names-"

log = logging.getLogger(__name__)

_PLAIN = "plain%2e-_.09~"
"""What names are written of where nothing else is held."""
_PUNCTUATION = "!#$&'()+,;=@[]^`{} "
_TWINS = (("Aa", "aa"), ("\u00c9", "\u00e9"), ("\u03a3", "\u03c2"))
_FORMS = (("\u00e9", "e\u0301"), ("\uac00", "\u1100\u1161"), ("\u212a", "K"), ("a\u200db", "ab"), ("\ufb01", "fi"))
_DEVICES = ("con", "nul.txt", "com1", "aux.jpg")
_ROOM_BYTES = 40  # for an ending, and for a name that is written while a disk's file is not whole
_ROOM_BELOW_BYTES = 30  # for `pages/` and a page's number


def find_naming(dest: Store) -> Naming:
    """Return by what rules names can be spelt in a store.

    An ordinary store is asked for one object with all that names can have, and for two that it might take for it. The
    caller holds the lease: what another probe left is deleted.

    Raises:
        ConfigError: If it holds not even plain names, or cannot be written.
        StoreUnavailable: If it gives no answer.
    """
    probe = _Probe(dest)
    try:
        return Naming() if probe.is_ordinary() else probe.rules()
    finally:
        probe.clear()


class _Probe:
    def __init__(self, dest: Store) -> None:
        # a store may answer with a fault of its own to a name that it does not hold: it is not asked again and again
        self._dest = Store(dest.url, dest.storage.model_copy(update={"retries": min(1, dest.storage.retries)}))
        self._scratch = f"{SCRATCH}{uuid.uuid4().hex[:12]}/"
        self._n_asked = 0

    def is_ordinary(self) -> bool:
        """Return whether the store holds the oddest of names and tells it from its twins."""
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
        """Ask for one peculiarity after another."""
        if not self._holds_name(_PLAIN):
            place = without_password(self._dest.url)
            raise ConfigError(f"DEST {place} does not hold a file called {_PLAIN!r} as it is; choose another DEST")
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
        """Delete what this probe wrote, and what one that was killed left."""
        try:
            for found in list(self._dest.list_objects(SCRATCH)):
                self._dest.delete(found.key)
        except (NameRefused, StoreUnavailable, ConfigError, OSError) as error:
            log.warning("what DEST was asked by which names it holds stays there, below %s: %s", SCRATCH, error)

    def _letters(self) -> Literal["all", "basic", "ascii"]:
        # composed or not, a store that changes the form holds them
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
        return ConfigError(f"DEST {without_password(self._dest.url)} holds only short {what}; choose another DEST")

    def _are_one(self, one: str, other: str) -> bool:
        """Return whether the store takes one name for the other."""
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
                self._dest.check_writable()  # by a plain name: it may be the store that fails
            return False
        return True

    def _names_below(self, above: str) -> list[str]:
        return [found.key.removeprefix(f"{above}/") for found in self._dest.list_objects(f"{above}/")]

    def _new(self) -> str:
        """Return a folder of its own for another name."""
        self._n_asked += 1
        return f"{self._scratch}{self._n_asked}"
