"""Store images from `tasks.codecs.encode` as streams of a PDF."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Name
from PIL import Image

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.codecs import icc_profiles
from foliopress.tasks.codecs.encode import Codec
from foliopress.tasks.images import image_reader, tiff_ifd
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.pdf.bounded_reading import decoded_stream

_FILTERS: dict[str, Any] = {"jpeg": "/DCTDecode", "jp2": "/JPXDecode", "g4": "/CCITTFaxDecode"}
_SAME_LEVELS = 3  # of 255: largest change of a grey by a profile close to sRGB
_NO_LIMITS = LimitSettings(max_page_pixels=2**40)


@dataclass(frozen=True)
class CodedImage:
    """An encoded scan of a page, or one of its images, for a document.

    data: A file of one image: JPEG, JPEG 2000, or TIFF with one strip of CCITT G4. A replacement for a whole page may
    also be an MRC page (`mrc`) from `tasks.pdf.mrc_page`, or the images of a multi-image page from
    `tasks.pdf.multi_image`.
    """

    data: bytes = field(repr=False)
    codec: Codec


def stream(document: pikepdf.Pdf, image: CodedImage, **keys: Any) -> pikepdf.Stream:
    """Return a new image stream, with further keys in its dictionary."""
    made = document.make_stream(b"", Type=Name.XObject, Subtype=Name.Image)
    write(made, image)
    for key, value in keys.items():
        made[f"/{key}"] = value
    if made.get("/ImageMask"):
        del made["/ColorSpace"]
    return made


def write(made: Any, image: CodedImage) -> None:
    """Set a stream's bytes and all decode keys of an image in device colours."""
    header = image_reader.read_header(image.data, _NO_LIMITS).pages[0]
    data, parameters = image.data, None
    if image.codec == "g4":
        data = _strip(image.data)
        parameters = pikepdf.Dictionary(K=-1, Columns=header.width_px, Rows=header.height_px)
    made.write(data, filter=Name(_FILTERS[image.codec]), decode_parms=parameters)
    made.Width, made.Height = header.width_px, header.height_px
    made.BitsPerComponent = 1 if image.codec == "g4" else 8
    if "/Decode" in made:
        del made["/Decode"]
    made.ColorSpace = Name.DeviceGray if header.mode in ("1", "L") else Name.DeviceRGB


class Colours:
    """Colour spaces for a document's new images: those of the old images, without profiles larger than the images.

    Args:
        document: Document with the images.
        largest_profile_bytes: A larger profile is replaced by a small equivalent (`tasks.codecs.icc_profiles`), if
            there is one; None keeps every profile. Other objects in the document keep the large profile.
    """

    def __init__(self, document: pikepdf.Pdf, largest_profile_bytes: int | None) -> None:
        self._document, self._largest_bytes = document, largest_profile_bytes
        self._small: dict[tuple[int, int], Any] = {}
        self._greys: Any = None

    def keep(self, image: Any, space: Any) -> None:
        """Give a new image the old image's colour space, or the base space of its palette.

        A grey image that replaces a three-channel one keeps its tone: if equal values of the old space are not device
        grey, the new space is a palette of them.
        """
        is_one_bit = int(image.BitsPerComponent) == 1  # black and white are equal in every space
        if is_one_bit or space is None:
            return
        if pdf_reader.family_of(space) == "/Indexed":
            space = space[1]
        had, has = pdf_reader.channels_of(space), pdf_reader.channels_of(image.ColorSpace)
        if had == has:
            image.ColorSpace = self._with_small_profile(space) if pdf_reader.family_of(space) == "/ICCBased" else space
        elif (had, has) == (3, 1) and pdf_reader.family_of(space) == "/CalRGB":
            image.ColorSpace = _calibrated_grey(space)
        elif (
            (had, has) == (3, 1)
            and pdf_reader.family_of(space) == "/ICCBased"
            and _tints_grey(decoded_stream(space[1]))
        ):
            image.ColorSpace = pikepdf.Array([Name.Indexed, self._with_small_profile(space), 255, self._grey_table()])

    def _grey_table(self) -> Any:
        if self._greys is None:
            table = zlib.compress(bytes(level for level in range(256) for _ in range(3)), 9)
            self._greys = self._document.make_indirect(self._document.make_stream(table, Filter=Name.FlateDecode))
        return self._greys

    def _with_small_profile(self, space: Any) -> Any:
        profile = space[1]
        if self._largest_bytes is None or int(profile.get("/Length", 0)) <= self._largest_bytes:
            return space
        if profile.objgen not in self._small:
            small = icc_profiles.compact_profile(decoded_stream(profile))
            self._small[profile.objgen] = space if small is None else self._space_of(small, profile)
        return self._small[profile.objgen]

    def _space_of(self, icc: bytes, old: Any) -> Any:
        made = self._document.make_stream(zlib.compress(icc, 9), Filter=Name.FlateDecode)
        for key in ("/N", "/Alternate", "/Range"):
            if key in old:
                made[key] = old[key]
        return pikepdf.Array([Name.ICCBased, self._document.make_indirect(made)])


def _calibrated_grey(space: Any) -> pikepdf.Array:
    """Return the calibrated grey space of a calibrated RGB space with neutral greys (ISO 32000-1, 8.6.5.2)."""
    made = pikepdf.Dictionary()
    for key in ("/WhitePoint", "/BlackPoint"):
        if key in space[1]:
            made[key] = space[1][key]
    if "/Gamma" in space[1]:
        made.Gamma = space[1].Gamma[0]
    return pikepdf.Array([Name.CalGray, made])


@lru_cache(maxsize=8)
def _tints_grey(icc: bytes) -> bool:
    """Return whether a profile tints equal RGB values visibly, compared with sRGB."""
    if icc_profiles.space_of(icc) != "RGB":
        return False
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    shown = icc_profiles.to_srgb(Image.fromarray(ramp), icc)
    return shown is not None and int(np.abs(shown.astype(int) - ramp).max()) > _SAME_LEVELS


def _strip(tiff: bytes) -> bytes:
    """Return the single strip of a TIFF; its white pixels are coded as white runs (tag 262 is 0)."""
    found = tiff_ifd.read(tiff, None, lambda tag: tag in (262, 273, 279), 1_000)
    (start,), (size,) = found.numbers(273), found.numbers(279)
    assert found.number(262) == 0
    return tiff[start : start + size]
