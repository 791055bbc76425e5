"""Decode the images of a PDF as their dictionaries define them, including `/Decode` and the palette.

Colours stay in the document's colour space: an ICC profile is returned with them, a calibrated space is not converted.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pikepdf
from pikepdf import Dictionary, Name

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.codecs import icc_profiles
from foliopress.tasks.errors import PageError
from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.images import image_reader, isobmff
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.pdf.bounded_reading import (
    MAX_PART_BYTES,
    apply_filters,
    decoded_stream,
    error_text,
    filters_of,
    parameters_of,
)

_CODED = frozenset(("/DCTDecode", "/JPXDecode", "/CCITTFaxDecode", "/JBIG2Decode"))
_PACKED = frozenset(("/FlateDecode", "/LZWDecode", "/ASCII85Decode", "/ASCIIHexDecode", "/RunLengthDecode"))
_RAW_BITS = (1, 2, 4, 8, 16)
_ADOBE, _JFIF, _SCAN = 0xEE, 0xE0, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 (T.81, table B.1)
_LARGEST_PIXEL_BYTES = 8  # four samples of 16 bits
_SAME_WHITE = 0.01  # tolerance between the sum of a calibrated space's primaries and its white point


@dataclass(frozen=True)
class _Coded:
    """An image's stream, decoded down to its last filter.

    parameters: Decode parameters of that filter. size_px: Height and width from the dictionary.
    """

    stream: pikepdf.Stream
    data: bytes
    coding: str
    parameters: Any
    size_px: tuple[int, int]


def read_image(
    document: pikepdf.Pdf, image: pdf_reader.PlacedImage, limits: LimitSettings, *, keep_deep: bool = False
) -> Page:
    """Return an image's colours as an unrotated page.

    `is_bitonal` is True if a one-bit image paints pure black and pure white. `icc` is the document's profile of the
    colours, if usable. The image's mask is ignored.

    Args:
        document: Document with the image.
        image: Image with known colours.
        limits: Size and time limits.
        keep_deep: Refuse more than 8 bits per sample instead of rounding them to 8.

    Raises:
        PageError: If the image cannot be decoded (`failed` if a JPEG or JPEG 2000 is damaged), or its kind is not
            supported.
    """
    image_reader.check_size(image.height_px, image.width_px, limits)
    try:
        coded = _coded(pdf_reader.stream_of(document, image), (image.height_px, image.width_px))
        return _read(coded, limits, keep_deep)
    except PageError:
        raise
    except MemoryError as error:
        raise_if_host_error(error, "decoding an image of a PDF")
        raise PageError("too_large", "an image of the PDF does not fit into this machine's memory") from error
    except Exception as error:  # qpdf, Pillow and pdfium raise almost anything for invalid data
        raise_if_host_error(error, "decoding an image of a PDF")
        raise _unread(f"cannot be extracted: {error_text(error)}") from error


def _unread(why: str) -> PageError:
    return PageError("unsupported_mode", f"an image of the PDF {why}; it stays as it is")


def _read(coded: _Coded, limits: LimitSettings, keep_deep: bool) -> Page:
    space: Any = coded.stream.get("/ColorSpace")
    _check_space(space)
    decode = coded.stream.get("/Decode")
    match coded.coding:
        case "/JPXDecode":
            _check_ignored(decode, space, _jpx_components(coded.data))
            if _depth(coded) < 8 and pdf_reader.family_of(space) != "/Indexed":
                raise _unread("is a JPEG 2000 with fewer than 8 bits, which viewers show in different tones")
            if space is None:
                return _file_of_its_own(coded, limits, keep_deep)
            return _painted(*_jpeg_2000(coded, limits, keep_deep, space), None, space)
        case "/DCTDecode":
            return _painted(_jpeg(coded, limits), 8, decode, space)
        case "/CCITTFaxDecode":
            return _painted(_ccitt(coded, limits), 1, decode, space)
        case "/JBIG2Decode":
            return _painted(_jbig2(coded), 1, decode, space)
    bits = int(coded.stream.get("/BitsPerComponent", 8))
    if bits > 8 and keep_deep:
        raise PageError("high_bit_depth", f"{bits} bits per sample are kept unchanged (encode.deep_to_eight_bits)")
    return _painted(_unpacked(coded, bits, _n_samples(space)), bits, decode, space)


def _coded(stream: pikepdf.Stream, size_px: tuple[int, int]) -> _Coded:
    """Decode a stream's filters except for a final image codec."""
    if "/F" in stream:
        raise _unread("is stored in another file")
    names = filters_of(stream)
    parameters = parameters_of(stream, len(names))
    coding = names[-1] if names and names[-1] in _CODED else ""
    simple = names[:-1] if coding else names
    if any(name not in _PACKED for name in simple):
        raise _unread(f"is encoded with {' and '.join(names)}")
    data = bytes(stream.read_raw_bytes())
    if simple:
        most_bytes = _LARGEST_PIXEL_BYTES * size_px[0] * size_px[1] + MAX_PART_BYTES
        data = apply_filters(data, simple, parameters[: len(simple)], most_bytes)
    held = parameters[len(names) - 1] if coding else None
    return _Coded(stream, data, coding, held if isinstance(held, Dictionary) else Dictionary(), size_px)


