"""Name problems, sizes and percentages for the user."""

from __future__ import annotations

import re

from foliopress.tasks.errors import PageError

_REASON = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_TRY_ELSEWHERE = "Try to open it in another program; if that fails too, scan it again or take it from a backup."
_ADVICE = {
    "damaged": _TRY_ELSEWHERE,
    "empty": _TRY_ELSEWHERE,
    "unreadable": _TRY_ELSEWHERE,
    "unsupported_format": "If it is an image, save it as TIFF, PNG or JPEG.",
    "too_large": "It is larger than the settings allow. For a run, raise `limits.max_page_pixels` or "
    "`limits.max_document_bytes`.",
    "too_complex": "Processing it takes more work than any real scan, as with malicious files.",
    "out_of_time": "Reading it takes far longer than any real scan, as with malicious files. For a run, retry it "
    "with `--retry-failed` or raise `limits.max_document_seconds`.",
    "too_long": "The selected format does not allow pages of this length; choose another one.",
    "already_compressed": "Foliopress wrote this file. Compressing it again would only lose detail; use its source.",
    "no_gain": "Compression would save too little: it is small already, or its source is lossy.",
    "legibility": "Even the strongest attempt lost something that must stay legible, so the page is kept unchanged. "
    "That attempt is shown below.",
    "ocr_timeout": "Tesseract exceeded the time limit. A rerun tries such pages again.",
    "ocr_failed": "Tesseract failed on this page.",
    "many_frames": "It is an animation or a stack of frames; only TIFF images may have several pages.",
    "encrypted": "Remove the password, if you are allowed to, and try again.",
    "signed": "Any change would break its signature.",
    "digital_page": "It contains digital text and drawings, which are small already and stay sharp.",
    "composed_page": "It consists of several images, as other compression programs produce it.",
    "shared_image": "Several pages of its document share this image.",
    "not_writable": "The document cannot be reassembled, so it is kept unchanged.",
    "high_bit_depth": "It has more than 8 bits per sample, and this profile does not round them.",
    "transparency": "Parts of it are transparent, which no scan is.",
    "unsupported_mode": "Its colours cannot be converted reliably.",
    "colour_space": "Its colours cannot be converted reliably.",
}


def describe_problem(problem: PageError | None) -> tuple[str, str, str]:
    """Return headline, description and advice for a user; only the description is not our own text.

    >>> describe_problem(PageError("too_large", "it has 9 pages"))[0]
    'too large'
    """
    if problem is None:
        return "unreadable", "This document cannot be opened.", ""
    is_ours = _REASON.fullmatch(problem.reason) is not None  # statistics may contain any text
    headline = problem.reason.replace("_", " ") if is_ours else "not compressed"
    text = str(problem)
    return headline, f"{text[:1].upper() + text[1:]}.", _ADVICE.get(problem.reason, "")


def byte_size(size_bytes: float) -> str:
    """Return a size with three significant digits.

    >>> byte_size(512), byte_size(20_480), byte_size(1_234_567), byte_size(2.5e12)
    ('512 B', '20.5 kB', '1.23 MB', '2.5 TB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 999.5 or unit == "TB":
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    raise AssertionError("the last unit covers any size")


def percent(share: float) -> str:
    """Return a fraction as a percentage.

    >>> percent(0.8734), percent(1.0)
    ('87.3 %', '100.0 %')
    """
    return f"{100 * share:.1f} %"
