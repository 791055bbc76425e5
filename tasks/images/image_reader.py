"""Read image files with Pillow: headers first, then upright pages.

All decoding of source images by Pillow happens here. `tasks.codecs.jp2_tiles` decodes its own samples with it, and the
witness reads tags with it.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, TypeVar

import numpy as np
from PIL import AvifImagePlugin, Image, TiffImagePlugin, UnidentifiedImageError

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import LimitSettings
from foliopress.tasks.codecs import high_bit_depth, icc_profiles, jxl
from foliopress.tasks.errors import PageError
from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.images import image_frames, isobmff, metadata, reduced_copies, tiff_directories, tiff_ifd
from foliopress.tasks.work_budget import WorkBudget

# We apply our own size limit (LimitSettings) to the header before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

# Pillow decodes AVIF with a thread per core and reads no variable; there is a worker per core, so each allows one.
if os.environ.get("OMP_NUM_THREADS") == "1":
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP")
"""Pillow's names of the formats that are read, detected by content, not by extension. JPEG XL is read only if
Foliopress wrote it."""

_COMPARED_SIDE = 256  # pixels of a page that is compared with a thumbnail
_PLAUSIBLE_DPI = (50.0, 2400.0)
_SCREEN_DPI = 100.0  # tags of 72 or 96 dpi are mostly an unset default
_LARGEST_SCREEN_DPI_PAGE_INCH = 17.5  # the long side of A3, with some room
_LARGEST_DPI_RATIO = 4.0  # the coarsest fax has 204 dots an inch across and 98 down
_LOSSY_TIFF = frozenset({6, 7, 33003, 33005, 34712, 34892, 50001, 50002})  # JPEG, JPEG 2000, WebP, JPEG XL
_TIFF_G4 = 4  # tag Compression: CCITT T.6 (TIFF 6.0, section 11)
_MOST_SCANS = 200  # of a JPEG; encoders write 12 at most, and decoding each takes a pass over all pixels
_SRGB_GAMMA, _SRGB_RED = 0.45455, (0.64, 0.33)
_SRGB_PRIMARIES, _SRGB_TRANSFERS = frozenset({1, 2}), frozenset({1, 2, 6, 13, 14, 15})  # ITU-T H.273; 2 is unknown

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PageHeader:
    """Properties of a page, known before its pixels are decoded; sizes are those of the upright page.

    `is_lossy`: its encoding is lossy, as JPEG is, so that re-encoding loses more. `stored_bytes`: size of its image, if
    known separately from the rest of its document. `problem`: reason to keep it as it is, if known already. `parts`:
    images of a composed page that are re-encoded (numbers, in painting order). `is_g4`: it is CCITT G4, which a bitonal
    page becomes here as well. `left_out`: images of the document that get no page of their own because this page shows
    all of their content, e.g. `directory 2: a copy reduced to 1/2`.
    """

    page_index: int
    height_px: int
    width_px: int
    mode: str
    is_lossy: bool = False
    stored_bytes: int | None = None
    problem: PageError | None = None
    parts: tuple[int, ...] = ()
    is_g4: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class DocumentHeader:
    """Properties of a document, known before any pixel is decoded; `is_ours`: Foliopress wrote it."""

    format: str
    pages: tuple[PageHeader, ...]
    is_ours: bool = False


@dataclass(frozen=True)
class Page:
    """One upright page.

    `pixels` is uint8, (height, width) grey or (height, width, 3) RGB. `dpi` is the file's tag, of the coarser axis;
    None if it is missing or implausible. `pixel_aspect` is a pixel's height divided by its width: horizontal by
    vertical dots per inch. `icc` is the file's profile if it can be used. `exif` and `xmp` hold the source's metadata
    with an upright orientation. `quarter_turns` is the number of clockwise quarter turns that made the image upright;
    they are undone when it is stored.
    """

    pixels: np.ndarray
    is_bitonal: bool
    dpi: float | None
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None = None
    pixel_aspect: float = 1.0
    quarter_turns: int = 0

    def as_stored(self, pixels: np.ndarray) -> np.ndarray:
        """Return upright pixels in the document's orientation."""
        return np.ascontiguousarray(np.rot90(pixels, self.quarter_turns)) if self.quarter_turns else pixels

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels in the document's orientation upright."""
        return np.ascontiguousarray(np.rot90(pixels, -self.quarter_turns)) if self.quarter_turns else pixels


