"""Estimate totals of an archive, with confidence intervals, from a stratified sample of its documents.

Strata are defined by format, top folder and decade of bytes, as known from keys and sizes: formats and collections
compress similarly within and differently between strata. Documents are drawn from each stratum without replacement;
stratum totals use the ratio estimator (Cochran, Sampling Techniques, 3rd ed. 1977, sections 6.2 to 6.4 and 6.10).
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from foliopress.tasks.storage.source_listing import Document

_MOST_FOLDERS = 40
"""Top folders with their own strata; all further folders share theirs."""
_LEAST_PER_STRATUM = 4
_T_90 = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 7: 1.895, 10: 1.812, 15: 1.753, 30: 1.697, 10**9: 1.645}
"""Student's t by degrees of freedom: the quantile of 0.95 (any table of it)."""


@dataclass
class Stratum:
    """Similar documents by key and size: their number, and the documents drawn so far."""

    n_documents: int = 0
    size_bytes: int = 0
    drawn: list[tuple[int, Document]] = field(default_factory=list)
    """Heap of (negative digest, document): the documents with the lowest digests, the highest of these first."""

    def add(self, document: Document, digest: int, most: int) -> None:
        """Count a document, and keep it while its digest is among the `most` lowest."""
        self.n_documents += 1
        self.size_bytes += document.size_bytes
        entry = (-digest, document)
        if len(self.drawn) < most:
            heapq.heappush(self.drawn, entry)
        elif entry[0] > self.drawn[0][0]:
            heapq.heapreplace(self.drawn, entry)

    def merge(self, other: Stratum, most: int) -> None:
        """Merge another stratum, as if its documents had been added here."""
        self.n_documents += other.n_documents
        self.size_bytes += other.size_bytes
        self.drawn = heapq.nlargest(most, self.drawn + other.drawn)
        heapq.heapify(self.drawn)


@dataclass(frozen=True)
class SampledStratum:
    """One stratum of a sample: its size, and the documents drawn from it."""

    n_documents: int
    size_bytes: int
    documents: tuple[Document, ...]


@dataclass(frozen=True)
class EstimatedTotal:
    """Estimated total of the whole archive, and its 90 % confidence interval."""

    value: float
    low: float
    high: float


def draw_sample(documents: Iterable[Document], n_documents: int, seed: int) -> list[SampledStratum]:
    """Draw a stratified sample from a streamed listing; only candidates are held in memory.

    Args:
        documents: The listing; empty files are skipped.
        n_documents: Sample size, if there are enough; slightly more if strata are small.
        seed: The same seed draws the same documents.
    """
    strata: dict[tuple[str, str, int], Stratum] = {}
    folders: set[str] = set()
    for document in documents:
        if document.size_bytes == 0:
            continue
        folder = document.key.partition("/")[0] if "/" in document.key else ""
        if folder not in folders and len(folders) >= _MOST_FOLDERS:
            folder = "/"
        folders.add(folder)
        suffix = PurePosixPath(document.key).suffix.lower()
        place = (suffix, folder, int(2 * math.log10(document.size_bytes)))
        strata.setdefault(place, Stratum()).add(document, _digest(document.key, seed), n_documents)
    held = _merged(strata, n_documents)
    return [
        SampledStratum(
            stratum.n_documents, stratum.size_bytes, tuple(document for _, document in sorted(stratum.drawn)[-n:])
        )
        for stratum, n in zip(held, _allocated(held, n_documents), strict=True)
    ]


def estimate_total(
    shares: Sequence[SampledStratum], figures: Mapping[str, float], *, by_bytes: bool = True
) -> EstimatedTotal:
    """Return the estimated total of a value over the whole archive.

    Args:
        shares: The sample.
        figures: The value of each sampled document, by key, e.g. its output bytes.
        by_bytes: True if the value is proportional to a document's size, False if it is the same for all on average.

    Raises:
        ValueError: If a stratum has no value.
    """
    value = variance = 0.0
    degrees: list[tuple[float, int]] = []
    for share in shares:
        known = [document for document in share.documents if document.key in figures]
        pairs = [(document.size_bytes if by_bytes else 1, figures[document.key]) for document in known]
        if not pairs:
            raise ValueError("a stratum has no value")
        ratio = sum(figure for _, figure in pairs) / sum(size for size, _ in pairs)
        value += ratio * (share.size_bytes if by_bytes else share.n_documents)
        n, whole = len(pairs), share.n_documents
        if n < 2 or n == whole:
            continue
        residuals = sum((figure - ratio * size) ** 2 for size, figure in pairs) / (n - 1)
        part = whole * whole * (1 - n / whole) * residuals / n
        variance += part
        degrees.append((part, n - 1))
    if not variance:
        return EstimatedTotal(value, value, value)
    # Satterthwaite's degrees of freedom (Cochran, section 5.4)
    freedom = variance**2 / sum(part * part / df for part, df in degrees)
    half = _student(freedom) * math.sqrt(variance)
    return EstimatedTotal(value, max(0.0, value - half), value + half)


def _merged(strata: Mapping[tuple[str, str, int], Stratum], n_documents: int) -> list[Stratum]:
    """Merge strata that are too small to sample: first those of one format, then the rest."""
    least_bytes = sum(stratum.size_bytes for stratum in strata.values()) * _LEAST_PER_STRATUM / n_documents
    found: list[Stratum] = []
    small = {place: strata[place] for place in sorted(strata)}
    for coarser in (lambda place: place, lambda place: (place[0], place[-1]), lambda place: (place[-1],)):
        pools: dict[tuple[object, ...], Stratum] = {}
        for place, stratum in small.items():
            pools.setdefault(coarser(place), Stratum()).merge(stratum, n_documents)
        found += [pool for pool in pools.values() if pool.size_bytes >= least_bytes]
        small = {place: pool for place, pool in pools.items() if pool.size_bytes < least_bytes}  # type: ignore[misc]
    return found + list(small.values())


def _allocated(strata: Sequence[Stratum], n_documents: int) -> list[int]:
    """Return the sample size of each stratum: proportional to its bytes, with a minimum, and at most its size."""
    whole = sum(stratum.size_bytes for stratum in strata)
    return [
        min(
            len(stratum.drawn),
            max(_LEAST_PER_STRATUM, round(n_documents * stratum.size_bytes / whole)),
        )
        for stratum in strata
    ]


def _student(freedom: float) -> float:
    """Return Student's t for a two-sided 90 % interval, interpolated over the reciprocal of the degrees of freedom.

    >>> round(_student(5), 3), round(_student(30), 3)
    (2.015, 1.697)
    """
    place = 1.0 / max(1.0, freedom)
    return float(
        np.interp(place, [1.0 / number for number in reversed(_T_90)], [_T_90[number] for number in reversed(_T_90)])
    )


def _digest(key: str, seed: int) -> int:
    data = f"{seed} {key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
