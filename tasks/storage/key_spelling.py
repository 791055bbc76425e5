"""Naming: how a document's key is spelt in the names of a store that holds or tells apart fewer than a key can be.

On an ordinary store, a Linux disk or S3, names are keys. A disk of Windows or of a Mac takes `Page.jpg` and `page.jpg`
for one, or `é` and `e` with an accent behind it, and holds no `10:30.jpg`. There

- letters that it takes for one are spelt as one, and a mark before the first dot says which were capitals:
  `Page.jpg` is `page%-1.jpg`, 1 being the first bit;
- letters that it does not hold, or that have no such spelling, are written as `%XX` for each byte of their UTF-8;
- names of devices are marked too: `con.jpg` is `con%-0.jpg`.

Nothing else writes `%-`, so that no two names become one, as the store sees them.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

WINDOWS_LETTERS = ':*?"<>|~'
"""What Windows holds in no name; and the tilde, by which it makes short names of its own for other files."""

LONGEST_NAME_BYTES = 200  # file systems hold 255, a temporary name and an ending must fit too
LONGEST_KEY_BYTES = 900  # S3 holds 1,024

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [kind + number for kind in ("com", "lpt") for number in "0123456789¹²³"]
)
_STABLE = unicodedata.ucd_3_2_0
"""Unicode as it was in 2002, which is the same in every Python: a newer one must not move what is written."""


class Naming(BaseModel):
    """What a store tells apart and holds; as it stands here, everything that a key can be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds_case: bool = False
    """Names that differ in capitals alone are one name, or come back in other letters."""
    forms: Literal["kept", "equal", "changed"] = "kept"
    """Unicode's several forms of a letter are told apart, are one name, or come back in another form."""
    letters: Literal["all", "basic", "ascii"] = "all"
    """Which letters it holds: any, those up to U+FFFF, or ASCII."""
    not_held: str = ""
    """Letters of ASCII that it does not hold, in their order."""
    is_windows: bool = False
    """Neither does it hold a dot or space at the end of a name, nor names of devices."""
    longest_name_bytes: int = Field(LONGEST_NAME_BYTES, ge=90)
    longest_key_bytes: int = Field(LONGEST_KEY_BYTES, ge=180)

    def covers(self, other: Naming) -> bool:
        """Return whether names spelt by these rules suit a store for which the others were found."""
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
        """Return a name in the letters that the store tells apart, and the mark that says what it was.

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
        """Return whether a letter can stand in a name as it is.

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
        """Return whether a name can end in a letter that it can hold."""
        return not (self.is_windows and letter in ". ")

    def escaped(self, letter: str) -> str:
        """Return `%XX` for each byte of a letter; in small letters where those are told from capitals no more."""
        digits = "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))
        return digits.lower() if self.folds_case else digits


ORDINARY = Naming()
"""Of a store that holds any name and tells all of them apart."""


def _has_one_case(letter: str) -> bool:
    """Return whether a letter is small, and is not taken for another one wherever capitals do not count."""
    large = letter.upper()
    spellings = (letter.casefold(), letter.lower(), large.lower(), large.casefold(), letter.title().lower())
    return all(spelling == letter for spelling in spellings) and _is_settled(letter)


def _has_one_form(letter: str, forms: str) -> bool:
    """Return whether a letter is the same in every Unicode form, or the composed ones, whatever stands round it."""
    if not _is_settled(letter) or unicodedata.category(letter)[0] in "MC":  # marks change what is before them
        return False
    if 0x115F <= ord(letter) <= 0x11FF or letter == "\u3164":  # parts of Hangul syllables
        return False
    in_all = ("NFC", "NFKC") if forms == "equal" else ("NFC", "NFKC", "NFD", "NFKD")
    return all(unicodedata.normalize(form, letter) == letter for form in in_all)  # type: ignore[arg-type]


def _is_settled(letter: str) -> bool:
    return _STABLE.category(letter) != "Cn"