def read_header(data: bytes, limits: LimitSettings) -> DocumentHeader:
    """Return a document's format and the sizes of its pages, without decoding pixels.

    Raises:
        PageError: If the document cannot be opened (`failed`), or its kind or size means that it is kept whole.
    """
    header = _despite_broken_blocks(lambda readable: _read_header(readable, limits), data)
    held = image_frames.find_other_images(data, header.format)
    if held.others:
        message = f"the {header.format} holds more than one picture ({', '.join(held.others[:5])}); it is kept whole"
        raise PageError("many_frames", message)
    if held.left_out:
        first = replace(header.pages[0], left_out=(*header.pages[0].left_out, *held.left_out))
        header = replace(header, pages=(first, *header.pages[1:]))
    return header


def read_page(
    data: bytes, page_index: int, limits: LimitSettings, *, keep_deep: bool = False, only_pixels: bool = False
) -> Page:
    """Decode one page, upright.

    Args:
        data: The document.
        page_index: 0-based.
        limits: Limits for pages.
        keep_deep: Refuse pages of more than 8 bits a sample, which are rounded to 8 otherwise.
        only_pixels: Ignore the file's metadata on orientation, colours and resolution.

    Raises:
        PageError: If the page cannot be decoded (`failed`), or its content cannot be carried over (kept whole).
    """
    return _despite_broken_blocks(
        lambda readable: _read_page(readable, page_index, limits, keep_deep, only_pixels), data
    )


def to_srgb(page: Page) -> Page:
    """Return the page with its colours converted from its own profile to sRGB, and without a profile.

    A page without a profile, or with an unusable one, is returned unchanged.
    """
    if page.icc is None:
        return page
    image = Image.fromarray(page.pixels)
    is_grey = page.pixels.ndim == 2 and icc_profiles.space_of(page.icc) == "GRAY"
    converted = icc_profiles.to_srgb(image if is_grey else image.convert("RGB"), page.icc)
    return page if converted is None else replace(page, pixels=grey_if_grey(converted), icc=None)


def with_profile_for(page: Page, can_carry: Callable[[bytes], bool], largest_bytes: int) -> Page:
    """Return the page with a profile that its output can carry, or converted to sRGB.

    Args:
        page: The page.
        can_carry: Returns whether the output's format can hold a profile.
        largest_bytes: Larger profiles are replaced by a compact approximation.
    """
    if page.icc is not None and len(page.icc) > largest_bytes and (small := icc_profiles.compact_profile(page.icc)):
        page = replace(page, icc=small)
    if page.icc is not None and (len(page.icc) > largest_bytes or not can_carry(page.icc)):
        page = replace(to_srgb(page), icc=None)  # a profile that cannot convert is of no use to a reader
    return page


def with_document_profile(page: Page) -> Page:
    """Return the page without its profile, which its document keeps and which still applies to its pixels.

    A grey page with an RGB profile has only one value per pixel, which is converted to sRGB.
    """
    if page.icc is not None and page.pixels.ndim == 2 and icc_profiles.space_of(page.icc) == "RGB":
        page = to_srgb(page)
    return replace(page, icc=None)


def plausible_dpi(tagged: float | None, height_px: int, width_px: int) -> float | None:
    """Return the tag if it is plausible for a page of this size, else None.

    >>> plausible_dpi(300.0, 3508, 2480), plausible_dpi(72.0, 3508, 2480), plausible_dpi(None, 10, 10)
    (300.0, None, None)
    """
    if tagged is None or not _PLAUSIBLE_DPI[0] <= tagged <= _PLAUSIBLE_DPI[1]:
        return None
    if tagged < _SCREEN_DPI and max(height_px, width_px) / tagged > _LARGEST_SCREEN_DPI_PAGE_INCH:
        return None
    return tagged


