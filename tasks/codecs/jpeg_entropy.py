"""Write quantised DCT coefficients as a JPEG that any viewer opens, progressive or baseline (ITU-T T.81).

The smaller of the two is written: baseline on 4 of 14 encodes of colour scans, by up to 2 %.

jpeglib 1.0.2 followed by mozjpeg-lossless-optimization 1.3.2 was tried: 0.9 % smaller on 8 pages, but 0.2 to 3.7 s a
page. jpeglib alone gives our baseline size.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

ZIGZAG = np.array(sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
"""(64,) row-major index in a block of each coefficient, from the lowest frequency to the highest (T.81, figure 5)."""

Process = Literal["smaller", "baseline", "progressive"]
"""Processes of T.81; `smaller` writes the file with fewer bytes."""

LONGEST_SIDE_PX = 65_500
"""Longest side that libjpeg opens (`JPEG_MAX_DIMENSION`); the format itself allows 35 pixels more."""

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF0, _SOF2, _DHT, _SOS = 0xC0, 0xC2, 0xC4, 0xDA
_LUMA_BANDS = ((1, 8), (9, 63))  # low and high frequencies have different statistics: a table for each
_CHROMA_BANDS = ((1, 63),)
_ZERO_RUN = 0xF0  # sixteen zeros
_LONGEST_END_RUN = 0x7FFF  # blocks that one end-of-band code can span


def write_jpeg(
    segments: bytes, components: Sequence[np.ndarray], height_px: int, width_px: int, process: Process = "smaller"
) -> bytes:
    """Return a JPEG of one component (grey) or three (YCbCr, chroma at half size in both directions).

    A progressive file has one scan of all DC coefficients, then one or two scans of AC coefficients for each component,
    each scan with its own Huffman codes. A baseline file has a single scan.

    Args:
        segments: Complete marker segments to follow SOI: JFIF, EXIF, ICC and so on, and the quantisation tables 0
            (luma) and 1 (chroma).
        components: For each (n_block_rows, n_block_cols, 64) int16 in zigzag order. With three components the luma
            has twice as many rows and columns of blocks as the others.
        height_px: Height of the page.
        width_px: Width of the page.
        process: Process of coding; a TIFF allows only `baseline`.

    Raises:
        ValueError: If a side is longer than `LONGEST_SIDE_PX`, or the numbers of blocks do not match the size.
    """
    if max(height_px, width_px) > LONGEST_SIDE_PX:
        raise ValueError(f"JPEG allows at most {LONGEST_SIDE_PX} pixels a side, the page has {height_px} x {width_px}")
    sampling = 2 if len(components) == 3 else 1
    units = -(-height_px // (8 * sampling)), -(-width_px // (8 * sampling))  # T.81's MCUs
    factors = [sampling, 1, 1][: len(components)]
    if [c.shape[:2] for c in components] != [(units[0] * f, units[1] * f) for f in factors]:
        raise ValueError(f"{[c.shape for c in components]} blocks do not make {height_px} x {width_px} pixels")
    bands = [] if process == "baseline" else _ac_bands(components, factors, height_px, width_px)
    if process == "smaller" and _baseline_ac_bytes(bands) < sum(band.n_bytes for band in bands):
        process = "baseline"
    if process == "baseline":
        if len(components) == 1:  # one component's scan has the blocks that the page covers
            components = [components[0][: -(-height_px // 8), : -(-width_px // 8)]]
        return b"".join(
            [_SOI, segments, _frame(_SOF0, height_px, width_px, factors), _only_scan(components, factors), _EOI]
        )
    start = [_SOI, segments, _frame(_SOF2, height_px, width_px, factors), _dc_scan(components, factors)]
    return b"".join([*start, *(band.scan() for band in bands), _EOI])


def _frame(kind: int, height_px: int, width_px: int, factors: Sequence[int]) -> bytes:
    body = bytes([8, *height_px.to_bytes(2, "big"), *width_px.to_bytes(2, "big"), len(factors)])
    body += b"".join(bytes([n + 1, factor << 4 | factor, min(n, 1)]) for n, factor in enumerate(factors))
    return _segment(kind, body)


def _dc_scan(components: Sequence[np.ndarray], factors: Sequence[int]) -> bytes:
    """Encode the DC coefficients of all components, unit by unit, each as the difference from the one before."""
    ordered, table = _by_units([blocks[..., :1] for blocks in components], factors)
    value = _differences(ordered[:, 0], len(components), factors)
    size = _bit_length(np.abs(value))
    definitions, code, length = _coded(size, table, kind=0)
    which = b"".join(bytes([number + 1, min(number, 1) << 4]) for number in range(len(components)))
    start = _segment(_DHT, definitions) + _segment(_SOS, bytes([len(components)]) + which + bytes([0, 0, 0]))
    return start + _packed(code, length, _extra(value, size), size)


def _by_units(components: Sequence[np.ndarray], factors: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return all components' blocks, unit by unit, (n_blocks, n_frequencies), and each block's table, 0 or 1."""
    parts, tables = [], []
    for number, (blocks, factor) in enumerate(zip(components, factors, strict=True)):
        rows, cols, depth = blocks.shape[0] // factor, blocks.shape[1] // factor, blocks.shape[2]
        units = blocks.reshape(rows, factor, cols, factor, depth).swapaxes(1, 2)
        parts.append(units.reshape(rows * cols, factor * factor, depth))
        tables.append(np.full(factor * factor, min(number, 1)))
    ordered = np.concatenate(parts, axis=1)
    table = np.broadcast_to(np.concatenate(tables), ordered.shape[:2])
    return ordered.reshape(-1, ordered.shape[2]), table.ravel()


