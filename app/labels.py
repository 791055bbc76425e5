"""Words: what figures and problems are called on the page."""

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
    "too_large": "It is larger than the settings allow: in a run, `limits.max_page_pixels` and "
    "`limits.max_document_bytes` can be raised.",
    "too_complex": "It asks for more work than any scan does, as files made to harm do.",
    "out_of_time": "Reading it takes far longer than any scan does, as with files made to harm. In a run, "
    "`--retry-failed` tries it again, and `limits.max_document_seconds` can be raised.",
    "too_long": "The chosen format holds no page of this length; choose another one.",
    "already_compressed": "Foliopress wrote this file. Compressing it again would only lose; take its source.",
    "no_gain": "It would not become smaller by enough: it is small already, or its source is coded with loss.",
    "legibility": "Not even the strongest try kept all that must stay legible, so the page stays as it is. What was "
    "tried is shown below.",
    "ocr_timeout": "Tesseract gave no answer in time. A rerun tries such pages again.",
    "ocr_failed": "Tesseract broke on this page.",
    "many_frames": "It is a moving picture or a stack of frames; only TIFF holds documents of many pages.",
    "encrypted": "Take the password off it, if you may, and try again.",
    "signed": "Any change would break its signature.",
    "digital_page": "It holds a program's text and drawings, which are small already and stay sharp.",
    "composed_page": "It is put together of several images, as other programs that compress leave it.",
    "shared_image": "Several pages of its document show the same image.",
    "not_writable": "The document cannot be put together again, so that it stays as it is.",
    "high_bit_depth": "It holds more than 8 bits a sample, and this profile does not round them.",
    "transparency": "Parts of it are transparent, which a scan is not.",
    "unsupported_mode": "Its colours cannot be carried over without guessing.",
    "colour_space": "Its colours cannot be carried over without guessing.",
}


def describe_problem(problem: PageError | None) -> tuple[str, str, str]:
    """Return the headline, what is wrong, and what one can do, for a person; only the middle is not of our own words.

    >>> words_for(PageError("too_large", "it has 9 pages"))[0]
    'too large'
    """
    if problem is None:
        return "unreadable", "This document cannot be opened.", ""
    is_ours = _REASON.fullmatch(problem.reason) is not None  # statistics may hold anything
    headline = problem.reason.replace("_", " ") if is_ours else "not compressed"
    said = str(problem)
    return headline, f"{said[:1].upper() + said[1:]}.", _ADVICE.get(problem.reason, "")


def byte_size(size_bytes: float) -> str:
    """Return a size to three figures.

    >>> byte_size(512), byte_size(20_480), byte_size(1_234_567), byte_size(2.5e12)
    ('512 B', '20.5 kB', '1.23 MB', '2.5 TB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 999.5 or unit == "TB":
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    raise AssertionError("the last unit takes any size")


def percent(share: float) -> str:
    """Return a share as per cent.

    >>> percent(0.8734), percent(1.0)
    ('87.3 %', '100.0 %')
    """
    return f"{100 * share:.1f} %"