def _despite_broken_blocks(read: Callable[[bytes], _Result], data: bytes) -> _Result:
    """Return the result of `read`; if it fails, retry without the metadata that the pixels do not need."""
    try:
        return read(data)
    except PageError as error:
        bare = metadata.bare(data) if error.failed else None
        if bare is None:
            raise
        try:
            return read(bare)
        except PageError:
            raise error from None


def _read_header(data: bytes, limits: LimitSettings) -> DocumentHeader:
    if _is_jxl(data):
        height_px, width_px = _jxl_size(data, limits)
        return DocumentHeader("JXL", (PageHeader(0, height_px, width_px, "RGB", is_lossy=True),), is_ours=True)
    with _opened(data) as image:
        if image.format != "TIFF" and getattr(image, "n_frames", 1) > 1:
            raise PageError("many_frames", f"a {image.format} of {getattr(image, 'n_frames', 0)} frames is kept whole")
        pages: list[PageHeader] = []
        is_ours = False
        sorting = _sorted(data, image, limits)
        starts = _tiff_starts(data, image)
        budget = WorkBudget(limits)
        for frame in _page_frames(image, sorting.left_out):
            budget.spend(1 + len(_tiff_tags(frame)))
            budget.look_at_clock()
            embedded = metadata.read_metadata(data, str(image.format), starts.get(frame.tell()), frame.info)
            height_px, width_px = _upright_size(frame, embedded)
            check_size(height_px, width_px, limits)
            is_g4 = _tiff_tags(frame).get(259) == _TIFF_G4
            left_out = sorting.notes.get(frame.tell(), ()) if frame.format == "TIFF" else _thumbnail(data, embedded)
            is_lossy = _is_lossy(data, frame)
            pages.append(
                PageHeader(len(pages), height_px, width_px, frame.mode, is_lossy, is_g4=is_g4, left_out=left_out)
            )
            is_ours = is_ours or (_has_our_form(frame) and metadata.is_marked(embedded.exif))
            if len(pages) > limits.max_document_pages:
                raise PageError(
                    "too_many_pages", f"more than the {limits.max_document_pages} pages of limits.max_document_pages"
                )
        if not pages:
            raise PageError("damaged", "the document holds no page", failed=True)
        return DocumentHeader(str(image.format), tuple(pages), is_ours)


def _read_page(data: bytes, page_index: int, limits: LimitSettings, keep_deep: bool, only_pixels: bool) -> Page:
    if _is_jxl(data):
        return _read_jxl(data, limits)
    with _opened(data) as image:
        frames = _page_frames(image, _sorted(data, image, limits).left_out)
        frame = next(islice(frames, page_index, None), None)
        if frame is None:
            raise PageError("damaged", f"the document has no page {page_index + 1}", failed=True)
        starts = _tiff_starts(data, image)
        embedded = metadata.EmbeddedMetadata()
        if not only_pixels:
            embedded = metadata.read_metadata(data, str(image.format), starts.get(frame.tell()), frame.info)
        height_px, width_px = _upright_size(frame, embedded)
        check_size(height_px, width_px, limits)
        bits = _bits(data, frame)
        if bits > 8 and keep_deep:
            raise PageError("high_bit_depth", f"{bits} bits a sample are kept whole (encode.deep_to_eight_bits)")
        _check_colours(frame, embedded)
        if frame.format == "JPEG2000":
            _check_components(data, frame)
        dpi, pixel_aspect = _resolution(frame, embedded, height_px, width_px)
        frame.load()
        if bits > 8:
            pixels, icc = _from_deep(data, frame, bits), embedded.icc
        else:
            is_narrow = frame.format == "JPEG2000" and bits < 8
            pixels, icc = _to_pixels(_scaled_to_255(frame, bits) if is_narrow else frame, embedded.icc)
        pixels = grey_if_grey(_turned(pixels, 1 if frame.format in ("TIFF", "JPEG2000") else embedded.orientation))
        return Page(
            pixels,
            frame.mode == "1",
            dpi,
            _usable_profile(icc, pixels),
            metadata.carried_exif(embedded),
            metadata.carried_xmp(embedded.xmp),
            pixel_aspect,
        )


