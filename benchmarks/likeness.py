"""Score a finished run with the SSIMULACRA 2 package, with and without the marked lines.

python -m benchmarks.likeness DATA DST
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from benchmarks.drawing import as_rgb
from benchmarks.marked import find_marked, line_area
from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import LimitSettings, StorageSettings
from foliopress.model.truth import Scan, read_truth
from foliopress.tasks.images import image_reader
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    data: Annotated[Path, typer.Argument(help="Folder of scans with ground truth, as for benchmarks.quality.")],
    dst: Annotated[Path, typer.Argument(help="Output folder of a run over those scans.")],
    split: Annotated[str, typer.Option(help="Split of the manifest.")] = "test",
    workers: Annotated[int, typer.Option(min=1, help="Processes, one per core.")] = 2,
) -> None:
    """Score each compressed page against its source: whole, and with all but its marked lines from the source."""
    try:
        scans = {(scan.collection, scan.path.name): scan for scan in find_marked(data, split)}
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    rows = sorted(live_rows(Store(str(dst), StorageSettings()), "pages"), key=lambda row: str(row["document_key"]))
    jobs = []
    for row in rows:
        key = Path(str(row["document_key"]))
        scan = scans.get((key.parent.name or data.name, key.name))
        if scan and row["status"] == "compressed" and row["page_index"] == 0:
            jobs.append((scan, dst / str(row["output_key"]), row))
    typer.echo(f"{len(jobs)} compressed pages with marked lines, {len(rows)} pages in all")
    typer.echo("  page   text   in its row      bytes  key")
    worst = [100.0, 100.0]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(page_scores, scan, output) for scan, output, _ in jobs]
        for (scan, _, row), future in zip(jobs, futures, strict=True):
            page, text = future.result()
            worst = [min(worst[0], page), min(worst[1], text)]
            typer.echo(f"{page:6.1f} {text:6.1f} {_told(row)} {row['output_bytes']:10,}  {scan.key}")
    typer.echo(f"{worst[0]:6.1f} {worst[1]:6.1f}  worst")


def page_scores(scan: Scan, output: Path) -> tuple[float, float]:
    """Return the package's score of a page, and that of its source with the page's marked lines.

    Args:
        scan: With ground truth.
        output: Compressed first page.

    Raises:
        PageError: If either cannot be decoded.
    """
    from ssimulacra2 import compute_ssimulacra2  # it imports scipy

    source, decoded = (
        as_rgb(image_reader.read_page(path.read_bytes(), 0, LimitSettings()).pixels) for path in (scan.path, output)
    )
    assert scan.truth is not None
    lines = line_area(read_truth(scan.truth), *source.shape[:2])
    only_text = np.where(lines[..., np.newaxis], decoded, source)
    with TemporaryDirectory() as folder:
        of_source, *others = (
            _written(Path(folder) / f"{n}.png", p) for n, p in enumerate((source, decoded, only_text))
        )
        page, text = (float(compute_ssimulacra2(of_source, other)) for other in others)
    return page, text


def _written(file: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(file, compress_level=1)
    return str(file)


def _told(row: Mapping[str, Any]) -> str:
    scores = (row["ssimulacra2"], row["text_ssimulacra2"])
    return " ".join("     -" if score is None else f"{score:6.1f}" for score in scores)


if __name__ == "__main__":
    app()
