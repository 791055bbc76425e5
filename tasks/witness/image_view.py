"""Decode image files with OpenCV, or with imagecodecs where OpenCV is slow or cannot."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.witness.tiff_tags import directory_starts, is_tiff, tags_of
from foliopress.tasks.witness.view_difference import look_step, resampled

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # its warnings about unknown tags are of no use to a user

_REDUCTIONS = {
    8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    4: (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
    1: (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE),
}
"""OpenCV's flags that reduce a JPEG while decoding, in colour and in grey."""
_LOOKING = "looking at an image once more"
_LARGEST_INCH = 11.7  # the long side of A4, for an image of unknown resolution
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81, table B.1
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|='|>)\s*([1-8])")
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}


@dataclass(frozen=True)
class ImageLook:
    """An image decoded independently.

    pixels: uint8 (height, width, 3) RGB, upright and reduced. height_px, width_px: Size of the whole upright image.
    step: Reduction factor. dpi: Resolution of `pixels`. decoder: Name of the decoder.
    """

    pixels: np.ndarray
    height_px: int
    width_px: int
    step: int
    dpi: float
    decoder: str

    @property
    def size(self) -> tuple[int, int]:
        """Return (height_px, width_px) of the whole image."""
        return self.height_px, self.width_px


def count_frames(data: bytes) -> int:
    """Return the number of images in a file: a TIFF's directories, or 2 for a sequence of frames."""
    if is_tiff(data):
        return sum(1 for _ in directory_starts(data))
    if _is_jpeg(data):
        return 1
    return 1 if _by_opencv(data, 1, cv2.IMREAD_COLOR) is None else 2


