"""Controls: the settings that one turns to find a profile of one's own, in plain words, each with what it does."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import streamlit as st
import yaml

from foliopress.configs.loading import load_settings, profile_names, public_settings
from foliopress.configs.settings import Settings
from foliopress.tasks.errors import ConfigError
from foliopress.tasks.ocr.tesseract import languages

PROFILES = {
    "access": "For reading on a screen and printing: small, and every stroke legible.",
    "compatible": "The same as JPEG, which every program opens.",
    "preservation": "Looks the same as its source when the two are flipped.",
    "smallest": "As few bytes as reading allows.",
}
_CODECS = {
    "avif": "AVIF: smallest; browsers and newer programs open it",
    "webp": "WebP: larger; all browsers open it",
    "jpeg": "JPEG: larger; everything opens it",
    "jp2": "JPEG 2000: for archives that ask for it",
    "jxl": "JPEG XL: few programs open it yet",
}
_LEVELS = {1: "full", 2: "half", 4: "a quarter", 8: "an eighth"}
_CAPS = (None, 400, 300, 250, 200, 150)
_NOT_IN_A_PROFILE = ("profile", "scan", "cluster", "storage", "shard", "evidence")


@dataclass(frozen=True)
class ChosenSettings:
    """What the controls stand at; `changed` are the settings that differ from the profile's, by dotted key."""

    settings: Settings
    changed: Mapping[str, object]


def choose_settings() -> ChosenSettings:
    """Draw the controls and return what they stand at.

    Raises:
        ConfigError: If the settings are not possible together.
    """
    names = [name for name in PROFILES if name in profile_names()]
    profile = st.selectbox("Profile", names, help="A set of settings that fit together; the rest starts from it.")
    st.caption(PROFILES[profile])
    base = load_settings(profile)
    values = dict(_draw_controls(profile, base))
    changed = {key: value for key, value in values.items() if value != _value(base, key)}
    # what is given as None is taken for not given: a profile's own value would come back
    settings = base.model_copy(update=_sections(base, changed))
    return ChosenSettings(Settings.model_validate(settings.model_dump()), changed)


def as_profile(chosen: ChosenSettings) -> str:
    """Return the settings as a YAML file for `--profile`, without what is about places and machines."""
    values = {key: part for key, part in public_settings(chosen.settings).items() if key not in _NOT_IN_A_PROFILE}
    told = ", ".join(f"{key} {value}" for key, value in chosen.changed.items()) or "nothing changed"
    head = f"# The profile {chosen.settings.profile}, {told}.\n# foliopress compress SOURCE DEST --profile FILE\n"
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _draw_controls(profile: str, base: Settings) -> dict[str, Any]:
    """Draw a control for each setting, and return what they stand at, by dotted key."""

    def key(name: str) -> str:  # a control keeps its value while the profile stays
        return f"{profile}.{name}"

    values: dict[str, Any] = {}
    codecs = [codec for codec in _CODECS if codec != "jxl" or importlib.util.find_spec("imagecodecs")]
    values["encode.codec"] = st.selectbox(
        "Format",
        codecs,
        index=codecs.index(base.encode.codec),
        format_func=lambda codec: _CODECS[codec],
        key=key("codec"),
        help="Format of grey and colour pages. Pages of black and white become CCITT G4 TIFF, which loses nothing.",
    )
    is_fixed = st.toggle(
        "Fixed quality",
        value=base.encode.quality is not None,
        key=key("fixed"),
        help="Off: each page gets the least quality that reaches the legibility target.",
    )
    if is_fixed:
        values["encode.quality"] = st.slider(
            "Quality", 1, 100, base.encode.quality or 50, key=key("quality"), help="Of the encoder; 100 is the highest."
        )
    else:
        values["encode.quality"] = None
        values["legibility.target_ssim"] = st.slider(
            "Legibility target",
            *(0.9, 0.995, base.legibility.target_ssim, 0.005),
            format="%.3f",
            key=key("target"),
            help="How like the source's strokes must be at 150 dpi (SSIM): 1 is the same, at 0.98 print reads alike.",
        )
    values["importance.threshold"] = st.slider(
        "Importance threshold",
        *(0.0, 0.5, min(0.5, base.importance.threshold), 0.002),
        format="%.3f",
        key=key("threshold"),
        help="A place whose score reaches it keeps its full resolution. Lower keeps more, and takes more bytes.",
    )
    values["resolution.harshest_level"] = st.select_slider(
        "Coarsest resolution of empty places",
        list(_LEVELS),
        base.resolution.harshest_level,
        format_func=lambda level: _LEVELS[level],
        key=key("level"),
        help="How far places of no importance may be reduced. Text, writing, stamps and pictures never are.",
    )
    values["resolution.max_dpi"] = st.selectbox(
        "Resolution of the page",
        _CAPS,
        index=_CAPS.index(base.resolution.max_dpi) if base.resolution.max_dpi in _CAPS else 0,
        format_func=lambda cap: f"at most {cap} dpi" if cap else "as scanned",
        key=key("cap"),
        help="Pages of a higher resolution are written at this one. Many archives ask for 300 dpi at least.",
    )
    values["documents.layers"] = (
        "mrc"
        if st.toggle(
            "PDFs in layers",
            value=base.documents.layers == "mrc",
            key=key("layers"),
            help="Scans in PDFs: strokes with crisp edges, their colour and the paper behind them apart. Far smaller.",
        )
        else "one"
    )
    values["ocr.language"] = _language(base, key("language"))
    return values


def _language(base: Settings, key: str) -> str:
    wanted = base.ocr.language.split("+")
    installed = _languages() or tuple(wanted)
    picked = st.multiselect(
        "Language of the text",
        installed,
        default=[one for one in wanted if one in installed],
        key=key,
        help="What Tesseract reads; these are installed. Several at once take longer.",
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
