"""Draw the page that tries one scan with live settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from io import BytesIO

import streamlit as st

from foliopress.app import untrusted_text, viewer
from foliopress.app.controls import ChosenSettings, as_profile, choose_settings
from foliopress.app.labels import byte_size, describe_problem, percent
from foliopress.app.metrics_row import Metric, draw_metrics
from foliopress.app.page_images import Picture, picture_of
from foliopress.app.trial import FollowUp, Stage, Trial
from foliopress.app.trial_result import Draft, TrialResult
from foliopress.app.uniform_baseline import UniformBaseline
from foliopress.app.workbench import READING, SCORING, Workbench, key_of
from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import Settings
from foliopress.tasks.checks.rereading import Rereading, WordCheck
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition
from foliopress.tasks.samples.sample_archive import sample_document, sample_keys
from foliopress.tasks.storage.source_listing import DOCUMENT_SUFFIXES

_TYPES = sorted(suffix.removeprefix(".") for suffix in DOCUMENT_SUFFIXES)
_MANY_NAMES = ("jpeg", "tiff", "jpe", "tif", "pdf")
_OUTCOMES = {"changed": "reads differently", "lost": "not read", "unrepeatable": "the source does not repeat it"}
_UNIFORM, _SSIM, _KEPT = "Uniform, as sharp", "Text SSIM", "Words kept"
_OUTPUT, _ROW, _SETTINGS = "Download the output", "Download its row", "Download these settings"
_TICK_S = 0.1
_SHARE_DONE = {READING: 0.1, SCORING: 0.45}
_STEPS = {
    "seconds_read": "read",
    "seconds_ocr": "find text",
    "seconds_score": "score importance",
    "seconds_encode": "plan, rescale, encode",
    "seconds_check": "check",
    "seconds_reread": "reread",
}


def draw() -> None:
    """Draw the page."""
    with st.sidebar:
        workbench = _document()
        try:
            chosen = choose_settings()
        except ConfigError as error:
            untrusted_text.problem(st.error, "These settings contradict each other:", str(error))
            return
    if workbench is None:
        _welcome()
        return
    source = workbench.open(chosen.settings)
    if source.problem or source.header is None:
        _draw_problem(workbench, source.problem)
        return
    n_pages = len(source.header.pages)
    number = _picked_page(workbench, n_pages) if n_pages > 1 else 0
    trial = _trial(workbench, number, chosen.settings)
    try:
        _await_first_encoding(trial)
        _draw_trial(workbench, trial, chosen)
    except ConfigError as error:
        untrusted_text.problem(st.error, "These settings require something that is missing:", str(error))


def _document() -> Workbench | None:
    """Draw the document chooser, and return its workbench, which the session keeps until another is chosen."""
    uploaded = st.file_uploader(
        "Your scan",
        type=_TYPES,
        help="Held in memory while this page is open, not visible to others, and never written to disk.",
    )
    sample = None
    if uploaded is None:
        sample = st.selectbox("or a sample", sample_keys(), index=None, placeholder="Choose a synthetic scan")
    if uploaded is not None:
        name, data = uploaded.name, uploaded.getvalue()
    elif sample is not None:
        name, data = sample.rpartition("/")[2], _sample(sample)
    else:
        st.session_state.pop("workbench", None)
        if (trial := st.session_state.pop("trial", None)) is not None:
            trial.stop()
        return None
    held = st.session_state.get("workbench")
    digest = hashlib.sha256(data).hexdigest()
    if held is None or (held[0].name, held[1]) != (name, digest):
        held = Workbench(name, data), digest
        st.session_state["workbench"] = held
        for key in ("shown", "text check"):  # these belong to the previous document
            st.session_state.pop(key, None)
    workbench: Workbench = held[0]
    return workbench


@st.cache_data(max_entries=8, show_spinner=False)
def _sample(key: str) -> bytes:
    return sample_document(key)


def _welcome() -> None:
    st.title("Try a scan")
    st.markdown(
        "Drop a scan on the left, or choose a sample. The page shows the scan next to its output, the importance of "
        "each tile, the resolution of each tile, and every word that no longer reads the same.\n\n"
        f"Formats: {', '.join(one.upper() for one in _TYPES if one not in _MANY_NAMES)}, TIFF (including multi-page) "
        "and PDF. Nothing leaves this machine."
    )


def _draw_problem(workbench: Workbench, problem: PageError | None) -> None:
    untrusted_text.heading(workbench.name)
    untrusted_text.problem(st.error, *describe_problem(problem))
    st.caption("In a run it would be kept unchanged, with this reason in its row; nothing is lost.")


def _picked_page(workbench: Workbench, n_pages: int) -> int:
    picked = st.sidebar.number_input(f"Page (of {n_pages})", 1, n_pages, 1, key=f"page of {workbench.name}")
    return int(picked) - 1


def _trial(workbench: Workbench, number: int, settings: Settings) -> Trial:
    """Return the session's trial; stop one for another document or other settings."""
    held: Trial | None = st.session_state.get("trial")
    if held is None or held.workbench is not workbench or held.key != key_of(number, settings) or not held.is_usable:
        if held is not None:
            held.stop()
        held = st.session_state["trial"] = Trial(workbench, number, settings)
    return held


