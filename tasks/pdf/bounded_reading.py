"""Read PDFs with pikepdf: map its errors to document or page errors, and limit the decoded size of streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import pikepdf

from foliopress.configs.errors import ConfigError
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.work_budget import WorkBudget, unpacks_too_far

WHOLE_NAMES = {
    "/AHx": "/ASCIIHexDecode",
    "/A85": "/ASCII85Decode",
    "/LZW": "/LZWDecode",
    "/Fl": "/FlateDecode",
    "/RL": "/RunLengthDecode",
    "/CCF": "/CCITTFaxDecode",
    "/DCT": "/DCTDecode",
}
"""Filters by abbreviation; these are meant for inline images but also occur elsewhere (ISO 32000-1, table 94)."""

MAX_PART_BYTES = 2**26
"""Largest decoded size of a profile, a palette, an object stream or the like."""
_LZW_GROWTH = 2_800  # a 12-bit code yields at most 4,096 bytes
_LZW_CLEAR, _LZW_END = 256, 257
_RUN_GROWTH, _RUN_END = 64, 128  # two bytes yield at most 128
_TOO_FAR = "memory limit exceeded"  # qpdf's message

_limits = RLock()  # qpdf's limits are global to the process, and the app reads in several threads


def _bound(most: int) -> None:
    pikepdf.settings.set_qpdf_limits(
        flate_max_memory=most, run_length_max_memory=most, png_max_memory=most, tiff_max_memory=most
    )


pikepdf.settings.set_qpdf_limits(
    parser_max_container_size=2_000_000,
    doc_max_warnings=10_000,
    dct_max_memory=2**30,
    dct_max_progressive_scans=100,
)
_bound(MAX_PART_BYTES)


@contextmanager
def pdf_errors(what_fails: str, *, reason: str = "damaged", failed: bool = True) -> Iterator[None]:
    """Convert any exception of pikepdf to a document or page error.

    For a value of an unexpected type it raises almost anything: its own types, TypeError, ValueError, AttributeError,
    KeyError, RuntimeError, RecursionError, OverflowError, NotImplementedError.

    Args:
        what_fails: Beginning of the message.
        reason: Reason of the error.
        failed: Whether the page is `failed` rather than kept.
    """
    try:
        yield
    except (PageError, ConfigError, StoreUnavailable, OSError):
        raise
    except MemoryError as error:
        raise_if_host_error(error, "reading a PDF")
        raise PageError("too_large", f"{what_fails}: it does not fit into this machine's memory") from error
    except Exception as error:
        if _TOO_FAR in str(error):
            raise unpacks_too_far(MAX_PART_BYTES) from error
        raise_if_host_error(error, "reading a PDF")
        raise PageError(reason, f"{what_fails}: {error_text(error)}", failed=failed) from error


def error_text(error: BaseException) -> str:
    """Return pikepdf's error message without the address of the object that was read."""
    return re.sub(r"stream <[^>]*>[: ]*", "", str(error)) or type(error).__name__


@contextmanager
def limit_decoded_size(most_bytes: int) -> Iterator[None]:
    """Make qpdf stop decoding a stream in this block after `most_bytes`.

    Raises:
        PageError: If the limit is exceeded (`too_large`).
    """
    most = max(1, min(most_bytes, 2**32 - 1))
    with _limits:
        before = int(pikepdf.settings.get_qpdf_limits()["flate_max_memory"])
        _bound(most)
        try:
            yield
        except Exception as error:
            if _TOO_FAR in str(error):
                raise unpacks_too_far(most_bytes) from error
            raise
        finally:
            _bound(before)


def filters_of(image: Any) -> list[str]:
    """Return the filters of a stream by their full names, in decoding order."""
    found = image.get("/Filter", ())
    names = [found] if isinstance(found, pikepdf.Name) else list(found)
    return [WHOLE_NAMES.get(str(name), str(name)) for name in names]


