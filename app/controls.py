"""Draw the controls with which a user builds a profile, each with a plain explanation."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import streamlit as st
import yaml

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings, profile_names, public_settings
from foliopress.configs.settings import Settings
from foliopress.tasks.ocr.tesseract import languages

PROFILES = {
    "access": "For reading on screen and printing: small files, every stroke legible.",
    "compatible": "The same in JPEG, which every program opens.",
    "preservation": "Looks identical to the source, even when flipping between the two.",
    "smallest": "The smallest files that are still readable.",
}
_CODECS = {
    "avif": "AVIF: smallest; browsers and newer programs open it",
    "webp": "WebP: larger; all browsers open it",
    "jpeg": "JPEG: larger; everything opens it",
    "jp2": "JPEG 2000: for archives that require it",
    "jxl": "JPEG XL: few programs open it yet",
}
_LEVELS = {1: "full", 2: "half", 4: "a quarter", 8: "an eighth"}
_CAPS = (None, 400, 300, 250, 200, 150)
_NOT_IN_A_PROFILE = ("profile", "scan", "cluster", "storage", "shard", "evidence")


@dataclass(frozen=True)
class ChosenSettings:
    """The selected settings; `changed` holds those that differ from the profile, by dotted key."""

    settings: Settings
    changed: Mapping[str, object]


def choose_settings() -> ChosenSettings:
    """Draw the controls and return the selected settings.

    Raises:
        ConfigError: If the settings contradict each other.
    """
    names = [name for name in PROFILES if name in profile_names()]
    profile = st.selectbox("Profile", names, help="A consistent set of settings; the controls below start from it.")
    st.caption(PROFILES[profile])
    base = load_settings(profile)
    values = _draw_controls(profile, base)
    changed = {key: value for key, value in values.items() if value != _value(base, key)}
    # not through load_settings, which takes None for `not given` and would restore the profile's value
    settings = base.model_copy(update=_sections(base, changed))
    return ChosenSettings(Settings.model_validate(settings.model_dump()), changed)


def as_profile(chosen: ChosenSettings) -> str:
    """Return the settings as a YAML file for `--profile`, without those about locations and machines."""
    values = {key: part for key, part in public_settings(chosen.settings).items() if key not in _NOT_IN_A_PROFILE}
    changes = ", ".join(f"{key} {value}" for key, value in chosen.changed.items()) or "unchanged"
    head = f"# Profile {chosen.settings.profile}: {changes}.\n# foliopress compress SOURCE DEST --profile FILE\n"
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _draw_controls(profile: str, base: Settings) -> dict[str, Any]:
    """Draw one control per setting, and return the selected values by dotted key."""
    values = _draw_encoding_controls(profile, base) | _draw_resolution_controls(profile, base)
    values["documents.layers"] = (
        "mrc"
        if st.toggle(
            "PDF layers (MRC)",
            value=base.documents.layers == "mrc",
            key=_key(profile, "layers"),
            help="Split scans in PDFs into a sharp mask of strokes, their colour and the background. Far smaller.",
        )
        else "one"
    )
    values["ocr.language"] = _language(base, _key(profile, "language"))
    return values


def _key(profile: str, name: str) -> str:
    """Return the key of a control, which keeps its value until the profile changes."""
    return f"{profile}.{name}"


def _draw_encoding_controls(profile: str, base: Settings) -> dict[str, Any]:
    values: dict[str, Any] = {}
    codecs = [codec for codec in _CODECS if codec != "jxl" or importlib.util.find_spec("imagecodecs")]
    values["encode.codec"] = st.selectbox(
        "Format",
        codecs,
        index=codecs.index(base.encode.codec),
        format_func=lambda codec: _CODECS[codec],
        key=_key(profile, "codec"),
        help="Format of grey and colour pages. Black-and-white pages become CCITT G4 TIFF, which is lossless.",
    )
    is_fixed = st.toggle(
        "Fixed quality",
        value=base.encode.quality is not None,
        key=_key(profile, "fixed"),
        help="Off: each page gets the lowest quality that reaches the legibility target.",
    )
    if is_fixed:
        values["encode.quality"] = st.slider(
            "Quality",
            1,
            100,
            base.encode.quality or 50,
            key=_key(profile, "quality"),
            help="Encoder quality; 100 is the highest.",
        )
    else:
        values["encode.quality"] = None
        values["legibility.target_ssim"] = st.slider(
            "Legibility target",
            *(0.9, 0.995, base.legibility.target_ssim, 0.005),
            format="%.3f",
            key=_key(profile, "target"),
            help="SSIM of the strokes at 150 dpi, compared with the source: 1 is identical; at 0.98 print reads alike.",
        )
    return values


def _draw_resolution_controls(profile: str, base: Settings) -> dict[str, Any]:
    values: dict[str, Any] = {}
    values["importance.threshold"] = st.slider(
        "Importance threshold",
        *(0.0, 0.5, min(0.5, base.importance.threshold), 0.002),
        format="%.3f",
        key=_key(profile, "threshold"),
        help="Tiles that score at least this keep full resolution. A lower value keeps more and needs more bytes.",
    )
    values["resolution.harshest_level"] = st.select_slider(
        "Coarsest resolution of empty areas",
        list(_LEVELS),
        base.resolution.harshest_level,
        format_func=lambda level: _LEVELS[level],
        key=_key(profile, "level"),
        help="Lower limit for the resolution of unimportant areas. Text, handwriting, stamps and pictures keep theirs.",
    )
    values["resolution.max_dpi"] = st.selectbox(
        "Page resolution",
        _CAPS,
        index=_CAPS.index(base.resolution.max_dpi) if base.resolution.max_dpi in _CAPS else 0,
        format_func=lambda cap: f"at most {cap} dpi" if cap else "as scanned",
        key=_key(profile, "cap"),
        help="Pages with a higher resolution are reduced to this. Many archives require at least 300 dpi.",
    )
    return values


def _language(base: Settings, key: str) -> str:
    languages_in_profile = base.ocr.language.split("+")
    installed = _languages() or tuple(languages_in_profile)
    picked = st.multiselect(
        "Text language",
        installed,
        default=[one for one in languages_in_profile if one in installed],
        key=key,
        help="Installed Tesseract languages. Several at once take longer.",
    )
    return "+".join(picked) if picked else base.ocr.language


@lru_cache(maxsize=1)
def _languages() -> tuple[str, ...]:
    try:
        return tuple(one for one in languages() if one != "osd")
    except ConfigError:
        return ()


def _value(settings: Settings, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)


def _sections(base: Settings, changed: Mapping[str, object]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for key, value in changed.items():
        section, _, name = key.partition(".")
        part = sections.get(section, getattr(base, section))
        sections[section] = part.model_copy(update={name: value})
    return sections
