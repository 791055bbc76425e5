"""Divide the bytes of a document among its pages."""

from __future__ import annotations

from collections.abc import Sequence


def share_by_own(total_bytes: int, own_bytes: Sequence[int]) -> list[int]:
    """Return the share of each page in a document's bytes: its own image's, and an equal part of the rest.

    >>> share_by_own(110, [20, 60])
    [35, 75]
    """
    rest = total_bytes - sum(own_bytes)
    if rest < 0:  # pages that share an image
        return share_by_weight(total_bytes, [own + 1 for own in own_bytes])
    return [own + share for own, share in zip(own_bytes, share_by_weight(rest, [1] * len(own_bytes)), strict=True)]


def share_by_weight(total_bytes: int, weights: Sequence[int]) -> list[int]:
    """Return shares by weight, in whole bytes that add up to the total.

    >>> share_by_weight(10, [1, 1, 1])
    [3, 3, 4]
    """
    ends = [total_bytes * sum(weights[: number + 1]) // sum(weights) for number in range(len(weights))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]