def decoded_stream(stream: Any, budget: WorkBudget | None = None, most_bytes: int = MAX_PART_BYTES) -> bytes:
    """Return the decoded contents of a stream.

    Raises:
        PageError: If they exceed the limit (`too_large`).
    """
    most_bytes = most_bytes if budget is None else min(most_bytes, budget.bytes_left)
    names = filters_of(stream)
    if _MEASURED.keys() & set(names):  # qpdf does not stop these filters
        return apply_filters(
            bytes(stream.read_raw_bytes()), names, parameters_of(stream, len(names)), most_bytes, budget
        )
    with limit_decoded_size(most_bytes):
        data = bytes(stream.read_bytes())
    return _counted(data, most_bytes, budget)


def parameters_of(stream: Any, n_filters: int) -> list[Any]:
    """Return the decode parameters of each filter of a stream, None for a filter without."""
    told_ = stream.get("/DecodeParms", stream.get("/DP"))
    found = list(told_) if isinstance(told_, pikepdf.Array) else [told_]
    return (found + [None] * n_filters)[:n_filters]


def apply_filters(
    data: bytes, names: Sequence[str], parameters: Sequence[Any], most_bytes: int, budget: WorkBudget | None = None
) -> bytes:
    """Apply decode filters one after another, each limited to `most_bytes`.

    Raises:
        PageError: If a filter's output exceeds the limit (`too_large`).
    """
    for name, told_ in zip(names, parameters, strict=True):
        growth, size_of = _MEASURED.get(name, (0, lzw_size))
        if len(data) * growth > most_bytes and size_of(data, most_bytes) > most_bytes:
            raise unpacks_too_far(most_bytes)
        with pikepdf.new() as other, limit_decoded_size(most_bytes):
            made = other.make_stream(data, Filter=pikepdf.Name(name))
            if isinstance(told_, pikepdf.Dictionary) and told_:
                made.DecodeParms = pikepdf.Dictionary(dict(told_.items()))
            data = _counted(bytes(made.read_bytes(pikepdf.StreamDecodeLevel.specialized)), most_bytes, budget)
    return data


def lzw_size(data: bytes, most_bytes: int) -> int:
    """Return the decoded size of LZW data, or some number above `most_bytes`; only lengths are tracked.

    >>> lzw_size(bytes.fromhex("800b6050220c0c8501"), 100)  # the example of ISO 32000-1, 7.4.4.2
    10
    """
    lengths = [1] * 256 + [0, 0]
    found = held = n_held = before = 0
    width = 9
    for byte in data:
        held, n_held = (held << 8 | byte) & 0xFFFFFF, n_held + 8
        if n_held < width:
            continue
        n_held -= width
        code = held >> n_held & (1 << width) - 1
        if code == _LZW_END or found > most_bytes:
            break
        if code == _LZW_CLEAR:
            del lengths[258:]
            width, before = 9, 0
            continue
        length = lengths[code] if code < len(lengths) else before + 1
        if before and len(lengths) < 4096:
            lengths.append(before + 1)
        found, before = found + length, length
        width = 9 if len(lengths) < 511 else 10 if len(lengths) < 1023 else 11 if len(lengths) < 2047 else 12
    return found


def run_length_size(data: bytes, most_bytes: int) -> int:
    """Return the decoded size of run-length data, or some number above `most_bytes` (ISO 32000-1, 7.4.5).

    >>> run_length_size(bytes([2, 7, 7, 7, 254, 9, 128]), 100)
    6
    """
    found = at = 0
    while at < len(data) and found <= most_bytes:
        if data[at] == _RUN_END:  # qpdf decodes what follows it too
            at += 1
            continue
        length = data[at] + 1 if data[at] < _RUN_END else 257 - data[at]
        at += 1 + length if data[at] < _RUN_END else 2
        found += length
    return found


_MEASURED: dict[str, tuple[int, Callable[[bytes, int], int]]] = {
    "/LZWDecode": (_LZW_GROWTH, lzw_size),
    "/RunLengthDecode": (_RUN_GROWTH, run_length_size),
}
"""Largest growth per byte of each filter, and the function that computes the decoded size."""


def _counted(data: bytes, most_bytes: int, budget: WorkBudget | None) -> bytes:
    if len(data) > most_bytes:
        raise unpacks_too_far(most_bytes)
    if budget is not None:
        budget.unpack(len(data))
    return data
