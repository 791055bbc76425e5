"""Derive the keys of a document's outputs. No two documents share an output key, whatever their own keys.

An ordinary key is kept: `letters/a.jpg` becomes `pages/letters/a.jpg.avif`, or `pages/letters/a.jpg` when the document
is kept whole. A lone `%`, which cannot come from a key (its own `%` is written `%25`), marks ambiguous names:

- a source `a.jpg.avif` is written `a.jpg%.avif`: the output of a source `a.jpg` may be at `a.jpg.avif`;
- a folder `b.tif/` is written `b.tif%/`: a source `b.tif` may have its pages in `b.tif/`, or be there itself;
- a name without a document's extension is written with `%%` after it;
- a name or key that is too long is cut, and a digest of the whole follows `%~`.

Names that a store cannot hold or distinguish are spelt differently there: see `tasks.naming.key_spelling`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import PurePosixPath

from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.storage.source_listing import DOCUMENT_SUFFIXES

OUTPUT_SUFFIXES = frozenset({".avif", ".webp", ".jpg", ".tif", ".jp2", ".jxl", ".png", ".pdf"})
"""Extensions of outputs, including those of future codecs: keys must not change when one is added."""

_PAGE_NAME = re.compile(r"([0-9]{4,})\.[a-z0-9]+")
_CUT_NAME_SHARE = 0.6
_DIGEST_BYTES = 35  # with its delimiters


def output_key(
    document_key: str, *, page_index: int | None = None, extension: str | None = None, naming: Naming = ORDINARY
) -> str:
    """Return the key of an output, relative to DEST.

    Args:
        document_key: The source's key, any text.
        page_index: 0-based number of the page, for a page of a multi-page document.
        extension: The output's extension without its dot, one of `OUTPUT_SUFFIXES`; None for a document kept whole.
        naming: Names that the store can hold and distinguish.

    Raises:
        ValueError: If a page has no extension, or an output cannot have the extension.

    >>> output_key("letters/a.jpg", extension="avif")
    'pages/letters/a.jpg.avif'
    >>> output_key("b.tif", page_index=0, extension="avif")
    'pages/b.tif/0001.avif'
    >>> output_key("c.pdf"), output_key("../a.jpg.avif"), output_key("b.tif/0001.avif")
    ('pages/c.pdf', 'pages/%2E%2E/a.jpg%.avif', 'pages/b.tif%/0001.avif')
    """
    if extension is not None and f".{extension}" not in OUTPUT_SUFFIXES:
        raise ValueError(f"{extension!r} is no extension of an output")
    *folders, name = document_key.split("/")
    parts = [_shortened(folder, _folder_name, naming) for folder in folders] + [_shortened(name, _file_name, naming)]
    place = "/".join(parts)
    if len(place.encode()) > naming.longest_key_bytes:
        room_bytes = min(naming.longest_name_bytes, naming.longest_key_bytes - _DIGEST_BYTES)
        last = _shortened(name, _file_name, naming.model_copy(update={"longest_name_bytes": room_bytes}))
        place = f"%~{_digest(document_key)}/{last}"
    if page_index is not None:
        if extension is None:
            raise ValueError("a page of a document needs an extension")
        return f"pages/{place}/{page_index + 1:04d}.{extension}"
    return f"pages/{place}" + (f".{extension}" if extension else "")


def duplicate_key(document_key: str, first_key: str, key: str, naming: Naming = ORDINARY) -> str:
    """Return the output key of a duplicate that gets its own copy of the first document's output.

    Args:
        document_key: Key of the duplicate.
        first_key: Key of the first document.
        key: Key of the first document's output.
        naming: Names that the store can hold and distinguish.

    >>> duplicate_key("b.tif", "a.tif", "pages/a.tif/0002.avif"), duplicate_key("b.pdf", "a.pdf", "pages/a.pdf")
    ('pages/b.tif/0002.avif', 'pages/b.pdf')
    """
    if key == output_key(first_key, naming=naming):
        return output_key(document_key, naming=naming)
    extension = key.rpartition(".")[2]
    if key == output_key(first_key, extension=extension, naming=naming):
        return output_key(document_key, extension=extension, naming=naming)
    number = int(key.rpartition("/")[2].partition(".")[0])
    return output_key(document_key, page_index=number - 1, extension=extension, naming=naming)


def page_in_output(document_key: str, page_index: int, key: str) -> int:
    """Return a page's 0-based index in its output; an output that holds the whole document has all of its pages.

    The key alone tells, by any store's rules: the output of a single page is named by its number, in a folder that only
    its document uses.

    >>> page_in_output("c.pdf", 3, "pages/c.pdf"), page_in_output("b.tif", 3, "pages/b.tif/0004.avif")
    (3, 0)
    """
    *_, above, name = key.split("/")
    own = document_key.rpartition("/")[2]
    number = _PAGE_NAME.fullmatch(name)
    is_page = number is not None and int(number[1]) == page_index + 1 and (name != own or above == own)
    return 0 if is_page else page_index


def text_key(document_key: str, extension: str, *, page_index: int | None = None, naming: Naming = ORDINARY) -> str:
    """Return the key of a page's text, relative to DEST: below `text/`, as its document is below `pages/`.

    Args:
        document_key: The source's key, any text.
        extension: The text's extension without its first dot.
        page_index: 0-based number of the page, for a page of a multi-page document.
        naming: Names that the store can hold and distinguish.

    >>> text_key("letters/a.jpg", "alto.xml"), text_key("b.tif", "txt", page_index=1)
    ('text/letters/a.jpg.alto.xml', 'text/b.tif/0002.txt')
    """
    place = output_key(document_key, naming=naming).removeprefix("pages/")
    return f"text/{place}" + (f"/{page_index + 1:04d}" if page_index is not None else "") + f".{extension}"


def _file_name(name: str, naming: Naming) -> str:
    folded, mark = naming.folded(name)
    suffix = PurePosixPath(folded).suffix
    if not _is_document(folded):
        return _marked(_escaped(folded, naming) + "%%", mark)
    stem = folded[: -len(suffix)]
    if suffix in OUTPUT_SUFFIXES and _is_document(stem):
        return _marked(f"{_escaped(stem, naming)}%{suffix}", mark)
    return _marked(_escaped(stem, naming) + suffix, mark)


def _folder_name(name: str, naming: Naming) -> str:
    folded, mark = naming.folded(name)
    is_output = _is_document(folded) or PurePosixPath(folded).suffix in OUTPUT_SUFFIXES
    return _marked(_escaped(folded, naming, is_whole=not is_output) + ("%" if is_output else ""), mark)


def _marked(written: str, mark: str) -> str:
    """Put a mark before the first dot: Windows looks for device names there, and extensions stay intact."""
    before, dot, after = written.partition(".")
    return before + mark + dot + after


def _is_document(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in DOCUMENT_SUFFIXES


def _escaped(name: str, naming: Naming, *, is_whole: bool = False) -> str:
    """Escape each byte that a store or a shell might misinterpret as %XX; one-to-one.

    `is_whole` is True if nothing follows: some characters cannot end a name on some stores.
    """
    if name == "":
        return "%_"
    if name in (".", ".."):
        return naming.escaped(".") * len(name)
    if is_whole and not naming.holds_at_end(name[-1]):
        return _escaped(name[:-1], naming) * (len(name) > 1) + naming.escaped(name[-1])
    return "".join(_escaped_letter(letter, naming) for letter in name)


def _escaped_letter(letter: str, naming: Naming) -> str:
    point = ord(letter)
    is_control = point < 0x20 or 0x7F <= point < 0xA0
    # surrogates are not valid UTF-8, and `local_backend` maps these private-use code points to other bytes
    if letter in "%\\" or is_control or 0xD800 <= point < 0xE000 or 0xF780 <= point < 0xF800:
        return naming.escaped(letter)
    return letter if naming.holds(letter) else naming.escaped(letter)


def _shortened(name: str, written: Callable[[str, Naming], str], naming: Naming) -> str:
    whole = written(name, naming)
    if len(whole.encode()) <= naming.longest_name_bytes:
        return whole
    start = whole.encode()[: int(_CUT_NAME_SHARE * naming.longest_name_bytes)].decode(errors="ignore")
    if written is _folder_name:
        return f"{start}%~{_digest(name)}%"
    suffix = PurePosixPath(naming.folded(name)[0]).suffix
    return f"{start}%~{_digest(name)}{suffix if _is_document(name) else '%%'}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
