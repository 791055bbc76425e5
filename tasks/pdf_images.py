"""Images in a PDF: what `tasks.encode` writes, as a document's own streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pikepdf
from pikepdf import Name

from configs.settings import LimitSettings
from tasks import ifd, pages, pdf
from tasks.encode import Codec

_FILTERS: dict[str, Any] = {"jpeg": "/DCTDecode", "jp2": "/JPXDecode", "g4": "/CCITTFaxDecode"}
_NO_LIMITS = LimitSettings(max_page_pixels=2**40)


@dataclass(frozen=True)
class CodedImage:
    """A file of one image: JPEG, JPEG 2000, or TIFF of one strip of CCITT G4."""

    data: bytes = field(repr=False)
    codec: Codec


def stream(document: pikepdf.Pdf, image: CodedImage, **keys: Any) -> pikepdf.Stream:
    """Return a new stream of an image, with more keys in its dictionary."""
    made = document.make_stream(b"", Type=Name.XObject, Subtype=Name.Image)
    write(made, image)
    for key, value in keys.items():
        made[f"/{key}"] = value
    if made.get("/ImageMask"):
        del made["/ColorSpace"]
    return made


def write(made: Any, image: CodedImage) -> None:
    """Give a stream an image's bytes and all that says how they are to be read, in the colours of the device."""
    header = pages.read_header(image.data, _NO_LIMITS).pages[0]
    data, parameters = image.data, None
    if image.codec == "g4":
        data = _strip(image.data)
        parameters = pikepdf.Dictionary(K=-1, Columns=header.width_px, Rows=header.height_px)
    made.write(data, filter=Name(_FILTERS[image.codec]), decode_parms=parameters)
    made.Width, made.Height = header.width_px, header.height_px
    made.BitsPerComponent = 1 if image.codec == "g4" else 8
    made.ColorSpace = Name.DeviceGray if header.mode in ("1", "L") else Name.DeviceRGB


def keep_colours(image: Any, space: Any) -> None:
    """Give a new image the colour space of the old one, of a palette its colours', if it has as many values for it."""
    is_one_bit = int(image.BitsPerComponent) == 1  # black and white are the same in every space
    if not is_one_bit and pdf.channels_of(space) == pdf.channels_of(image.ColorSpace):
        is_palette = isinstance(space, pikepdf.Array) and str(space[0]) == "/Indexed"
        image.ColorSpace = space[1] if is_palette else space


def _strip(tiff: bytes) -> bytes:
    """Return the one strip of a TIFF; where its pixels are white, the runs of its code are (tag 262 is 0)."""
    found = ifd.read(tiff, None, lambda tag: tag in (262, 273, 279), 1_000)
    (start,), (size,) = found.numbers(273), found.numbers(279)
    assert found.number(262) == 0
    return tiff[start : start + size]