def _is_jxl(data: bytes) -> bool:
    return data.startswith((jxl.START, isobmff.JXL_START))


def _jxl_size(data: bytes, limits: LimitSettings) -> tuple[int, int]:
    """Return (height_px, width_px) of a JPEG XL that Foliopress wrote; others may have features not checked here."""
    if not metadata.is_marked(isobmff.container_metadata(data).exif):
        raise PageError(
            "unsupported_format", "a JPEG XL not written by Foliopress is kept whole; it would hardly shrink"
        )
    try:
        height_px, width_px = jxl.size_of(data)
    except ValueError as error:
        raise PageError("damaged", f"cannot be decoded: {error}", failed=True) from error
    check_size(height_px, width_px, limits)
    return height_px, width_px


def _read_jxl(data: bytes, limits: LimitSettings) -> Page:
    height_px, width_px = _jxl_size(data, limits)
    embedded = metadata.read_metadata(data, "JXL", None, {})
    try:
        pixels = grey_if_grey(jxl.decoded(data))
    except ConfigError as error:
        raise PageError("unsupported_format", str(error)) from error
    except Exception as error:  # the library's own errors, none of which is public
        raise_if_host_error(error, "decoding a page")
        raise PageError("damaged", f"cannot be decoded: {type(error).__name__}: {error}", failed=True) from error
    dpi, pixel_aspect = likely_dpi([embedded.exif_dpi], height_px, width_px)
    exif = metadata.carried_exif(embedded)
    return Page(pixels, False, dpi, None, exif, metadata.carried_xmp(embedded.xmp), pixel_aspect)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open a file with Pillow; raise any error of a decoder as PageError."""
    if not data:
        raise PageError("empty", "the file has no bytes", failed=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            readable = metadata.strip_ancillary_chunks(data) if data[:8] == b"\x89PNG\r\n\x1a\n" else data
            with Image.open(io.BytesIO(readable), formats=FORMATS) as image:
                if image.format == "JPEG":
                    _check_scans(data)
                yield image
    except PageError:
        raise
    except UnidentifiedImageError as error:
        names = "JPEG, PNG, TIFF, WebP, JPEG 2000, AVIF or BMP"
        raise PageError("unreadable", f"the bytes are not a readable {names}", failed=True) from error
    except MemoryError as error:
        raise_if_host_error(error, "decoding a page")
        raise PageError("too_large", "the page does not fit into this machine's memory") from error
    except Exception as error:  # decoders raise almost anything: struct.error, KeyError, SyntaxError, OSError …
        raise_if_host_error(error, "decoding a page")
        raise PageError("damaged", f"cannot be decoded: {type(error).__name__}: {error}", failed=True) from error


def _check_scans(data: bytes) -> None:
    """Raise PageError (`too_complex`) if a JPEG has too many scans."""
    n_scans = data.count(b"\xff\xda")  # never inside entropy-coded data (T.81, B.1.1.5)
    if n_scans > _MOST_SCANS:
        raise PageError("too_complex", f"a JPEG of {n_scans} scans, more than {_MOST_SCANS}; it stays as it is")


def _page_frames(image: Image.Image, left_out: Collection[int]) -> Iterator[Image.Image]:
    """Yield the frames that are pages."""
    if image.format != "TIFF":
        yield image
        return
    for number in count():
        if number in left_out:
            continue
        try:
            image.seek(number)
        except EOFError:
            return
        yield image


def _sorted(data: bytes, image: Image.Image, limits: LimitSettings) -> tiff_directories.PageDirectories:
    """Return the frames of a TIFF that are no pages."""
    if image.format != "TIFF":
        return tiff_directories.PageDirectories()
    return tiff_directories.find_page_directories(data, limits, decoded_luma)


def _thumbnail(data: bytes, embedded: metadata.EmbeddedMetadata) -> tuple[str, ...]:
    """Return a description of the thumbnail in a file's EXIF; empty without one.

    Raises:
        PageError: If it clearly shows something other than the page (`many_frames`).
    """
    stored = image_frames.exif_thumbnail(embedded.exif)
    if stored is None:
        return ()
    try:
        thumbnail, page = decoded_luma(stored), decoded_luma(data, _COMPARED_SIDE)
    except PageError:
        return ("a thumbnail in EXIF",)  # broken, or the page is, which reading the page will show
    if reduced_copies.shows_another_picture(thumbnail, page):
        message = "the thumbnail in EXIF shows another image than the page; the document is kept whole"
        raise PageError("many_frames", message)
    return (f"a thumbnail in EXIF of {thumbnail.shape[0]} x {thumbnail.shape[1]} pixels",)


def decoded_luma(data: bytes, least_side: int | None = None) -> np.ndarray:
    """Return an image file's first image as (height, width) uint8 luma, for comparison.

    Args:
        data: The file.
        least_side: Least pixels of each side; a JPEG is decoded at the smallest sufficient scale.

    Raises:
        PageError: If it cannot be decoded.
    """
    with _opened(data) as image:
        if least_side is not None:
            image.draft("L", (least_side, least_side))
        image.load()
        if image.mode.startswith("I;16"):
            return high_bit_depth.to_eight_bits(np.array(image).astype(np.uint16), max(9, min(16, _bits(data, image))))
        return np.array((image if image.mode in ("1", "L") else image.convert("RGB")).convert("L"))


def _tiff_starts(data: bytes, image: Image.Image) -> dict[int, int]:
    """Return the offset of each TIFF frame's directory."""
    return dict(enumerate(tiff_ifd.starts(data))) if image.format == "TIFF" else {}