def _n_samples(space: Any) -> int:
    return 1 if pdf_reader.family_of(space) == "/Indexed" else pdf_reader.channels_of(space)


def _check_space(space: Any) -> None:
    """Raise if equal calibrated RGB values are tinted, or an ICC profile has other channels, such as Lab."""
    base = space[1] if space is not None and pdf_reader.family_of(space) == "/Indexed" else space
    family = pdf_reader.family_of(base)
    if family == "/CalRGB" and not _is_neutral(base[1]):
        raise PageError("colour_space", "equal values of the image's calibrated RGB are not grey; it stays as it is")
    if family == "/ICCBased":
        found = icc_profiles.space_of(decoded_stream(base[1]))
        if found not in ("", "RGB", "GRAY", "CMYK"):  # a profile with another number of channels: viewers ignore it
            raise PageError("colour_space", f"the image's profile is of {found} colours; it stays as it is")


def _is_neutral(calibrated: Any) -> bool:
    """Return whether equal values of a calibrated RGB space are neutral grey (ISO 32000-1, 8.6.5.3)."""
    gamma = [float(value) for value in calibrated.get("/Gamma", (1, 1, 1))]
    matrix = [float(value) for value in calibrated.get("/Matrix", (1, 0, 0, 0, 1, 0, 0, 0, 1))]
    white = [float(value) for value in calibrated.WhitePoint]
    sums = [sum(matrix[axis::3]) for axis in range(3)]
    is_white = all(abs(one - other) <= _SAME_WHITE for one, other in zip(sums, white, strict=True))
    return is_white and max(gamma) - min(gamma) <= _SAME_WHITE


def _painted(values: np.ndarray, bits: int, decode: Any, space: Any) -> Page:
    """Return the colours of samples, (height, width) or (height, width, n) of 0 to 2^bits - 1."""
    n_samples = 1 if values.ndim == 2 else values.shape[2]
    if n_samples != _n_samples(space):
        raise _unread(f"has {n_samples} values per pixel, its colour space {_n_samples(space)}")
    tables = _tables(values, bits, decode, space)
    is_bitonal = bits == 1 and n_samples == 1 and sorted(map(tuple, tables[0].tolist())) in _BLACK_AND_WHITE
    if n_samples == 1:
        is_grey = bool((tables[0] == tables[0][:, :1]).all())
        planes = [_looked_up(values, tables[0][:, n]) for n in range(1 if is_grey else tables[0].shape[1])]
    elif all(_is_identity(table[:, 0]) for table in tables):
        planes = [values]
    else:
        planes = [_looked_up(values[..., n], table[:, 0]) for n, table in enumerate(tables)]
    pixels = planes[0] if len(planes) == 1 else np.dstack(planes)
    return Page(image_reader.grey_if_grey(pixels), is_bitonal, None, _profile(space), None)


_BLACK_AND_WHITE = ([(0,), (255,)], [(0, 0, 0), (255, 255, 255)])


def _is_identity(table: np.ndarray) -> bool:
    return len(table) == 256 and bool((table == np.arange(256)).all())


