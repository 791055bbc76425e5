"""Spell a document's key with the names that a store can hold and distinguish.

On an ordinary store, a Linux disk or S3, names are keys. A Windows or Mac disk treats `Page.jpg` and `page.jpg` as one
name, or `é` and `e` with a combining accent, and cannot hold `10:30.jpg`. There

- characters that it treats as equal get one spelling, and a mark before the first dot records which were capitals:
  `Page.jpg` is `page%-1.jpg`, 1 being the first bit;
- characters that it cannot hold, or that have no such spelling, become `%XX` for each byte of their UTF-8;
- device names are marked too: `con.jpg` is `con%-0.jpg`.

Nothing else writes `%-`, so no two names become equal for the store.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

WINDOWS_LETTERS = ':*?"<>|~'
"""Characters that no Windows name can hold, and the tilde, which marks the short names that Windows makes itself."""

LONGEST_NAME_BYTES = 200  # file systems allow 255; a temporary name and an extension must fit too
LONGEST_KEY_BYTES = 900  # S3 allows 1,024

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [kind + number for kind in ("com", "lpt") for number in "0123456789¹²³"]
)
_STABLE = unicodedata.ucd_3_2_0
"""Unicode as of 2002, the same in every Python: a newer version must not change the spelling of a key."""


class Naming(BaseModel):
    """Names that a store can hold and distinguish; by default, all that a key can be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds_case: bool = False
    """Whether names that differ only in case are equal, or are listed in another case."""
    forms: Literal["kept", "equal", "changed"] = "kept"
    """Handling of Unicode normalization forms: distinguished, equal, or listed in another form."""
    letters: Literal["all", "basic", "ascii"] = "all"
    """Characters that it can hold: any, those up to U+FFFF, or ASCII."""
    not_held: str = ""
    """ASCII characters that it cannot hold, in their order."""
    is_windows: bool = False
    """Whether it cannot hold a dot or space at the end of a name, nor device names."""
    longest_name_bytes: int = Field(LONGEST_NAME_BYTES, ge=90)
    longest_key_bytes: int = Field(LONGEST_KEY_BYTES, ge=180)

    def covers(self, other: Naming) -> bool:
        """Return whether names spelt by these rules are valid on a store with the other rules."""
        forms, letters = ("kept", "equal", "changed"), ("all", "basic", "ascii")
        return (
            self.folds_case >= other.folds_case
            and forms.index(self.forms) >= forms.index(other.forms)
            and letters.index(self.letters) >= letters.index(other.letters)
            and set(self.not_held) >= set(other.not_held)
            and self.is_windows >= other.is_windows
            and self.longest_name_bytes <= other.longest_name_bytes
            and self.longest_key_bytes <= other.longest_key_bytes
        )

    def folded(self, name: str) -> tuple[str, str]:
        """Return a name in the characters that the store distinguishes, and the mark that restores it.

        >>> Naming(folds_case=True).folded("Page.jpg"), Naming().folded("Page.jpg")
        (('page.jpg', '%-1'), ('Page.jpg', ''))
        """
        capitals, letters = 0, []
        for place, letter in enumerate(name):
            small = letter.lower()
            if self.folds_case and small != letter and small.upper() == letter and _has_one_case(small):
                capitals |= 1 << place
                letters.append(small)
            else:
                letters.append(letter)
        folded = "".join(letters)
        is_device = self.is_windows and folded.partition(".")[0].rstrip(" ").lower() in _DEVICES
        return folded, f"%-{capitals:x}" if capitals or is_device else ""

    def holds(self, letter: str) -> bool:
        """Return whether a character can appear in a name unescaped.

        >>> Naming(folds_case=True, forms="equal").holds("ß"), Naming(forms="changed").holds("ü")
        (False, False)
        """
        if letter.isascii():
            return letter not in self.not_held and not (self.folds_case and letter.lower() != letter)
        if self.letters == "ascii" or (self.letters == "basic" and ord(letter) > 0xFFFF):
            return False
        if self.folds_case and not _has_one_case(letter):
            return False
        return self.forms == "kept" or _has_one_form(letter, self.forms)

    def holds_at_end(self, letter: str) -> bool:
        """Return whether a name can end in a character that it can hold."""
        return not (self.is_windows and letter in ". ")

    def escaped(self, letter: str) -> str:
        """Return `%XX` for each byte of a character; in lower case if the store does not distinguish case."""
        digits = "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))
        return digits.lower() if self.folds_case else digits


ORDINARY = Naming()
"""Rules of a store that can hold and distinguish all names."""


def _has_one_case(letter: str) -> bool:
    """Return whether a letter is lower case, and equals no other letter under any case folding."""
    large = letter.upper()
    spellings = (letter.casefold(), letter.lower(), large.lower(), large.casefold(), letter.title().lower())
    return all(spelling == letter for spelling in spellings) and _is_settled(letter)


def _has_one_form(letter: str, forms: str) -> bool:
    """Return whether a letter is the same in every Unicode form, or the composed ones, whatever its neighbours."""
    if not _is_settled(letter) or unicodedata.category(letter)[0] in "MC":  # marks combine with the character before
        return False
    if 0x115F <= ord(letter) <= 0x11FF or letter == "\u3164":  # parts of Hangul syllables
        return False
    in_all = ("NFC", "NFKC") if forms == "equal" else ("NFC", "NFKC", "NFD", "NFKD")
    return all(unicodedata.normalize(form, letter) == letter for form in in_all)  # type: ignore[arg-type]


def _is_settled(letter: str) -> bool:
    return _STABLE.category(letter) != "Cn"
