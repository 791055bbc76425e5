"""Try a scan: one document, live settings, and what its page comes to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from io import BytesIO

import streamlit as st

from foliopress.app import untrusted_text, viewer
from foliopress.app.controls import Chosen, as_profile, choose_settings
from foliopress.app.labels import byte_size, percent, words_for
from foliopress.app.metrics_row import Figure, draw_figures
from foliopress.app.page_images import Picture, picture_of
from foliopress.app.trial import Closer, Stage, Trial
from foliopress.app.trial_result import Draft, Tried
from foliopress.app.uniform_baseline import Uniform
from foliopress.app.workbench import READING, SCORING, Bench, key_of
from foliopress.configs.settings import Settings
from foliopress.tasks.checks.rereading import WordCheck
from foliopress.tasks.errors import ConfigError, PageError
from foliopress.tasks.ocr import recognition
from foliopress.tasks.samples.sample_archive import sample_document, sample_keys
from foliopress.tasks.storage.source_listing import DOCUMENT_SUFFIXES

_TYPES = sorted(suffix.removeprefix(".") for suffix in DOCUMENT_SUFFIXES)
_MANY_NAMES = ("jpeg", "tiff", "jpe", "tif", "pdf")
_UNIFORM, _SSIM, _KEPT = "Uniform, as sharp", "Text SSIM", "Words kept"
_OUTPUT, _ROW, _SETTINGS = "Download the output", "Download its row", "Download these settings"
_TICK_S = 0.1
_SHARE_DONE = {READING: 0.1, SCORING: 0.45}
_STEPS = {
    "seconds_read": "read",
    "seconds_ocr": "find text",
    "seconds_score": "judge importance",
    "seconds_encode": "plan, rescale, encode",
    "seconds_check": "check",
    "seconds_reread": "read again",
}


def draw() -> None:
    """Draw the page."""
    with st.sidebar:
        bench = _document()
        try:
            chosen = choose_settings()
        except ConfigError as error:
            untrusted_text.problem(st.error, "These settings do not go together:", str(error))
            return
    if bench is None:
        _welcome()
        return
    source = bench.open(chosen.settings)
    if source.problem or source.header is None:
        _say_what_is_wrong(bench, source.problem)
        return
    n_pages = len(source.header.pages)
    number = _picked_page(bench, n_pages) if n_pages > 1 else 0
    trial = _trial(bench, number, chosen.settings)
    try:
        _await_first_sight(trial)
        _draw_trial(bench, trial, chosen)
    except ConfigError as error:
        untrusted_text.problem(st.error, "These settings ask for what is not there:", str(error))


def _document() -> Bench | None:
    """Draw what a document is chosen by, and return its bench, which the session keeps while it stays chosen."""
    uploaded = st.file_uploader(
        "Your scan",
        type=_TYPES,
        help="It is held in memory while this page is open, seen by nobody else, and never written to disk.",
    )
    sample = None
    if uploaded is None:
        sample = st.selectbox("or a sample", sample_keys(), index=None, placeholder="Choose a made-up scan")
    if uploaded is not None:
        name, data = uploaded.name, uploaded.getvalue()
    elif sample is not None:
        name, data = sample.rpartition("/")[2], _sample(sample)
    else:
        st.session_state.pop("bench", None)
        if (trial := st.session_state.pop("trial", None)) is not None:
            trial.stop()
        return None
    held = st.session_state.get("bench")
    digest = hashlib.sha256(data).hexdigest()
    if held is None or (held[0].name, held[1]) != (name, digest):
        held = Bench(name, data), digest
        st.session_state["bench"] = held
        for key in ("shown", "text check"):  # they are of the document that was here before
            st.session_state.pop(key, None)
    bench: Bench = held[0]
    return bench


@st.cache_data(max_entries=8, show_spinner=False)
def _sample(key: str) -> bytes:
    return sample_document(key)


def _welcome() -> None:
    st.title("Try a scan")
    st.markdown(
        "Drop a scan on the left, or choose a sample. You see it beside what Foliopress makes of it, what the network "
        "thinks matters on it, how far the rest was reduced, and every word that no longer reads the same.\n\n"
        f"It takes {', '.join(one.upper() for one in _TYPES if one not in _MANY_NAMES)} and TIFF, also of many pages, "
        "and PDF. Nothing leaves this machine."
    )


def _say_what_is_wrong(bench: Bench, problem: PageError | None) -> None:
    untrusted_text.heading(bench.name)
    untrusted_text.problem(st.error, *words_for(problem))
    st.caption("In a run it would be kept as it is, with this reason in its row; nothing is lost.")


def _picked_page(bench: Bench, n_pages: int) -> int:
    picked = st.sidebar.number_input(f"Page (of {n_pages})", 1, n_pages, 1, key=f"page of {bench.name}")
    return int(picked) - 1


def _trial(bench: Bench, number: int, settings: Settings) -> Trial:
    """Return the session's trial; one of other settings, or of another document, ends."""
    held: Trial | None = st.session_state.get("trial")
    if held is None or held.bench is not bench or held.key != key_of(number, settings) or not held.is_of_use:
        if held is not None:
            held.stop()
        held = st.session_state["trial"] = Trial(bench, number, settings)
    return held