def _tiff_tags(image: Image.Image) -> dict[int, Any]:
    tags: dict[int, Any] = getattr(image, "tag_v2", {})
    return tags


def check_size(height_px: int, width_px: int, limits: LimitSettings) -> None:
    """Raise PageError if a page has too many pixels (`too_large`) or none (`damaged`, `failed`)."""
    if min(height_px, width_px) < 1:
        raise PageError("damaged", f"{height_px} x {width_px} pixels are no page", failed=True)
    if height_px * width_px > limits.max_page_pixels:
        message = f"{height_px} x {width_px} pixels; limits.max_page_pixels allows {limits.max_page_pixels}"
        raise PageError("too_large", message)


def _upright_size(image: Image.Image, embedded: metadata.EmbeddedMetadata) -> tuple[int, int]:
    """Return (height_px, width_px) of the upright page; orientations 5 to 8 turn it on its side."""
    width_px, height_px = image.size
    is_turned = image.format == "JPEG2000" or (image.format == "TIFF" and 0x0112 in _tiff_tags(image))
    return (width_px, height_px) if embedded.orientation >= 5 and not is_turned else (height_px, width_px)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a page stored in an EXIF orientation, 1 to 8, upright (EXIF 2.32, 4.6.4)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flips_rows, flips_cols = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flips_rows else 1, :: -1 if flips_cols else 1])


def _has_our_form(image: Image.Image) -> bool:
    """Return whether a file is of a kind that we write; another program may have copied our mark into its own file."""
    is_ours = {"TIFF": _tiff_tags(image).get(259) in (4, 7), "JPEG": True, "WEBP": True, "AVIF": True, "JPEG2000": True}
    return is_ours.get(str(image.format), False)


def _is_lossy(data: bytes, image: Image.Image) -> bool:
    if image.format == "TIFF":
        return _tiff_tags(image).get(259) in _LOSSY_TIFF
    if image.format == "WEBP":
        return b"VP8 " in _riff_chunks(data)
    if image.format == "JPEG2000":
        found = isobmff.jp2_codestream(data)
        return found is None or not found[1]
    return image.format in ("JPEG", "AVIF")


def _riff_chunks(data: bytes) -> set[bytes]:
    """Return the types of a WebP's chunks (RFC 9649, 2.3)."""
    kinds, at = set(), 12
    while at + 8 <= len(data):
        kinds.add(data[at : at + 4])
        at += 8 + (struct.unpack_from("<I", data, at + 4)[0] + 1) // 2 * 2
    return kinds


