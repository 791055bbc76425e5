"""Compare PDFs of one scan each, written by Foliopress in one layer and as MRC, with other tools.

python -m benchmarks.documents DATA --out FOLDER
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.arms import Arm, ArmFailed, ArmResult, SourceArm
from benchmarks.judgement import judge_arm
from benchmarks.marked import MarkedPage, find_marked, read_marked
from benchmarks.other_tools import TOOLS, ToolArm, draw_pdf, run_command, upright_png
from benchmarks.product import PageArm, Setting, page_arms, run_product
from benchmarks.quality import some_of, versions
from benchmarks.quality_report import as_kilobytes, as_number, as_share, as_table
from benchmarks.rows import RowFile
from benchmarks.scoring import machine
from foliopress.configs.errors import ConfigError
from foliopress.model.truth import Scan

logger = logging.getLogger(__name__)

ROWS_FILE, FIGURES_FILE, TABLE_FILE = "documents-rows.jsonl", "documents.json", "documents.md"
ONE, LAYERS = "Foliopress", "Foliopress, layers"
TARGETS = (
    (ONE, "OCRmyPDF", 0.7),
    (ONE, "archive-pdf-tools", 1.0),
    (LAYERS, "archive-pdf-tools", 0.7),
)
"""Arm, tool, and target share of the tool's bytes."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class WrittenArm:
    """A PDF written by a run, rendered like those of other tools."""

    run: PageArm

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def family(self) -> str:
        """The run's name."""
        return self.run.family

    @property
    def reads_words(self) -> bool:
        """As in the run."""
        return self.run.reads_words

    @property
    def digest(self) -> str | None:
        """Digest of the PDF."""
        return self.run.digest

    def make(self, page: MarkedPage) -> ArmResult:
        """Render the PDF."""
        more = {"codec": "pdf", "status": self.run.status}
        return ArmResult(draw_pdf(self.run.output, page), self.run.size_bytes, self.run.seconds, more)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Scans with ground truth: a folder with or without manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for PDFs, rows and tables.", metavar="FOLDER")],
    split: Annotated[str, typer.Option(help="Split of the manifest.")] = "test",
    others: Annotated[bool, typer.Option(help="Run other tools if installed.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Run Foliopress again, e.g. after a code change.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Number of scans, spread over the folder; 0: all.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    publish: Annotated[Path | None, typer.Option(help="Also write the table and JSON there.", metavar="FOLDER")] = None,
) -> None:
    """Measure bytes against words found for each PDF."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if shutil.which("img2pdf") is None:
        raise typer.BadParameter("img2pdf, which wraps scans into PDFs losslessly, is not installed")
    try:
        scans = some_of(find_marked(folder, split), limit)
        wrapped = wrap(scans, out / "sources")
        table = RowFile(out / ROWS_FILE)
        arms: list[tuple[Scan, Arm]] = [(scan, SourceArm()) for scan in scans]
        for name, setting in ((ONE, "documents.layers=one"), (LAYERS, "documents.layers=mrc")):
            dest = run_product(
                out / "sources", wrapped, Setting("access", (setting,), None), out / "runs", jobs, again=again
            )
            made = page_arms(dest, wrapped, name, name, reads_words=True)
            pairs = zip(scans, wrapped, strict=True)
            arms += [(scan, WrittenArm(made[pdf.key])) for scan, pdf in pairs if pdf.key in made]
    except (ConfigError, ValueError, ArmFailed) as error:
        raise typer.BadParameter(str(error)) from error
    absent = []
    for tool in TOOLS.values() if others else ():
        if missing := tool.missing():
            absent.append(f"{tool.name}: {', '.join(missing)} not installed")
        else:
            arms += [(scan, ToolArm(tool.name, out / "outputs" / tool.name)) for scan in scans]
    measure(arms, table, jobs)
    rows = [table.row(scan.key, arm) for scan, arm in arms]
    figures = figures_of(rows, {scan.key: pdf.path.stat().st_size for scan, pdf in zip(scans, wrapped, strict=True)})
    for place in (out, publish) if publish else (out,):
        place.mkdir(parents=True, exist_ok=True)
        about = machine() | {"versions": versions(), "not_measured": absent}
        (place / FIGURES_FILE).write_text(json.dumps({"machine": about, **figures}, indent=1) + "\n", encoding="utf-8")
        (place / TABLE_FILE).write_text(as_markdown(figures, about, len(scans)), encoding="utf-8")
    for line in figures["against"]:
        logger.info("%s", line)


def wrap(scans: Sequence[Scan], folder: Path) -> list[Scan]:
    """Wrap each scan into its own PDF: unchanged if img2pdf accepts the file, else its pixels, losslessly."""
    wrapped = []
    for scan in scans:
        pdf = folder / f"{scan.key}.pdf"
        if not pdf.is_file():
            pdf.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="foliopress-benchmark-") as work:
                page = read_marked(scan)
                dpi = f"{round(page.dpi)}dpix{round(page.dpi)}dpi"
                made = Path(work) / "page.pdf"
                try:
                    run_command(["img2pdf", "--imgsize", dpi, str(scan.path.resolve()), "-o", str(made)], Path(work))
                except ArmFailed:  # e.g. an image with alpha
                    png = upright_png(page, Path(work))
                    run_command(["img2pdf", "--imgsize", dpi, png.name, "-o", str(made)], Path(work))
                shutil.copyfile(made, pdf)
        wrapped.append(replace(scan, key=f"{scan.key}.pdf", path=pdf))
    return wrapped


def measure(arms: Sequence[tuple[Scan, Arm]], table: RowFile, jobs: int) -> None:
    """Measure what has no row yet, several pages in parallel."""
    todo = [(scan, arm) for scan, arm in arms if not table.has(scan.key, arm)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for number, done in enumerate(as_completed([pool.submit(judge_arm, *one) for one in todo]), start=1):
            row = done.result()
            table.add(row)
            logger.info("%d of %d: %s, %s %s", number, len(todo), row["key"], row["arm"], row.get("error", ""))


def figures_of(rows: Sequence[Mapping[str, Any]], wrapped_bytes: Mapping[str, int]) -> dict[str, Any]:
    """Return the totals of every arm over the scans that all arms have, bitonal ones separately."""
    by_arm: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_arm.setdefault(str(row["arm"]), {})[str(row["key"])] = row
    made = [{key for key, row in of.items() if "error" not in row} for of in by_arm.values()]
    keys = sorted(set.intersection(*made)) if made else []
    kinds = {key: by_arm["source"][key]["page_kind"] for key in keys}
    groups = {"not bitonal": [key for key in keys if kinds[key] != "bitonal"], "all": keys}
    arms = {
        group: {name: _sums([of[key] for key in chosen], chosen, wrapped_bytes) for name, of in by_arm.items()}
        for group, chosen in groups.items()
    }
    failed = {name: sorted({*wrapped_bytes} - found) for name, found in zip(by_arm, made, strict=True)}
    return {"arms": arms, "failed": failed, "against": _against(arms["not bitonal"]), "n_pages": len(keys)}


def _sums(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], wrapped_bytes: Mapping[str, int]) -> dict[str, Any]:
    is_source = bool(rows) and rows[0]["arm"] == "source"
    similar = [row["text_ssim"] for row in rows if row.get("text_ssim") is not None]
    seconds = [row["seconds"] for row in rows if row.get("seconds") is not None]
    read = [row for row in rows if row.get("n_words")]
    source_bytes = sum(wrapped_bytes[key] for key in keys)
    size_bytes = source_bytes if is_source else sum(row["bytes"] for row in rows)
    return {
        "pages": len(rows),
        "bytes": size_bytes,
        "saved": 1 - size_bytes / source_bytes if source_bytes else None,
        "text_ssim": sum(similar) / len(similar) if similar else None,
        "worst_text_ssim": min(similar, default=None),
        "words_found": sum(row["words_found"] for row in read),
        "n_words": sum(row["n_words"] for row in read),
        "seconds": sum(seconds) / len(seconds) if seconds else None,
    }


def _against(arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for arm, tool, target in TARGETS:
        if arm in arms and tool in arms:
            ours, theirs = arms[arm], arms[tool]
            ratio = ours["bytes"] / theirs["bytes"]
            lines.append(
                f"{arm}: {as_kilobytes(ours['bytes'])} kB on {ours['pages']} non-bitonal PDFs, {tool} "
                f"{as_kilobytes(theirs['bytes'])} kB: {ratio:.2f} × (target: at most {target:g} ×); of "
                f"{ours['n_words']:,} words, {ours['words_found']:,} are found; with {tool}, {theirs['words_found']:,}"
            )
    return lines


def as_markdown(figures: Mapping[str, Any], about: Mapping[str, Any], n_scans: int) -> str:
    """Return the Markdown page."""
    parts = [
        "# PDFs compared with other tools",
        f"{n_scans} scans with ground truth, each wrapped losslessly into a one-page PDF; {about['processor']}; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "Text SSIM: on the strokes of marked lines, mean over pages and worst page. Words: ground-truth words "
        "that OCR finds on the page rendered by pdfium, on English scans. Seconds: on one core, including OCR.",
    ]
    for group, arms in figures["arms"].items():
        cells = [
            [
                name,
                str(found["pages"]),
                as_kilobytes(found["bytes"]),
                as_share(found["saved"], 1),
                as_number(found["text_ssim"], 3),
                as_number(found["worst_text_ssim"], 3),
                f"{found['words_found']:,} of {found['n_words']:,}",
                as_number(found["seconds"], 2),
            ]
            for name, found in arms.items()
        ]
        headings = ("arm", "PDFs", "kB", "saved", "text SSIM", "worst", "words", "s a page")
        parts += [f"## {group.capitalize()}", as_table(headings, cells)]
    parts.append("\n".join(f"- {line}" for line in figures["against"]))
    absent = [
        *about["not_measured"],
        *(f"{name}: failed on {', '.join(keys)}" for name, keys in figures["failed"].items() if keys),
    ]
    if absent:
        parts.append("\n".join(f"- {line}" for line in absent))
    return "\n\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    app()