def _await_first_sight(trial: Trial) -> None:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, "Starting")
        while not trial.wait(Stage.BEGUN, _TICK_S):  # drawing lets Streamlit go on to other settings
            bar.progress(_SHARE_DONE.get(trial.says, 0.6), trial.says)
    place.empty()


def _draw_trial(bench: Bench, trial: Trial, chosen: Chosen) -> None:
    """Draw what there is, and once there is more have the page drawn anew."""
    stage, tried, draft, closer = trial.stage, trial.tried, trial.draft, trial.closer
    if tried is not None and tried.page is None:
        _say_what_is_wrong(bench, tried.problem)
        return
    seen = tried or draft
    assert seen is not None
    checks = closer.checks if closer and not isinstance(closer.checks, str) else ()
    untrusted_text.heading(bench.name)
    if tried is not None and tried.problem:
        untrusted_text.problem(st.warning, *words_for(tried.problem))
    if tried is not None:
        _draw_figures(tried, closer)
    elif draft is not None:
        _draw_first_figures(draft)
    _draw_viewer(bench, seen, checks, are_previews=closer is None)
    _draw_downloads(tried, chosen)
    _draw_text_check(closer)
    place = st.empty()
    if tried is not None:
        _draw_seconds(tried)
    if stage < Stage.SEEN_CLOSER:
        while not trial.wait(stage, _TICK_S):
            place.caption(f"{trial.says} …")
        st.rerun()


def _draw_viewer(bench: Bench, seen: Tried | Draft, checks: Sequence[WordCheck], *, are_previews: bool) -> None:
    before, after = _pictures(bench, seen, are_previews=are_previews)
    grid, words = (seen.analysis.grid, seen.analysis.words) if seen.analysis else (None, ())
    outcome = "Output" if isinstance(seen, Draft) or seen.problem is None else "What was tried"
    viewer.show(
        f"{bench.name} {seen.page_index}",
        before,
        after,
        viewer.Overlays(
            seen.analysis.importance if seen.analysis else None,
            seen.levels,
            grid.tile_px if grid else 1,
            _marks(words, checks),
        ),
        labels=("Source", outcome),
        focus=_focus(checks),
    )


def _draw_first_figures(draft: Draft) -> None:
    """Draw the figures of a page that was not judged yet: what is to come has its place already."""
    size_bytes, source_bytes = len(draft.data), draft.source_bytes
    draw_figures(
        Figure("Source", byte_size(source_bytes)),
        Figure("Output", byte_size(size_bytes), f"{percent(1 - size_bytes / source_bytes)} saved"),
        *(Figure(name, "…") for name in (_UNIFORM, _SSIM, _KEPT)),
    )
    st.caption("Held against its source …")


def _draw_figures(tried: Tried, closer: Closer | None) -> None:
    row, uniform = tried.row, closer.uniform if closer else None
    source_bytes, data = row.source_bytes, tried.finished.data
    ssim, kept = row.text_ssim, row.words_kept_fraction
    draw_figures(
        Figure("Source", byte_size(source_bytes)),
        Figure("Output", byte_size(len(data)), f"{percent(1 - len(data) / source_bytes)} saved")
        if data is not None
        else Figure("Output", "none"),
        _uniform_figure(uniform, len(data or b" ")) if uniform else Figure(_UNIFORM, "none" if closer else "…"),
        Figure(
            _SSIM,
            "no text" if ssim is None else f"{ssim:.3f}",
            help="How like the source the strokes of its words are, at full resolution; 1 is the same.",
        ),
        Figure(
            _KEPT,
            "none sure" if kept is None else percent(kept),
            help="Of the words that OCR was sure of, those that read the same or stand where hardly anything changed.",
        ),
    )
    facts = [
        str(row.page_kind),
        f"{row.width_px} × {row.height_px} pixels",
        f"{row.dpi or 0:.0f} dpi",
    ]
    if row.codec:
        facts.append(row.codec.upper() + (f" at quality {row.quality}" if row.quality else ""))
    if row.attempts:
        facts.append(f"{row.attempts} tries" if row.attempts != 1 else "1 try")
    if tried.text:
        facts.append(f"{tried.text.grid.n_tiles} tiles of {tried.text.grid.tile_px} pixels")
    st.caption(" · ".join(facts))


