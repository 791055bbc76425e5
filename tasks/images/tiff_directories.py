"""Tell the pages of a TIFF from reduced copies and masks.

Some writers wrongly mark pages as reduced copies, so the mark alone is not enough: a directory is left out if it is
marked and its pixels show that a page has all of its content. An unmarked directory is a page.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import reduced_copies, tiff_ifd
from foliopress.tasks.work_budget import WorkBudget

_NEW_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _INSIDE = 254, 255, 256, 257, 258, 262, 330
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType (TIFF 6.0, section 8)
_OLD_REDUCED = 2  # value of SubfileType (the same)
_MASK_PHOTOMETRIC, _BLACK_IS_ZERO = 4, 1
_DIRECTORIES_PER_PAGE = 20
"""Most directories per page that a document may have."""
_MOST_SUB_DIRECTORIES = 1_000
_DOCUMENTS_KNOWN = 8
_READS_OF_EACH = 7  # of a directory's tags

Decode = Callable[[bytes], np.ndarray]
"""Returns the first image of a TIFF, upright, as (height, width) uint8 luma; raises PageError."""


@dataclass(frozen=True)
class PageDirectories:
    """Directories that are no pages, numbered from 0, and for each page descriptions of those left out for it."""

    left_out: frozenset[int] = frozenset()
    notes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Directory:
    number: int
    at: int
    size_px: tuple[int, int]
    is_reduced: bool
    is_mask: bool
    photometric: int

    @property
    def n_pixels(self) -> int:
        return self.size_px[0] * self.size_px[1]


_known: OrderedDict[bytes, PageDirectories] = OrderedDict()  # reading each page of a document asks again


def find_page_directories(data: bytes, limits: LimitSettings, decode: Decode) -> PageDirectories:
    """Return the directories of a TIFF that are no pages.

    Nothing is decoded unless a directory is marked or has sub-directories.

    Args:
        data: A TIFF.
        limits: Limits for documents.
        decode: Decodes a TIFF's first image.

    Raises:
        PageError: If a mask hides something (`transparency`), a sub-image of a page is no reduced copy of it
            (`many_frames`), or there are too many directories (`too_many_pages`) or tags (`too_complex`).
    """
    most = limits.max_document_pages
    found: list[_Directory] = []
    budget = WorkBudget(limits)
    for number, at in enumerate(tiff_ifd.starts(data)):
        if number >= most * _DIRECTORIES_PER_PAGE:
            raise PageError("too_many_pages", f"more directories than {most} pages of limits.max_document_pages have")
        budget.spend(_READS_OF_EACH * (1 + tiff_ifd.count_tags(data, at)))
        found.append(_directory(data, number, at))
    inside = {directory.number: subs for directory in found if (subs := list(_inside(data, directory, budget)))}
    if not inside and (len(found) < 2 or not any(one.is_reduced or one.is_mask for one in found)):
        return PageDirectories()
    key = hashlib.blake2b(data, digest_size=32).digest()
    if key not in _known:
        _known[key] = _Sorter(data, found, inside, limits, decode).sorted()
        while len(_known) > _DOCUMENTS_KNOWN:
            _known.popitem(last=False)
    return _known.get(key) or PageDirectories()


class _Sorter:
    """Sorts the directories of one TIFF; caches the two images decoded last."""

    def __init__(
        self,
        data: bytes,
        found: list[_Directory],
        inside: Mapping[int, list[_Directory]],
        limits: LimitSettings,
        decode: Decode,
    ) -> None:
        self._data, self._found, self._inside, self._limits, self._decode = data, found, inside, limits, decode
        self._luma = lru_cache(maxsize=2)(self._decoded)
        self._pages: dict[int, int] = {}
        self._notes: dict[int, list[tuple[int, str]]] = {}

    def sorted(self) -> PageDirectories:
        reduced = [one for one in self._found if one.is_reduced and not one.is_mask]
        for one in sorted(reduced, key=lambda one: -one.n_pixels):  # a copy of a copy is a copy of its page
            page = next((page for page in self._neighbours(one) if self._is_copy(one, page)), None)
            if page is not None:
                self._leave_out(one.number, page.number, f"directory {one.number + 1}: {_told(one, page)}")
        for one in self._found:
            if one.is_mask:
                self._judge_mask(one)
        for number, subs in self._inside.items():
            self._judge_inside(self._found[number], subs)
        notes = {page: tuple(text for _, text in sorted(texts)) for page, texts in self._notes.items()}
        return PageDirectories(frozenset(self._pages), notes)

    def _leave_out(self, number: int, page: int, text: str) -> None:
        self._pages[number] = page
        self._note(number, page, text)

    def _note(self, number: int, page: int, text: str) -> None:
        self._notes.setdefault(page, []).append((number, text))

    def _around(self, number: int) -> tuple[list[_Directory], list[_Directory]]:
        """Return the directories before one, the nearest first, and those after it."""
        return self._found[:number][::-1], self._found[number + 1 :]

    def _neighbours(self, one: _Directory) -> Iterator[_Directory]:
        """Yield the pages before and after a marked directory, skipping masks and smaller marked directories."""
        for side in self._around(one.number):
            for other in side:
                is_smaller = other.is_reduced and other.n_pixels < one.n_pixels
                if not (other.number in self._pages or other.is_mask or is_smaller):
                    yield other
                    break

    def _is_copy(self, one: _Directory, page: _Directory) -> bool:
        if not reduced_copies.has_reduced_size(one.size_px, page.size_px):
            return False
        small, large = self._luma(one), self._luma(page)
        return small is not None and large is not None and reduced_copies.is_copy(small, large)

    def _judge_mask(self, mask: _Directory) -> None:
        owner = next(self._of_its_size(mask), None)
        luma = self._luma(mask)
        if owner is not None and luma is not None and bool((luma == 255).all()):
            page = self._pages.get(owner.number, owner.number)
            text = (
                f"directory {mask.number + 1}: a transparency mask of directory {owner.number + 1} that hides nothing"
            )
            self._leave_out(mask.number, page, text)
        elif mask.photometric == _MASK_PHOTOMETRIC or (owner is not None and luma is not None):
            message = f"directory {mask.number + 1} is a transparency mask; the document is kept whole"
            raise PageError("transparency", message)

    def _of_its_size(self, mask: _Directory) -> Iterator[_Directory]:
        """Yield the images of a mask's size near it, up to the next page on either side."""
        for side in self._around(mask.number):
            for other in side:
                if not other.is_mask and other.size_px == mask.size_px:
                    yield other
                if not other.is_mask and other.number not in self._pages:
                    break

    def _judge_inside(self, parent: _Directory, subs: list[_Directory]) -> None:
        page = self._pages.get(parent.number, parent.number)
        for number, one in enumerate(subs):
            if not self._is_copy(one, parent):
                message = (
                    f"directory {parent.number + 1} has an image of {one.size_px[0]} x {one.size_px[1]} pixels"
                    " (SubIFDs) that is no reduced copy of it; the document is kept whole"
                )
                raise PageError("many_frames", message)
            text = f"image {number + 1} inside directory {parent.number + 1}: {_told(one, parent)}"
            self._note(parent.number, page, text)

    def _decoded(self, directory: _Directory) -> np.ndarray | None:
        if not 0 < directory.n_pixels <= self._limits.max_page_pixels:
            return None
        try:
            data = tiff_ifd.starting_at(self._data, directory.at)
            if directory.is_mask:
                data = tiff_ifd.with_short(data, directory.at, _PHOTOMETRIC, _BLACK_IS_ZERO)
            return self._decode(data)
        except PageError:
            return None


