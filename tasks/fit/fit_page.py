"""Fit a page: try the forms that suit its kind, and return the first that passes its check."""

from __future__ import annotations

import math

from foliopress.configs.settings import EncodeSettings
from foliopress.tasks.analysis import page_kinds
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.fit.fit_adaptive import fit_adaptive
from foliopress.tasks.fit.fit_bitonal import BitonalEncoding, fit_bitonal
from foliopress.tasks.fit.fit_layers import fit_layers
from foliopress.tasks.fit.fit_loop import Watch
from foliopress.tasks.fit.outcome import Outcome, keeps_colour


def fit_page(
    check: Check, most_bytes: int, watch: Watch | None = None, bitonal: BitonalEncoding | None = None
) -> Outcome:
    """Return the page's smallest encoding that passes its check, or the problem that keeps it as it is.

    Args:
        check: Check of the page, with its analysis and the settings.
        most_bytes: Size gate: an encoding of this size or more saves too little.
        watch: Called with each encoding of the page in one layer; an exception that it raises ends the fit.
        bitonal: From `fit_bitonal.encode_bitonal`, if that was done before.
    """
    analysis, settings = check.analysis, check.settings
    is_bitonal = analysis.kind is page_kinds.PageKind.BITONAL
    if is_bitonal or (
        analysis.kind is page_kinds.PageKind.TWO_TONE
        and settings.encode.two_tone_to_bitonal
        and not keeps_colour(analysis, settings.encode)
    ):
        outcome = fit_bitonal(check, most_bytes, bitonal)
        if outcome.problem is None or is_bitonal:
            return outcome
    if settings.documents.layers == "mrc":
        outcome = fit_layers(check, most_bytes)
        if outcome.problem is None:
            return outcome
    return fit_adaptive(check, most_bytes, watch)


def useful_bytes(source_bytes: int, is_well_compressed: bool, settings: EncodeSettings) -> int:
    """Return the size gate for a source: an output of this size or more saves too little.

    Args:
        source_bytes: Size of the source.
        is_well_compressed: Whether the source is not worth encoding again for a small gain: it is lossy, so that it
            would lose more, or CCITT G4, which is all that a bitonal page becomes here.
        settings: Least gain for such a source.

    >>> useful_bytes(1000, False, EncodeSettings()), useful_bytes(1000, True, EncodeSettings(least_gain=0.1))
    (1000, 900)
    """
    return math.floor(source_bytes * (1.0 - settings.least_gain)) if is_well_compressed else source_bytes