def _resolution(
    image: Image.Image, embedded: metadata.EmbeddedMetadata, height_px: int, width_px: int
) -> tuple[float | None, float]:
    """Return the upright page's dots per inch of the coarser axis, and its pixel aspect."""
    tagged: tuple[float, float] | None = None
    is_ratio = _tiff_tags(image).get(296) == 1  # TIFF ResolutionUnit 1: an aspect ratio, not a length
    is_invented = image.format == "JPEG" and not image.info.get("jfif_unit")  # Pillow's default of 72 dpi
    if not is_ratio and not is_invented:
        try:
            across, down = (float(axis) for axis in image.info["dpi"])
            tagged = down, across
        except Exception:  # ignore a broken tag
            tagged = None
    axes = [tagged, embedded.exif_dpi]
    if embedded.orientation >= 5:
        axes = [(pair[1], pair[0]) if pair else None for pair in axes]
    return likely_dpi(axes, height_px, width_px)


def likely_dpi(axes: list[tuple[float, float] | None], height_px: int, width_px: int) -> tuple[float | None, float]:
    """Return the first plausible of several (vertical, horizontal) dpi, as dpi of the coarser axis and pixel aspect."""
    for pair in axes:
        if pair and min(pair) > 0 and (dpi := plausible_dpi(min(pair), height_px, width_px)):
            ratio = pair[1] / pair[0]
            return dpi, ratio if 1 / _LARGEST_DPI_RATIO <= ratio <= _LARGEST_DPI_RATIO else 1.0
    return None, 1.0


def _bits(data: bytes, image: Image.Image) -> int:
    """Return the most bits per sample in the file; Pillow silently truncates colour samples to 8."""
    if image.format == "TIFF":
        return max(_numbers(_tiff_tags(image).get(TiffImagePlugin.BITSPERSAMPLE, 8)))
    if image.format == "PNG" and len(data) > 24:
        return data[24]
    if image.format == "JPEG2000":
        return (isobmff.jp2_codestream(data) or (8, False))[0]
    if image.format == "AVIF":
        at = data.find(b"pixi")  # box: version and flags (4), channels (1), bits of each (ISO 23008-12, 6.5.6)
        return data[at + 9] if 0 <= at < len(data) - 9 else 8
    return 8


def _numbers(value: object) -> list[int]:
    return [int(number) for number in value] if isinstance(value, tuple) else [int(str(value))]


def _check_colours(image: Image.Image, embedded: metadata.EmbeddedMetadata) -> None:
    """Raise PageError if tags other than a profile say that the colours are not sRGB."""
    if embedded.icc or image.mode == "1":
        return
    gamma, chromaticity = image.info.get("gamma"), image.info.get("chromaticity")
    is_other = embedded.cicp is not None and not (
        embedded.cicp[0] in _SRGB_PRIMARIES and embedded.cicp[1] in _SRGB_TRANSFERS
    )
    is_other = is_other or (embedded.jp2_colours is not None and embedded.jp2_colours not in isobmff.PLAIN_COLOURS)
    if "srgb" not in image.info and image.format == "PNG":
        is_other = is_other or (gamma is not None and abs(gamma - _SRGB_GAMMA) > 0.02)
        is_other = is_other or (chromaticity is not None and _far(chromaticity[2:4], _SRGB_RED))
    if is_other:
        raise PageError("colour_space", "the colours are not sRGB and have no profile; the page is kept whole")


def _check_components(data: bytes, image: Image.Image) -> None:
    """Raise PageError if Pillow decodes a JPEG 2000's components wrongly."""
    components = isobmff.jp2_components(data)
    n_colours = isobmff.jp2_palette_colours(data)
    problem = None
    if len(set(components)) > 1:
        problem = "components of different depths, or only some of them signed, are kept whole"
    elif n_colours is not None:
        palette = image.palette if image.mode in ("P", "PA") else None  # Pillow ignores it with some colour spaces
        if palette is None or len(palette.colors) != n_colours or any(one.bits != 8 for one in components):
            problem = "a palette of few bits, or with a repeated colour, is kept whole"
    if problem:
        raise PageError("unsupported_mode", problem)