def _directory(data: bytes, number: int, at: int) -> _Directory:
    def first(tag: int, default: int) -> int:
        return next(iter(tiff_ifd.integers(data, at, tag)), default)

    mark, photometric = first(_NEW_SUBFILE, 0), first(_PHOTOMETRIC, -1)
    is_mask = photometric == _MASK_PHOTOMETRIC or bool(mark & _MASK and first(_BITS, 1) == 1)
    is_reduced = bool(mark & _REDUCED) or first(_OLD_SUBFILE, 0) == _OLD_REDUCED
    return _Directory(number, at, (first(_HEIGHT, 0), first(_WIDTH, 0)), is_reduced, is_mask, photometric)


def _inside(data: bytes, parent: _Directory, budget: WorkBudget) -> Iterator[_Directory]:
    """Yield the sub-directories of a directory (SubIFDs), their own sub-directories, and those that follow them."""
    waiting, seen = list(tiff_ifd.integers(data, parent.at, _INSIDE)), {0, parent.at}
    while waiting and len(seen) < _MOST_SUB_DIRECTORIES:
        at = waiting.pop(0)
        budget.spend(_READS_OF_EACH * (1 + tiff_ifd.count_tags(data, at)))
        found = _directory(data, parent.number, at) if at not in seen else None
        seen.add(at)
        if found is not None and found.n_pixels:
            yield found
            waiting += [*tiff_ifd.integers(data, at, _INSIDE), tiff_ifd.next_start(data, at)]


def _told(one: _Directory, page: _Directory) -> str:
    ratio = max(page.size_px) / max(one.size_px)
    is_whole = abs(ratio - round(ratio)) <= 0.02 * ratio
    return f"a copy reduced to {f'1/{round(ratio)}' if is_whole else f'{1 / ratio:.0%}'}"