def _looked_up(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look up each value in a table of 2^bits levels: (height, width) uint8."""
    if len(table) > 256:
        return np.asarray(table[values])
    if _is_identity(table):
        return values
    return cv2.LUT(values, np.pad(table, (0, 256 - len(table))))


def _tables(values: np.ndarray, bits: int, decode: Any, space: Any) -> list[np.ndarray]:
    """Return a lookup table for each sample of a pixel: (2^bits, 1 or 3) uint8, 3 for an RGB palette.

    Raises:
        PageError: If values exceed the palette, or `/Decode` maps into a space that viewers handle differently.
    """
    most, n_samples = 2**bits - 1, 1 if values.ndim == 2 else values.shape[2]
    family = pdf_reader.family_of(space)
    is_palette = family == "/Indexed"
    usual = [0.0, float(most if is_palette else 1)] * n_samples
    ends = usual if decode is None else [float(value) for value in decode][: 2 * n_samples]
    if len(ends) < len(usual):
        raise _unread(f"has a /Decode with {len(ends)} numbers")
    is_past = min(ends) < 0 or max(ends) > max(usual)
    if ends != usual and (family == "/CalRGB" or (is_past and family not in _PLAIN)):
        raise _unread("has a /Decode that viewers interpret differently")
    steps = np.arange(most + 1) / most
    levels = [low + steps * (high - low) for low, high in zip(ends[::2], ends[1::2], strict=True)]
    if not is_palette:
        return [np.rint(255 * level.clip(0, 1)).astype(np.uint8)[:, np.newaxis] for level in levels]
    palette, places = _palette(space), np.rint(levels[0]).astype(int)
    if int(places.max()) >= len(palette) and int(places[np.unique(values)].max()) >= len(palette):
        raise _unread("has values past the end of its palette")
    return [palette[places.clip(0, len(palette) - 1)]]


_PLAIN = ("/DeviceGray", "/DeviceRGB", "/ICCBased")


def _check_ignored(decode: Any, space: Any, n_components: int) -> None:
    """Raise if a JPEG 2000 has a `/Decode`: the standard ignores it (ISO 32000-1, 7.4.9), but viewers apply it.

    pdfium ignores it for device RGB only.
    """
    if decode is None or (n_components == 3 and (space is None or pdf_reader.family_of(space) == "/DeviceRGB")):
        return
    ends = [float(value) for value in decode]
    bits_or_one = (
        {0.0, 1.0} if pdf_reader.family_of(space) != "/Indexed" else {0.0, *(2.0**bits - 1 for bits in range(1, 9))}
    )
    if not (set(ends[::2]) == {0.0} and set(ends[1::2]) <= bits_or_one - {0.0}):
        raise _unread("is a JPEG 2000 with a /Decode, which viewers interpret differently")


def _palette(space: Any) -> np.ndarray:
    """Return the colours of an /Indexed space, (n, 1 or 3) uint8."""
    n_colours, n_values, held = int(space[2]) + 1, pdf_reader.channels_of(space[1]), space[3]
    data = decoded_stream(held) if isinstance(held, pikepdf.Stream) else bytes(held)
    if len(data) < n_colours * n_values:
        raise _unread("has a palette with fewer colours than declared")
    return np.frombuffer(data, np.uint8)[: n_colours * n_values].reshape(n_colours, n_values)


def _profile(space: Any) -> bytes | None:
    """Return the ICC profile of a space or of its palette's base, if the channel counts match."""
    base = space[1] if pdf_reader.family_of(space) == "/Indexed" else space
    if pdf_reader.family_of(base) != "/ICCBased":
        return None
    icc = decoded_stream(base[1])
    return icc if icc_profiles.space_of(icc) == {1: "GRAY", 3: "RGB"}[pdf_reader.channels_of(base)] else None


def _unpacked(coded: _Coded, bits: int, n_samples: int) -> np.ndarray:
    """Return the samples of an uncompressed image: byte-aligned rows; missing samples are 0, as in pdfium."""
    if bits not in _RAW_BITS:
        raise _unread(f"has {bits} bits per sample")
    height_px, width_px = coded.size_px
    in_row = width_px * n_samples
    row_bytes = (in_row * bits + 7) // 8
    data = coded.data[: height_px * row_bytes].ljust(height_px * row_bytes, b"\0")
    rows = np.frombuffer(data, np.uint8).reshape(height_px, row_bytes)
    if bits == 16:
        rows = rows.view(">u2").astype(np.uint16)
    elif bits == 1:
        rows = np.unpackbits(rows, axis=1)
    elif bits < 8:
        places = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        rows = ((rows[..., np.newaxis] >> places) & (2**bits - 1)).reshape(height_px, -1)
    values = rows[:, :in_row]
    return values if n_samples == 1 else values.reshape(height_px, width_px, n_samples)


def _jpeg(coded: _Coded, limits: LimitSettings) -> np.ndarray:
    """Return the components of a JPEG after the colour transform that file and dictionary require."""
    frame = _frame(coded.data)
    if (frame.height_px, frame.width_px) != coded.size_px or frame.bits != 8:
        message = f"is a JPEG of {frame.height_px} x {frame.width_px} pixels with {frame.bits} bits"
        raise _unread(f"{message}, but its dictionary says {coded.size_px[0]} x {coded.size_px[1]} with 8")
    if frame.n_components not in (1, 3):
        raise _unread(f"is a JPEG with {frame.n_components} components")
    data = coded.data
    if frame.n_components == 3:
        data = _with_transform(data, frame, coded.parameters.get("/ColorTransform"))
    pixels = image_reader.read_page(data, 0, limits, only_pixels=True).pixels
    return _with_components(pixels, frame.n_components)


def _with_components(pixels: np.ndarray, n_components: int) -> np.ndarray:
    """Return pixels with as many channels as their file has, even if all are equal."""
    is_reduced = pixels.ndim == 2 and n_components == 3
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if is_reduced else pixels


@dataclass(frozen=True)
class _Frame:
    """Properties from a JPEG's markers; `adobe` is the transform in Adobe's marker, None without it."""

    height_px: int
    width_px: int
    bits: int
    n_components: int
    has_rgb_names: bool
    has_jfif: bool
    adobe: int | None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each marker segment before a JPEG's first scan."""
    at = data.find(b"\xff\xd8") + 2
    while at + 4 <= len(data) and at >= 2:
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):  # fill bytes (T.81, B.1.1.2)
            at += 1
            continue
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == _SCAN or length < 2:
            return
        yield marker, at, at + 2 + length
        at += 2 + length