def _await_first_encoding(trial: Trial) -> None:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, "Starting")
        while not trial.wait(Stage.STARTED, _TICK_S):  # drawing lets Streamlit react to other settings
            bar.progress(_SHARE_DONE.get(trial.status_text, 0.6), trial.status_text)
    place.empty()


def _draw_trial(workbench: Workbench, trial: Trial, chosen: ChosenSettings) -> None:
    """Draw what there is, and once there is more have the page drawn anew."""
    stage, result, draft, follow_up = trial.stage, trial.result, trial.draft, trial.follow_up
    if result is not None and result.page is None:
        _draw_problem(workbench, result.problem)
        return
    seen = result or draft
    assert seen is not None
    checks = follow_up.words.checks if follow_up and isinstance(follow_up.words, Rereading) else ()
    untrusted_text.heading(workbench.name)
    if result is not None and result.problem:
        untrusted_text.problem(st.warning, *describe_problem(result.problem))
    if result is not None:
        _draw_metrics(result, follow_up)
    elif draft is not None:
        _draw_draft_metrics(draft)
    _draw_viewer(workbench, seen, checks, are_previews=follow_up is None)
    _draw_downloads(result, chosen)
    _draw_text_check(follow_up)
    place = st.empty()
    if result is not None:
        _draw_seconds(result)
    if stage < Stage.FOLLOWED_UP:
        while not trial.wait(stage, _TICK_S):
            place.caption(f"{trial.status_text} …")
        st.rerun()