def _uniform_figure(uniform: Uniform, size_bytes: int) -> Figure:
    more = uniform.size_bytes / size_bytes - 1
    note = f"{percent(more)} more" if more >= 0 else f"{percent(-more)} less"
    explained = f"The whole page in one quality of the same format ({uniform.quality}), its strokes as sharp."
    return Figure(_UNIFORM, byte_size(uniform.size_bytes), note, explained)


def _pictures(bench: Bench, seen: Tried | Draft, *, are_previews: bool) -> tuple[Picture, Picture | None]:
    """Return both sides as pictures; each is made once, however often the page is drawn."""
    page = seen.page
    assert page is not None
    shown: dict[Hashable, Picture | None] = st.session_state.setdefault("shown", {})
    whole_source = (bench.name, seen.source.sha256, seen.page_index, page.icc), False
    source = whole_source if whole_source in shown else (whole_source[0], are_previews)
    output = None if seen.data is None else hashlib.sha256(seen.data).digest(), are_previews
    if source not in shown:
        shown[source] = picture_of(page, is_preview=are_previews)
    if output not in shown:
        shown[output] = seen.preview if isinstance(seen, Draft) else _picture_of_output(seen, is_preview=are_previews)
    for key in shown.keys() - {source, output}:
        del shown[key]
    before = shown[source]
    assert before is not None
    return before, shown[output]


def _picture_of_output(tried: Tried, *, is_preview: bool) -> Picture | None:
    page = tried.output()
    return None if page is None else picture_of(page, is_preview=is_preview)


def _marks(words: Sequence[recognition.Word], checks: Sequence[WordCheck]) -> list[viewer.Mark]:
    verdicts = {check.word: check.verdict for check in checks}
    return [
        viewer.Mark(word.row_px, word.col_px, word.height_px, word.width_px, verdicts.get(word, "unsure"))
        for word in words
    ]


def _focus(checks: Sequence[WordCheck]) -> viewer.Mark | None:
    """Return the word that was picked in the list of the text check, if one was."""
    picked = st.session_state.get("text check")
    rows = picked["selection"]["rows"] if picked else []
    bad = [check for check in checks if check.verdict != "kept"]
    if not rows or rows[0] >= len(bad):
        return None
    word = bad[rows[0]].word
    return viewer.Mark(word.row_px, word.col_px, word.height_px, word.width_px, bad[rows[0]].verdict)


def _draw_downloads(tried: Tried | None, chosen: Chosen) -> None:
    """Draw the downloads beside one another, so that output and settings are always those of one try."""
    columns = st.columns(3)
    if tried is None:  # so that no button of the try before stays there
        for column, name in zip(columns, (_OUTPUT, _ROW, _SETTINGS), strict=True):
            column.button(name, disabled=True, key=f"no {name}")
        return
    data = tried.output_file() if tried.problem is None else None
    if data is not None:
        columns[0].download_button(
            _OUTPUT, BytesIO(data), tried.output_name, "application/octet-stream", on_click="ignore"
        )
    columns[1].download_button(
        _ROW,
        json.dumps(tried.row.as_record(), indent=1, ensure_ascii=False),
        f"{tried.source.document.key}.json",
        "application/json",
        help="The figures as a run writes them to its statistics.",
        on_click="ignore",
    )
    columns[2].download_button(
        _SETTINGS,
        as_profile(chosen),
        "my-profile.yaml",
        "application/yaml",
        help="A profile for bulk runs: foliopress compress SOURCE DEST --profile my-profile.yaml",
        on_click="ignore",
    )


def _draw_text_check(closer: Closer | None) -> None:
    st.markdown("#### Text check")
    checks = closer.checks if closer else None
    if checks is None:
        st.caption("The output is read once more …")
    elif isinstance(checks, str):
        untrusted_text.problem(st.warning, "The output could not be read once more:", checks)
    elif not checks:
        st.caption("OCR was sure of no word on this page; its strokes are held against the source all the same.")
    else:
        bad = [check for check in checks if check.verdict != "kept"]
        st.caption(
            f"Of {len(checks)} words that OCR was sure of, {len(checks) - len(bad)} read the same on the output. The "
            "check that decides also reads the others line by line, so that OCR's own wavering is not held against the "
            "page. Pick a word to see it."
        )
        if bad:
            table = [
                {
                    "source": check.word.text,
                    "output": check.found,
                    "": "reads otherwise" if check.verdict == "changed" else "not read",
                    "confidence": round(check.word.confidence),
                }
                for check in bad
            ]
            st.dataframe(
                table,
                key="text check",
                on_select="rerun",
                selection_mode="single-row",
                hide_index=True,
                height="content",
            )


def _draw_seconds(tried: Tried) -> None:
    parts = [(name, getattr(tried.row, key)) for key, name in _STEPS.items()]
    told = [f"{name} {seconds:.2f} s" for name, seconds in parts if seconds is not None]
    st.caption("Time: " + " · ".join(told))