def _frame(data: bytes) -> _Frame:
    found: tuple[int, int, int, int, bool] | None = None
    has_jfif, adobe = False, None
    for marker, start, end in _segments(data):
        body = data[start + 4 : end]
        if marker in _FRAMES and len(body) >= 6:
            names = body[6::3][: body[5]]
            found = body[0], int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[5], names == b"RGB"
        elif marker == _JFIF and body[:5] == b"JFIF\0":
            has_jfif = True
        elif marker == _ADOBE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
    if found is None:
        raise PageError("damaged", "a JPEG of the PDF has no frame", failed=True)
    bits, height_px, width_px, n_components, has_rgb_names = found
    return _Frame(height_px, width_px, bits, n_components, has_rgb_names, has_jfif, adobe)


def _with_transform(data: bytes, frame: _Frame, declared: Any) -> bytes:
    """Return a three-component JPEG whose markers state whether it is RGB or YCbCr.

    Adobe's marker takes precedence over `/ColorTransform` (ISO 32000-1, table 13). libjpeg reads a file with a JFIF
    marker as YCbCr, so that marker is removed if the dictionary disagrees.
    """
    transform = frame.adobe if frame.adobe is not None else None if declared is None else int(declared)
    if transform is None or (transform == 1 and (frame.adobe == 1 or frame.has_jfif or not frame.has_rgb_names)):
        return data
    if transform != 0 or (frame.adobe == 0 and frame.has_jfif):
        raise _unread("declares its colours both as RGB and as transformed")
    if frame.adobe == 0:
        return data
    out, kept = [b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"], data.find(b"\xff\xd8") + 2
    for marker, start, end in _segments(data):
        if marker in (_JFIF, _ADOBE):
            out.append(data[kept:start])
            kept = end
    return b"".join([*out, data[kept:]])


def _file_of_its_own(coded: _Coded, limits: LimitSettings, keep_deep: bool) -> Page:
    """Return a JPEG 2000 that defines its own colours, converted to sRGB."""
    page = image_reader.read_page(coded.data, 0, limits, keep_deep=keep_deep)
    return image_reader.to_srgb(replace(page, exif=None, xmp=None, dpi=None))


def _jpeg_2000(coded: _Coded, limits: LimitSettings, keep_deep: bool, space: Any) -> tuple[np.ndarray, int]:
    """Return the samples of a JPEG 2000 and their bit depth; more than 8 bits are rounded to 8."""
    bits, n_components = _depth(coded), _jpx_components(coded.data)
    if any(
        kind == b"pclr"
        for _, start, end in _headers(coded.data)
        for kind, _, _ in isobmff.boxes(coded.data, start, end)
    ):
        raise _unread("is a JPEG 2000 with its own palette")
    if n_components not in (1, 3) or (bits > 8 and pdf_reader.family_of(space) == "/Indexed"):
        raise _unread(f"is a JPEG 2000 with {n_components} components of {bits} bits")
    page = image_reader.read_page(coded.data, 0, limits, keep_deep=keep_deep, only_pixels=True)
    pixels = _with_components(page.pixels, n_components)
    return (pixels >> (8 - bits), bits) if bits < 8 else (pixels, 8)


def _headers(data: bytes) -> list[tuple[bytes, int, int]]:
    return [found for found in isobmff.boxes(data) if found[0] == b"jp2h"]


def _siz(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Return height and width of a JPEG 2000, and three bytes for each component (ISO 15444-1, A.5.1)."""
    at = 0 if data[:4] == b"\xff\x4f\xff\x51" else isobmff.container_metadata(data).codestream_at
    if at is None or data[at : at + 4] != b"\xff\x4f\xff\x51" or at + 42 > len(data):
        raise PageError("damaged", "a JPEG 2000 of the PDF has no codestream", failed=True)
    width, height, left, top = struct.unpack_from(">4I", data, at + 8)
    n_components = int.from_bytes(data[at + 40 : at + 42])
    return (height - top, width - left), data[at + 42 : at + 42 + 3 * n_components]


def _jpx_components(data: bytes) -> int:
    return len(_siz(data)[1]) // 3


def _depth(coded: _Coded) -> int:
    """Return the bit depth of a JPEG 2000.

    Raises:
        PageError: If its components differ, or its size differs from the dictionary's.
    """
    size_px, components = _siz(coded.data)
    alike = {components[at : at + 3] for at in range(0, len(components), 3)}
    if size_px != coded.size_px or len(alike) != 1 or components[1:3] != b"\1\1":
        raise _unread("is a JPEG 2000 whose components differ, or whose size differs from its dictionary's")
    return (components[0] & 0x7F) + 1


def _ccitt(coded: _Coded, limits: LimitSettings) -> np.ndarray:
    """Decode CCITT Group 3 or 4 to (height, width) of 0 and 1, with libtiff if possible, else pdfium."""
    parameters = coded.parameters
    height_px, width_px = coded.size_px
    columns, is_aligned = int(parameters.get("/Columns", 1728)), bool(parameters.get("/EncodedByteAlign", False))
    if columns < width_px:
        raise _unread(f"is encoded {columns} pixels wide, but its dictionary says {width_px}")
    image_reader.check_size(height_px, columns, limits)
    by_pdfium = _by_pdfium(coded)
    if is_aligned:
        return by_pdfium
    k, is_black_one = int(parameters.get("/K", 0)), bool(parameters.get("/BlackIs1", False))
    file = _tiff(coded.data, height_px, columns, 4 if k < 0 else 3, 1 if k > 0 else 0)
    white = image_reader.read_page(file, 0, limits, only_pixels=True).pixels[:, :width_px]
    samples: np.ndarray = (white == (0 if is_black_one else 255)).view(np.uint8)
    if not np.array_equal(samples, by_pdfium):
        raise _unread("is CCITT that two decoders decode differently")
    return samples


def _jbig2(coded: _Coded) -> np.ndarray:
    samples = _by_pdfium(coded)
    if samples.min() == samples.max():  # pdfium returns this for undecodable data
        raise _unread("is JBIG2 that is blank or cannot be decoded")
    return samples


def _tiff(data: bytes, height_px: int, width_px: int, compression: int, options: int) -> bytes:
    """Wrap one CCITT strip in a TIFF; white runs are white pixels (tag 262 is 0)."""
    tags = {256: width_px, 257: height_px, 258: 1, 259: compression, 262: 0, 266: 1, 277: 1}
    tags |= {273: 0, 278: height_px, 279: len(data)} | ({292: options} if compression == 3 else {})
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def _by_pdfium(coded: _Coded) -> np.ndarray:
    """Return the samples of a one-bit image, (height, width) of 0 and 1, decoded by pdfium on its own."""
    height_px, width_px = coded.size_px
    buffer = io.BytesIO()
    with pikepdf.new() as alone:
        image = alone.make_stream(coded.data, Type=Name.XObject, Subtype=Name.Image)
        image.Filter, image.Width, image.Height = Name(coded.coding), width_px, height_px
        image.ColorSpace, image.BitsPerComponent = Name.DeviceGray, 1
        image.DecodeParms = _copied(alone, coded.parameters)
        page = alone.add_blank_page(page_size=(72, 72))
        page.Resources = Dictionary(XObject=Dictionary(Im=image))
        page.Contents = alone.make_stream(b"q 72 0 0 72 0 0 cm /Im Do Q")
        alone.save(buffer)
    samples = (pdf_reader.decode_with_pdfium(buffer.getvalue()) >= 128).view(np.uint8)
    if samples.shape != coded.size_px:
        raise _unread("is decoded to a size other than its dictionary's")
    return samples


def _copied(document: pikepdf.Pdf, parameters: Any) -> Any:
    """Copy decode parameters to another document, with the objects they refer to (JBIG2 globals)."""
    made = Dictionary()
    for key, value in parameters.items():
        is_stream = isinstance(value, pikepdf.Stream)
        made[key] = document.make_stream(decoded_stream(value)) if is_stream else value
    return made