def _draw_viewer(
    workbench: Workbench, seen: TrialResult | Draft, checks: Sequence[WordCheck], *, are_previews: bool
) -> None:
    before, after = _pictures(workbench, seen, are_previews=are_previews)
    grid, words = (seen.analysis.grid, seen.analysis.words) if seen.analysis else (None, ())
    outcome = "Output" if isinstance(seen, Draft) or seen.problem is None else "What was tried"
    viewer.show(
        f"{workbench.name} {seen.page_index}",
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


def _draw_draft_metrics(draft: Draft) -> None:
    """Draw the metrics of a page before it is judged, with placeholders for missing ones."""
    size_bytes, source_bytes = len(draft.data), draft.source_bytes
    draw_metrics(
        Metric("Source", byte_size(source_bytes)),
        Metric("Output", byte_size(size_bytes), f"{percent(1 - size_bytes / source_bytes)} saved"),
        *(Metric(name, "…") for name in (_UNIFORM, _SSIM, _KEPT)),
    )
    st.caption("Comparing it with its source …")


def _draw_metrics(result: TrialResult, follow_up: FollowUp | None) -> None:
    row, uniform = result.row, follow_up.uniform if follow_up else None
    source_bytes, data = row.source_bytes, result.finished.data
    ssim, kept = row.text_ssim, row.words_kept_fraction
    draw_metrics(
        Metric("Source", byte_size(source_bytes)),
        Metric("Output", byte_size(len(data)), f"{percent(1 - len(data) / source_bytes)} saved")
        if data is not None
        else Metric("Output", "none"),
        _uniform_metric(uniform, len(data or b" ")) if uniform else Metric(_UNIFORM, "none" if follow_up else "…"),
        Metric(
            _SSIM,
            "no text" if ssim is None else f"{ssim:.3f}",
            help="How like the source the strokes of its words are, at full resolution; 1 is the same.",
        ),
        Metric(
            _KEPT,
            "none sure" if kept is None else percent(kept),
            help="Share of the words that OCR was sure of and that are not lost. The text check below counts them all.",
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
    if result.text:
        facts.append(f"{result.text.grid.n_tiles} tiles of {result.text.grid.tile_px} pixels")
    st.caption(" · ".join(facts))


def _uniform_metric(uniform: UniformBaseline, size_bytes: int) -> Metric:
    more = uniform.size_bytes / size_bytes - 1
    note = f"{percent(more)} more" if more >= 0 else f"{percent(-more)} less"
    explained = f"The whole page in one quality of the same format ({uniform.quality}), with equally sharp strokes."
    return Metric(_UNIFORM, byte_size(uniform.size_bytes), note, explained)


def _pictures(workbench: Workbench, seen: TrialResult | Draft, *, are_previews: bool) -> tuple[Picture, Picture | None]:
    """Return both sides as images; each is created once, however often the page is drawn."""
    page = seen.page
    assert page is not None
    shown: dict[Hashable, Picture | None] = st.session_state.setdefault("shown", {})
    whole_source = (workbench.name, seen.source.sha256, seen.page_index, page.icc), False
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


def _picture_of_output(result: TrialResult, *, is_preview: bool) -> Picture | None:
    page = result.output()
    return None if page is None else picture_of(page, is_preview=is_preview)


def _marks(words: Sequence[recognition.Word], checks: Sequence[WordCheck]) -> list[viewer.Mark]:
    outcomes = {check.word: check.outcome for check in checks}
    return [
        viewer.Mark(word.row_px, word.col_px, word.height_px, word.width_px, outcomes.get(word, "unsure"))
        for word in words
    ]


def _focus(checks: Sequence[WordCheck]) -> viewer.Mark | None:
    """Return the word selected in the list of the text check, or None."""
    picked = st.session_state.get("text check")
    rows = picked["selection"]["rows"] if picked else []
    listed = _listed(checks)
    if not rows or rows[0] >= len(listed):
        return None
    word = listed[rows[0]].word
    return viewer.Mark(word.row_px, word.col_px, word.height_px, word.width_px, listed[rows[0]].outcome)


def _listed(checks: Sequence[WordCheck]) -> list[WordCheck]:
    """Return the checks that the list of the text check shows: lost words first, then unrepeatable ones."""
    order = ("changed", "lost", "unrepeatable")
    return sorted((check for check in checks if check.outcome in order), key=lambda check: order.index(check.outcome))


def _draw_downloads(result: TrialResult | None, chosen: ChosenSettings) -> None:
    """Draw the downloads next to each other, so that output and settings always belong to one trial."""
    columns = st.columns(3)
    if result is None:  # replaces the buttons of the previous trial
        for column, name in zip(columns, (_OUTPUT, _ROW, _SETTINGS), strict=True):
            column.button(name, disabled=True, key=f"no {name}")
        return
    data = result.output_file() if result.problem is None else None
    if data is not None:
        columns[0].download_button(
            _OUTPUT, BytesIO(data), result.output_name, "application/octet-stream", on_click="ignore"
        )
    columns[1].download_button(
        _ROW,
        json.dumps(result.row.as_record(), indent=1, ensure_ascii=False),
        f"{result.source.document.key}.json",
        "application/json",
        help="The metrics as a run writes them to its statistics.",
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


def _draw_text_check(follow_up: FollowUp | None) -> None:
    st.markdown("#### Text check")
    words = follow_up.words if follow_up else None
    if follow_up is None:
        st.caption("Reading the output …")
    elif isinstance(words, str):
        untrusted_text.problem(st.warning, "OCR of the output failed:", words)
    elif words is None or not words.checks:
        st.caption("OCR was sure of no word on this page; its strokes are compared with the source nevertheless.")
    else:
        st.caption(_word_counts(words))
        if listed := _listed(words.checks):
            table = [
                {
                    "source": check.word.text,
                    "output": check.found,
                    "": _OUTCOMES[check.outcome],
                    "confidence": round(check.word.confidence),
                }
                for check in listed
            ]
            st.dataframe(
                table,
                key="text check",
                on_select="rerun",
                selection_mode="single-row",
                hide_index=True,
                height="content",
            )


def _draw_seconds(result: TrialResult) -> None:
    parts = [(name, getattr(result.row, key)) for key, name in _STEPS.items()]
    told = [f"{name} {seconds:.2f} s" for name, seconds in parts if seconds is not None]
    st.caption("Time: " + " · ".join(told))


def _word_counts(words: Rereading) -> str:
    """Return what became of a page's words, in one sentence for each outcome that occurs."""
    n_sure, n_lost = len(words.checks), words.count("changed", "lost")
    parts = [
        f"OCR was sure of {n_sure} words.",
        f"{words.count('unchanged')} stand on lines that hardly changed.",
        f"{words.words_reread} were read again: {words.count('same')} read the same, {n_lost} are lost.",
    ]
    if n_unrepeatable := words.count("unrepeatable"):
        parts.append(
            f"{n_unrepeatable} read otherwise, but the source does not repeat them either when it is read again with "
            "changes that nobody can see, so they do not count against the page."
        )
    return " ".join([*parts, "Select a word below to see it."] if _listed(words.checks) else parts)