def _differences(values: np.ndarray, n_components: int, factors: Sequence[int]) -> np.ndarray:
    """Return the difference of each DC value, unit by unit, from the one before of its component."""
    per_unit = values.astype(np.int32).reshape(-1, sum(factor * factor for factor in factors))
    ends = np.cumsum([factor * factor for factor in factors])
    own = [per_unit[:, end - factor * factor : end] for end, factor in zip(ends, factors, strict=True)]
    assert len(own) == n_components
    return np.concatenate([np.diff(one.ravel(), prepend=0).reshape(one.shape) for one in own], axis=1).ravel()


def _coded(symbol: np.ndarray, table: np.ndarray, kind: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Return the definitions of optimal Huffman tables, and each symbol's code and length.

    Args:
        symbol: (n,) 0 to 255.
        table: (n,) table of each symbol, 0 or 1.
        kind: 0 for tables of DC values, 1 for tables of AC values.
    """
    code, length, definitions = np.zeros(symbol.shape, np.int64), np.zeros(symbol.shape, np.int64), b""
    for number in range(int(table.max(initial=0)) + 1):
        here = table == number
        definition, codes, lengths = _huffman(np.bincount(symbol[here], minlength=256))
        definitions += bytes([kind << 4 | number]) + definition
        code[here], length[here] = codes[symbol[here]], lengths[symbol[here]]
    return definitions, code, length


def _only_scan(components: Sequence[np.ndarray], factors: Sequence[int]) -> bytes:
    """Encode all coefficients of all components, block after block (T.81, F.1.2)."""
    blocks, table = _by_units(components, factors)
    dc = _differences(blocks[:, 0], len(components), factors)
    dc_size = _bit_length(np.abs(dc))
    dc_tables, dc_code, dc_length = _coded(dc_size, table, kind=0)

    values = _Values.of(blocks[:, 1:])
    block, place, run, size = values.block, values.place, values.run, values.size
    long = np.nonzero(run > 15)[0]
    zero_runs = np.repeat(long, run[long] // 16)
    last = np.full(len(blocks), -1)
    last[block] = place  # the last assignment of each block remains
    ends = np.nonzero(last < 62)[0]

    symbol = np.concatenate([np.full(len(zero_runs), _ZERO_RUN), (run % 16) << 4 | size, np.zeros(len(ends), np.int64)])
    owner = np.concatenate([block[zero_runs], block, ends])
    ac_tables, ac_code, ac_length = _coded(symbol, table[owner], kind=1)
    nothing = np.zeros(len(zero_runs), np.int64)
    no_ends = np.zeros(len(ends), np.int64)
    extra = np.concatenate([nothing, _extra(values.value, size), no_ends])
    n_extra = np.concatenate([nothing, size, no_ends])

    # in coding order: a block's DC value, its zero runs and values, its end
    order = np.concatenate(
        [
            np.arange(len(blocks)) * 256,
            block[zero_runs] * 256 + 2 * place[zero_runs] + 1,
            block * 256 + 2 * place + 2,
            ends * 256 + 255,
        ]
    )
    sorting = np.argsort(order, kind="stable")
    code, length = np.concatenate([dc_code, ac_code])[sorting], np.concatenate([dc_length, ac_length])[sorting]
    extra = np.concatenate([_extra(dc, dc_size), extra])[sorting]
    n_extra = np.concatenate([dc_size, n_extra])[sorting]
    which = b"".join(bytes([number + 1, min(number, 1) * 0x11]) for number in range(len(components)))
    start = _segment(_DHT, dc_tables + ac_tables)
    start += _segment(_SOS, bytes([len(components)]) + which + bytes([0, 63, 0]))
    return start + _packed(code, length, extra, n_extra)


class _AcBand:
    """One band of frequencies of one component: runs of zeros, values, and end-of-band runs over blocks.

    Args:
        blocks: (n_blocks, 64) coefficients.
        component: Number of the component.
        first: First frequency of the band, in zigzag order.
        last: Last frequency of the band.
    """

    def __init__(self, blocks: np.ndarray, component: int, first: int, last: int) -> None:
        self.component, self.first, self.last, self.n_blocks = component, first, last, len(blocks)
        self.values = _Values.of(blocks[:, first : last + 1])
        self._symbol, self._extra, self._n_extra = _ac_symbols(self.values, len(blocks), last + 1 - first)
        counts = np.bincount(self._symbol, minlength=256)
        self._table, self._codes, self._lengths = _huffman(counts)
        n_bits = int((counts * self._lengths).sum() + self._n_extra.sum())
        self.n_bytes = len(self._header()) + n_bits // 8
        """Size of the scan but for stuffed zeros."""

    def scan(self) -> bytes:
        """Return the band as a scan of its own."""
        return self._header() + _packed(
            self._codes[self._symbol], self._lengths[self._symbol], self._extra, self._n_extra
        )

    def _header(self) -> bytes:
        table = min(self.component, 1)
        body = bytes([1, self.component + 1, table, self.first, self.last, 0])
        return _segment(_DHT, bytes([0x10 | table]) + self._table) + _segment(_SOS, body)


def _ac_bands(components: Sequence[np.ndarray], factors: Sequence[int], height_px: int, width_px: int) -> list[_AcBand]:
    bands = []
    for number, (blocks, factor) in enumerate(zip(components, factors, strict=True)):
        # a scan of one component has the blocks that the page covers, not those that pad the last unit
        rows, cols = -(-height_px * factor // (8 * factors[0])), -(-width_px * factor // (8 * factors[0]))
        covered = blocks[:rows, :cols].reshape(-1, 64)
        bands += [_AcBand(covered, number, *band) for band in (_LUMA_BANDS if number == 0 else _CHROMA_BANDS)]
    return bands


def _baseline_ac_bytes(bands: Sequence[_AcBand]) -> int:
    """Estimate the size of all AC coefficients in a baseline scan; blocks that pad the last unit are left out."""
    n_bytes = 0
    for _, of_table in groupby(bands, key=lambda band: min(band.component, 1)):
        of_components = groupby(of_table, key=lambda band: band.component)
        counts = np.sum([_baseline_ac_counts(list(own)) for _, own in of_components], axis=0)
        table, _, lengths = _huffman(counts)
        n_bytes += 1 + len(table) + int((counts * (lengths + np.arange(256) % 16)).sum()) // 8
    return n_bytes


def _baseline_ac_counts(bands: Sequence[_AcBand]) -> np.ndarray:
    """Return (256,) occurrences of each AC symbol of one component in a baseline scan, from the component's bands."""
    counts = np.zeros(256, np.int64)
    n_before = np.zeros(bands[0].n_blocks, np.int64)  # AC frequencies of each block up to its last value
    for band in bands:
        block, place = band.values.block, band.values.place + band.first - 1
        run = np.where(band.values.is_first, place - n_before[block], band.values.run)
        counts += np.bincount((run % 16) << 4 | band.values.size, minlength=256)
        counts[_ZERO_RUN] += (run // 16).sum()
        n_before[block] = place + 1  # the last assignment of each block remains
    counts[0] += np.count_nonzero(n_before < 63)
    return counts


@dataclass(frozen=True)
class _Values:
    """The values of some blocks that are not zero, (n_values,) each, in the order of blocks and frequencies.

    `run` counts the zeros before a value in its block; `size` is a value's number of bits.
    """

    block: np.ndarray
    place: np.ndarray
    value: np.ndarray
    size: np.ndarray
    is_first: np.ndarray
    run: np.ndarray

    @staticmethod
    def of(band: np.ndarray) -> _Values:
        """Return the values of (n_blocks, n_frequencies) coefficients."""
        block, place = np.nonzero(band)
        value = band[block, place].astype(np.int64)
        is_first = np.diff(block, prepend=-1) > 0
        run = place - np.where(is_first, 0, np.roll(place, 1) + 1)
        return _Values(block, place, value, _bit_length(np.abs(value)), is_first, run)


def _ac_symbols(values: _Values, n_blocks: int, n_frequencies: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (symbol, extra bits, number of extra bits) of a band's values, in coding order.

    T.81, G.1.2.2: a value is coded as its run of zeros and size; after a block's last value an end-of-band code also
    covers the following blocks without values.
    """
    block, place, value, run, size = values.block, values.place, values.value, values.run, values.size
    long = np.nonzero(run > 15)[0]
    zero_runs = np.repeat(long, run[long] // 16)

    is_last = np.diff(block, append=n_blocks) > 0
    start = np.append(-1, block[is_last])  # the end of band before the first value belongs to no block
    open_end = np.append(0, place[is_last] < n_frequencies - 1)
    spanned = np.diff(np.append(start, n_blocks)) - 1 + open_end
    whole, rest = spanned // _LONGEST_END_RUN, spanned % _LONGEST_END_RUN
    ends = np.repeat(np.arange(len(start)), whole + (rest > 0))
    spans = np.full(len(ends), _LONGEST_END_RUN)
    spans[np.cumsum(whole + (rest > 0))[rest > 0] - 1] = rest[rest > 0]
    end_size = _bit_length(spans) - 1
    last_value = np.append(-1, np.nonzero(is_last)[0])[ends]

    # in coding order: zero runs, the value itself, the end after a block's last value
    order = np.concatenate([zero_runs * 3, np.arange(len(value)) * 3 + 1, last_value * 3 + 2])
    none = np.zeros(len(zero_runs), np.int64)
    symbol = np.concatenate([none + _ZERO_RUN, (run % 16) << 4 | size, end_size << 4])
    extra = np.concatenate([none, _extra(value, size), spans - (1 << end_size)])
    n_extra = np.concatenate([none, size, end_size])
    sorting = np.argsort(order, kind="stable")
    return symbol[sorting], extra[sorting], n_extra[sorting]


def _bit_length(values: np.ndarray) -> np.ndarray:
    """Return the bit length of non-negative integers below 2 ** 24; 0 for 0."""
    return np.frexp(values.astype(np.float32))[1].astype(np.int64)


def _extra(value: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the bits that encode a value of known size: the value, or its ones' complement if it is negative."""
    return np.where(value < 0, value + (1 << size) - 1, value).astype(np.int64)


def _huffman(counts: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Return the optimal Huffman table for symbol counts (T.81, K.2; at most 16 bits, no code of all ones).

    Args:
        counts: (256,) occurrences of each symbol.

    Returns:
        The table as DHT writes it, and (256,) int64 code and length of each symbol.
    """
    symbols = np.nonzero(counts)[0]
    # a dummy symbol takes the longest code, the one of all ones
    heap = [(int(counts[s]), n, [n]) for n, s in enumerate(symbols)] + [(0, len(symbols), [len(symbols)])]
    depth = np.zeros(len(symbols) + 1, np.int64)
    heapq.heapify(heap)
    serial = len(heap)
    while len(heap) > 1:
        (a, _, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        depth[left + right] += 1
        heapq.heappush(heap, (a + b, serial, left + right))
        serial += 1
    per_length = np.bincount(depth, minlength=64)
    for length in range(len(per_length) - 1, 16, -1):
        while per_length[length] > 0:
            shorter = length - 2
            while per_length[shorter] == 0:
                shorter -= 1
            np.add.at(per_length, [length, length - 1, shorter + 1, shorter], [-2, 1, 2, -1])  # some may be the same
    per_length[np.nonzero(per_length)[0][-1]] -= 1
    per_length = per_length[:17]
    ranked = symbols[np.argsort(-counts[symbols], kind="stable")]
    codes, lengths = np.zeros(256, np.int64), np.zeros(256, np.int64)
    code, position = 0, 0
    for length in range(1, 17):
        here = ranked[position : position + per_length[length]]
        codes[here], lengths[here] = code + np.arange(len(here)), length
        code, position = (code + len(here)) << 1, position + len(here)
    return bytes(per_length[1:].tolist()) + bytes(ranked.tolist()), codes, lengths


def _packed(code: np.ndarray, length: np.ndarray, extra: np.ndarray, n_extra: np.ndarray) -> bytes:
    """Return codes and their extra bits in sequence, padded with ones; a zero byte follows each byte of ones."""
    bits = (code << n_extra | extra).astype(np.uint64)  # at most 16 + 15
    n_bits = length + n_extra
    end = np.cumsum(n_bits)
    start = end - n_bits
    n_total = int(end[-1])
    window = bits << (64 - n_bits - start % 32).astype(np.uint64)
    n_words = n_total // 32 + 2
    # bits of different codes never overlap, so addition joins them; sums stay below 2 ** 32, exact in float64
    words = np.bincount(start // 32, (window >> np.uint64(32)).astype(np.float64), n_words)
    words += np.bincount(start // 32 + 1, (window & np.uint64(0xFFFFFFFF)).astype(np.float64), n_words)
    data = bytearray(words.astype(">u4").tobytes()[: -(-n_total // 8)])
    data[-1] |= (1 << -n_total % 8) - 1
    return bytes(data).replace(b"\xff", b"\xff\x00")


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body