def look_at(data: bytes, frame: int, dpi: float | None) -> ImageLook | None:
    """Return an image of a file, upright and reduced to 50 dpi or a little more; None if no decoder reads it.

    Args:
        data: The file.
        frame: 0-based number of the image in it.
        dpi: Its resolution; without it the long side is assumed to be that of A4.
    """
    if _has_other_colours(data, frame):
        return None
    found = _decoded(data, frame, dpi)
    if found is None:
        return None
    pixels, (height_px, width_px), factor, decoder = found
    resolution = _resolution(dpi, height_px, width_px)
    step = look_step(resolution, height_px, width_px)
    size = -(-height_px // step), -(-width_px // step)
    look = resampled(pixels, size, (step / factor, step / factor))
    if look.ndim == 2:
        look = np.repeat(look[..., np.newaxis], 3, axis=2)
    return ImageLook(look, height_px, width_px, step, resolution / step, decoder)


def look_in_raster(data: bytes, frame: int, like: ImageLook, dpi: float | None) -> ImageLook | None:
    """Return an image of a file resampled to the raster of another; None if no decoder reads it.

    Args:
        data: The file.
        frame: 0-based number of the image in it.
        like: Decoded image of the same proportions, which may have more or fewer pixels.
        dpi: Resolution of this image.
    """
    look = look_at(data, frame, dpi)
    if look is None:
        return None
    step = like.step / like.height_px * look.height_px, like.step / like.width_px * look.width_px
    rest = step[0] / look.step, step[1] / look.step
    return replace(look, pixels=resampled(look.pixels, like.pixels.shape[:2], rest), dpi=like.dpi)


def _has_other_colours(data: bytes, frame: int) -> bool:
    """Return whether an image is in inks or Lab, which OpenCV converts without profile or white point."""
    if _is_jpeg(data):
        return _jpeg_components(data) == 4
    return is_tiff(data) and tags_of(data, frame).get(262) in (5, 8, 9, 10)


def pixel_aspect(data: bytes) -> float:
    """Return the height of a pixel divided by its width, from the tags of a file's first image; 1 without them."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            tagged = image.info.get("dpi") or (image.getexif().get(0x011A, 1), image.getexif().get(0x011B, 1))
            across, down = (float(axis) for axis in tagged)
            return across / down if across > 0 and down > 0 else 1.0
    except Exception as error:  # Pillow's readers raise almost anything for a damaged file
        raise_if_host_error(error, _LOOKING)
        return 1.0


def profile_of(data: bytes, frame: int = 0) -> bytes | None:
    """Return the ICC profile of an image in a file, as read by Pillow from its header; None without one."""
    if data[4:8] == b"jP  ":
        return _profile_of_jp2(data)  # Pillow does not read it
    try:
        with Image.open(io.BytesIO(data)) as image:
            if frame:
                image.seek(frame)
            icc = image.info.get("icc_profile")
    except Exception as error:  # Pillow's readers raise almost anything for a damaged file
        raise_if_host_error(error, _LOOKING)
        return None
    return icc if isinstance(icc, bytes) and icc else None


def _profile_of_jp2(data: bytes) -> bytes | None:
    """Return the profile in the colour specification box of a JPEG 2000 (ISO 15444-1, I.5.3.3)."""
    at = data.find(b"colr", 0, data.find(b"jp2c"))
    if at < 4 or data[at + 4] not in (2, 3):
        return None
    return data[at + 7 : at - 4 + int.from_bytes(data[at - 4 : at], "big")] or None


def as_srgb(look: np.ndarray, icc: bytes | None) -> np.ndarray:
    """Return pixels in sRGB; unchanged without a profile, or with an unusable one.

    Args:
        look: uint8 (height, width, 3) in the profile's colours; with a grey profile all three channels are equal.
        icc: The profile.
    """
    if icc is None:
        return look
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        is_grey = icc[16:20] == b"GRAY"
        image = Image.fromarray(np.ascontiguousarray(look[..., 0]) if is_grey else look)
        srgb = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        shown = ImageCms.profileToProfile(image, profile, srgb, intent, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise_if_host_error(error, _LOOKING)
        return look
    return look if shown is None else np.asarray(shown)


def _decoded(data: bytes, frame: int, dpi: float | None) -> tuple[np.ndarray, tuple[int, int], int, str] | None:
    """Return grey or RGB pixels, the size of the whole image, the reduction factor, and the decoder's name."""
    if _is_jpeg(data):
        size = _jpeg_size(data)
        step = look_step(_resolution(dpi, *size), *size) if min(size) else 1
        factor = min(step, max(_REDUCTIONS))
        pixels = _by_opencv(data, 0, _REDUCTIONS[factor][_jpeg_components(data) == 1])
        if pixels is None:
            return None
        if not min(size):  # the height is given only at the end of the file
            size = pixels.shape[0], pixels.shape[1]
        is_turned = pixels.shape[:2] != tuple(-(-side // factor) for side in size)
        return pixels, size[::-1] if is_turned else size, factor, "opencv"
    flag = cv2.IMREAD_GRAYSCALE if _is_grey(data, frame) else cv2.IMREAD_COLOR_RGB
    decoders: dict[str, Callable[[], np.ndarray | None]] = {
        "opencv": lambda: _by_opencv(data, frame, flag),
        "imagecodecs": lambda: _by_imagecodecs(data, frame),
    }
    is_avif = data[4:8] == b"ftyp"  # imagecodecs decodes it in a third of the time
    for name in reversed(decoders) if is_avif else decoders:
        pixels = decoders[name]()
        if pixels is not None:
            return pixels, (pixels.shape[0], pixels.shape[1]), 1, name
    return None


def _resolution(dpi: float | None, height_px: int, width_px: int) -> float:
    return dpi or max(height_px, width_px) / _LARGEST_INCH


def _by_opencv(data: bytes, frame: int, flag: int) -> np.ndarray | None:
    coded = np.frombuffer(data, np.uint8)
    try:
        if frame:
            _, found = cv2.imdecodemulti(coded, flag, range=(frame, frame + 1))
            pixels = found[0] if found else None
        else:
            pixels, kinds, blocks = cv2.imdecodeWithMetadata(coded, flag)
            if pixels is not None:
                pixels = _turned_by_xmp(pixels, kinds, blocks)
    except (cv2.error, SystemError) as error:  # SystemError for an exception that OpenCV's binding loses
        raise_if_host_error(error, _LOOKING)
        return None
    if pixels is None or not pixels.size:
        return None
    is_bgr = pixels.ndim == 3 and flag != cv2.IMREAD_COLOR_RGB
    return np.ascontiguousarray(pixels[..., ::-1] if is_bgr else pixels)


def _is_grey(data: bytes, frame: int) -> bool:
    """Return whether an image has one channel according to its header; False for formats that are not checked."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[25:26] == b"\0"  # colour type (PNG, 11.2.1)
    if is_tiff(data):
        tags = tags_of(data, frame)
        return tags.get(262) in (0, 1) and tags.get(277, 1) == 1
    return False


def _turned_by_xmp(pixels: np.ndarray, kinds: Any, blocks: Any) -> np.ndarray:
    """Return an image rotated by its XMP orientation; OpenCV has already applied an EXIF orientation."""
    metadata = {int(kind): np.ravel(block).tobytes() for kind, block in zip(np.ravel(kinds), blocks, strict=True)}
    found = _XMP_ORIENTATION.search(metadata.get(cv2.IMAGE_METADATA_XMP, b""))
    if found is None or _has_orientation(metadata.get(cv2.IMAGE_METADATA_EXIF, b"")):
        return pixels
    return _TURNS[int(found[1])](pixels)


def _has_orientation(block: bytes) -> bool:
    exif = Image.Exif()
    try:
        exif.load(block)
        return 0x0112 in exif
    except Exception as error:  # ignore a broken block
        raise_if_host_error(error, _LOOKING)
        return False


def _by_imagecodecs(data: bytes, frame: int) -> np.ndarray | None:
    import imagecodecs

    try:
        if data[4:8] == b"ftyp":
            pixels = imagecodecs.avif_decode(data, index=frame, numthreads=1)
        elif data[4:8] == b"jP  ":
            pixels = _to_eight_bits(imagecodecs.jpeg2k_decode(data), data)
        elif data[:4] in (b"II*\0", b"MM\0*"):
            pixels = _spread_out(imagecodecs.tiff_decode(data, index=frame), tags_of(data, frame))
        else:
            return None
    except imagecodecs.DelayedImportError:  # it is built without this codec, on all machines alike
        return None
    except Exception as error:  # each codec has its own error class
        raise_if_host_error(error, _LOOKING)
        return None
    return _as_rgb(pixels)


def _spread_out(pixels: np.ndarray, tags: dict[int, int]) -> np.ndarray:
    """Return grey of few bits scaled to 8, black as 0, by a TIFF's BitsPerSample and PhotometricInterpretation."""
    if pixels.dtype == np.uint8 and (bits := tags.get(258, 8)) < 8:
        pixels = (pixels.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    return 255 - pixels if tags.get(262) == 0 and pixels.dtype == np.uint8 else pixels


def _to_eight_bits(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """Return samples of a JPEG 2000 of up to 8 bits scaled to the full range, by SIZ (ISO 15444-1, A.5.1)."""
    size_marker = data.find(b"\xff\x4f\xff\x51")
    depth = data[size_marker + 42] if 0 <= size_marker < len(data) - 42 else 7
    bits, is_signed = (depth & 0x7F) + 1, depth >= 0x80
    if bits > 8 or pixels.dtype.itemsize != 1:
        return pixels
    values = pixels.astype(np.int16) + (2 ** (bits - 1) if is_signed and pixels.dtype == np.int8 else 0)
    return np.asarray((values * 255 // (2**bits - 1)).clip(0, 255).astype(np.uint8))


def _as_rgb(pixels: np.ndarray) -> np.ndarray | None:
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype != np.uint8:
        return None
    if pixels.ndim == 3 and pixels.shape[2] in (1, 2):
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        return np.repeat(pixels[..., np.newaxis], 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3]) if pixels.ndim == 3 and pixels.shape[2] in (3, 4) else None


def _is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def _frame_header(data: bytes) -> bytes:
    """Return the 15 bytes of a JPEG's frame header from its precision on; empty without one."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker in _START_OF_FRAME:
            return data[at + 4 : at + 19]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return b""


def _jpeg_size(data: bytes) -> tuple[int, int]:
    header = _frame_header(data)
    return int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")


def _jpeg_components(data: bytes) -> int:
    header = _frame_header(data)
    return header[5] if len(header) > 5 else 0