def _scaled_to_255(image: Image.Image, bits: int) -> Image.Image:
    """Return a loaded JPEG 2000 of few bits scaled to 255; Pillow only shifts its samples."""
    table = [round((level >> (8 - bits)) * 255 / (2**bits - 1)) for level in range(256)]
    return image.point(table * len(image.getbands()))


def _far(found: tuple[float, ...], usual: tuple[float, ...]) -> bool:
    return any(abs(a - b) > 0.02 for a, b in zip(found, usual, strict=True))


def _from_deep(data: bytes, image: Image.Image, bits: int) -> np.ndarray:
    """Return a loaded page of more than 8 bits a sample, rounded to 8; raise PageError if that would lose content."""
    if "transparency" in image.info:
        raise PageError("transparency", "the page is partly transparent and is kept whole")
    samples: np.ndarray | None = None
    if image.mode.startswith("I;16"):
        samples = np.array(image).astype(np.uint16)
        if image.format == "JPEG2000":  # Pillow scales them to 16 bits
            bits = min(16, bits)
            samples >>= np.uint16(16 - bits)
        elif image.format != "TIFF":
            bits = 16
        if _tiff_tags(image).get(262) == 0:  # white is zero
            samples = np.uint16(2**bits - 1) - samples
    elif image.mode in ("RGB", "RGBA") and image.format != "AVIF":
        samples = high_bit_depth.read_full_depth(data, image.tell() if image.format == "TIFF" else 0)
        shown = np.array(image)
        if samples is not None and not high_bit_depth.agree(samples, shown, bits):
            samples = None  # the two decoders disagree
    if samples is None:
        raise PageError("high_bit_depth", f"{bits} bits a sample in mode {image.mode} are kept whole")
    if samples.ndim == 3 and samples.shape[2] == 4 and (samples[..., 3] != 2**bits - 1).any():
        raise PageError("transparency", "the page is partly transparent and is kept whole")
    samples = samples[..., :3] if samples.ndim == 3 else samples
    if not high_bit_depth.fills_range(samples, bits):
        raise PageError("high_bit_depth", f"the values use too little of their {bits} bits; rounding would lose them")
    return high_bit_depth.to_eight_bits(samples, bits)


def _to_pixels(image: Image.Image, icc: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """Return a loaded page as uint8 (H, W) or (H, W, 3), and its profile if that still applies.

    Raises:
        PageError: If the mode cannot be converted without loss.
    """
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.array(image.convert("L")), icc
    if image.mode in ("La", "RGBa"):  # colours multiplied by their alpha
        image = image.convert(image.mode.upper())
    if image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
        if (rgba[..., 3] != 255).any():
            raise PageError("transparency", "the page is partly transparent and is kept whole")
        return rgba[..., :3], icc
    if image.mode == "RGB":
        return np.array(image), icc
    converted = None
    if image.mode == "CMYK" and icc and (image.format != "JPEG" or "adobe" in image.info):
        # a JPEG without Adobe's marker does not tell whether its inks are inverted
        converted = icc_profiles.to_srgb(image, icc)
    elif image.mode == "LAB" and 318 not in _tiff_tags(image):  # tag 318: a non-standard white point
        converted = icc_profiles.to_srgb(image)
    if converted is None:
        message = (
            f"pixels of mode {image.mode} are kept whole; grey, palette, RGB, Lab and CMYK with a profile are read"
        )
        raise PageError("unsupported_mode", message)
    return converted, None


def _usable_profile(icc: bytes | None, pixels: np.ndarray) -> bytes | None:
    """Return a profile if it can be used for such pixels, else None; grey pixels may have an RGB profile."""
    spaces = ("RGB", "GRAY") if pixels.ndim == 2 else ("RGB",)
    return icc if icc and icc_profiles.space_of(icc) in spaces else None


def grey_if_grey(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) if the three channels are equal everywhere, else the pixels, contiguous."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)
    red = pixels[..., 0]
    if np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]):
        return np.ascontiguousarray(red)
    return np.ascontiguousarray(pixels)
