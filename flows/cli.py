"""The command line. Whatever goes wrong, the user reads one clear line; tracebacks go to the log file."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.secrets import hide
from foliopress.configs.settings import Settings
from foliopress.flows.host.interrupts import end_on_signals
from foliopress.flows.host.streams import is_encodable, open_streams
from foliopress.tasks.errors import LeaseLost, PayloadDamaged, StoreUnavailable

if TYPE_CHECKING:
    from foliopress.flows.run.run_summary import RunSummary

BROKEN, WRONG_SETTINGS, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130
_LEAVES_WITHIN_S = 20.0
_SURPLUS = (
    "There are more arguments than the command takes; an option's value stands behind it, quoted if it has spaces."
)
_OF_THE_WINDOW = ("streamlit", "altair", "vl_convert")

_Profile = Annotated[
    str, typer.Option(help="access, compatible, preservation, smallest, or a YAML file.", metavar="NAME|FILE")
]
_Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change one setting, e.g. encode.quality=35.", metavar="KEY=VALUE")
]
_Scheduler = Annotated[
    str | None, typer.Option(help="Dask scheduler to work on, e.g. tcp://host:8786.", metavar="ADDRESS")
]
_Workers = Annotated[int | None, typer.Option(help="Worker processes of the local cluster.", metavar="N")]
_AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="A SOURCE without documents is no error.")]
_LogFile = Annotated[Path | None, typer.Option(help="Where the log goes; a temporary file without it.", metavar="FILE")]


class _Discreet(TyperGroup):
    """The commands; what is wrong with a command line is said without the values on it, which may be secret."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "format_message") and hasattr(error, "message"):  # a usage error
                is_surplus = str(error.message).startswith("Got unexpected extra argument")
                error.message = _SURPLUS if is_surplus else hide(str(error.message))
            raise


app = typer.Typer(
    cls=_Discreet,
    help="Shrink archives of scanned documents and keep what people look at them for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
log = logging.getLogger(__name__)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        try:
            print(metadata.version("foliopress"))
        except metadata.PackageNotFoundError:
            print("unknown (not installed)")
        raise typer.Exit


@app.callback()
def of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Foliopress."""


@app.command()
def compress(
    source: Annotated[str, typer.Argument(help="Path or URL of the scans (file, s3, …); never written to.")],
    dest: Annotated[str, typer.Argument(help="Path or URL of the output.")],
    profile: _Profile = "access",
    overrides: _Overrides = None,
    include: Annotated[list[str] | None, typer.Option(help="Only documents that match.", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No documents that match.", metavar="GLOB")] = None,
    keys: Annotated[
        str | None, typer.Option(help="Only the documents that this text file names, one a line.", metavar="FILE")
    ] = None,
    allow_empty: _AllowEmpty = False,
    scheduler: _Scheduler = None,
    workers: _Workers = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do failed pages again.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pages that other settings or another model made.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all that is in DEST, and do again what is not as it was written.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Compress all scans of SOURCE into DEST; a rerun does only what is missing.

    A rerun also does again what has gone from DEST or has another size; with --deep, what has changed in any way.

    Ends with 0 if all pages are compressed or kept, 3 if some failed or a folder could not be read, 2 if a setting is
    wrong, 1 if the run broke.
    """
    options: dict[str, object] = {
        "scan.include": include or None,
        "scan.exclude": exclude or None,
        "scan.allow_empty": allow_empty or None,
        "scan.keys_file": keys,
        "cluster.scheduler": scheduler,
        "cluster.workers": workers,
    }
    with _no_traceback(log_file) as (run_id, log_path):
        settings = load_settings(profile, overrides or (), options)
        _check_places(SOURCE=source, DEST=dest)
        summary = _compress(source, dest, settings, retry_failed, overwrite, deep, run_id, log_path)
        _report(summary, as_json, log_path)


@app.command()
def verify(
    dest: Annotated[str, typer.Argument(help="Path or URL of the output of earlier runs.")],
    source: Annotated[
        str | None, typer.Option(help="The scans: each document there must have rows in DEST.", metavar="SOURCE")
    ] = None,
    look: Annotated[
        bool,
        typer.Option("--look", help="Compare each compressed page with its scan again, through other decoders."),
    ] = False,
    overrides: _Overrides = None,
    include: Annotated[list[str] | None, typer.Option(help="Of SOURCE only what matches.", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Of SOURCE nothing that matches.", metavar="GLOB")] = None,
    allow_empty: _AllowEmpty = False,
    scheduler: _Scheduler = None,
    workers: _Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Read, hash and decode every output of DEST again and hold it against the statistics.

    Ends with 0 if nothing is damaged, 3 if something is, 2 if a setting is wrong, 1 if it broke.
    """
    options: dict[str, object] = {
        "scan.include": include or None,
        "scan.exclude": exclude or None,
        "scan.allow_empty": allow_empty or None,
        "cluster.scheduler": scheduler,
        "cluster.workers": workers,
    }
    with _no_traceback(log_file) as (run_id, log_path):
        settings = load_settings("access", overrides or (), options)
        _check_places(DEST=dest, SOURCE=source)
        from foliopress.flows.prefect_api import PrefectApi

        _say(f"verification {run_id} starts; log: {log_path}")
        with PrefectApi(log_path) as api, api.connected():
            from prefect.utilities.annotations import quote

            from foliopress.flows.host.logs import log_to_file
            from foliopress.flows.verify import verify_archive

            log_to_file(log_path)  # once more: Prefect brings its own
            found = verify_archive(
                dest,
                quote(settings),  # type: ignore[call-overload]
                source=source,
                look=look,
                log_file=str(log_path),
            )
        if as_json:
            _print_json(found.as_dict())
        else:
            print(found.as_text())
        raise typer.Exit(0 if found.is_sound else SOME_FAILED)


@app.command()
def estimate(
    source: Annotated[str, typer.Argument(help="Path or URL of the scans (file, s3, …); never written to.")],
    profile: _Profile = "access",
    overrides: _Overrides = None,
    include: Annotated[list[str] | None, typer.Option(help="Only documents that match.", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No documents that match.", metavar="GLOB")] = None,
    documents: Annotated[int, typer.Option("--sample", min=1, help="Documents to try, about.", metavar="N")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed tries the same documents.")] = 0,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores to work the hours out for; else this machine's.")
    ] = None,
    price: Annotated[float, typer.Option(min=0, help="Of storage, per GB and month, in any currency.")] = 0.023,
    allow_empty: _AllowEmpty = False,
    scheduler: _Scheduler = None,
    workers: _Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Work out what compressing SOURCE would save and take, from a sample of it; nothing is kept.

    Each figure stands with the interval that holds the truth for 90 % of all samples.
    """
    options: dict[str, object] = {
        "scan.include": include or None,
        "scan.exclude": exclude or None,
        "scan.allow_empty": allow_empty or None,
        "cluster.scheduler": scheduler,
        "cluster.workers": workers,
    }
    with _no_traceback(log_file) as (run_id, log_path):
        settings = load_settings(profile, overrides or (), options)
        _check_places(SOURCE=source)
        from foliopress.flows.prefect_api import PrefectApi

        _say(f"estimate {run_id} starts; log: {log_path}")
        with PrefectApi(log_path) as api, api.connected():
            from prefect.utilities.annotations import quote

            from foliopress.flows.estimate import estimate_archive
            from foliopress.flows.host.logs import log_to_file

            log_to_file(log_path)  # once more: Prefect brings its own
            found = estimate_archive(
                source,
                quote(settings),  # type: ignore[call-overload]
                sample=documents,
                seed=seed,
                cores=cores or os.cpu_count() or 1,
                price_per_gb_month=price,
                log_file=str(log_path),
            )
        if as_json:
            _print_json(found.as_dict())
        else:
            print(found.as_text())


@app.command()
def report(
    dest: Annotated[str, typer.Argument(help="Path or URL of the output of earlier runs.")],
    out: Annotated[Path, typer.Option(help="Where the report goes.", metavar="FILE")] = Path("report.html"),
    overrides: _Overrides = None,
) -> None:
    """Write what a DEST comes to as one HTML file: totals, plots, what was kept and why, its worst pages."""
    with _no_traceback(None):
        settings = load_settings("access", overrides or ())
        from foliopress.flows.views.report import report_on

        out.write_text(report_on(dest, settings), encoding="utf-8")
        print(f"written to {out}")


@app.command()
def bag(
    dest: Annotated[str, typer.Argument(help="Path or URL of the output of earlier runs; its last folder is `data`.")],
    algorithm: Annotated[str | None, typer.Option(help="Digest of the manifests: sha256 or sha512.")] = None,
    info: Annotated[
        list[str] | None,
        typer.Option(help="Further line of bag-info.txt, e.g. 'Source-Organization: …'.", metavar="LINE"),
    ] = None,
    overrides: _Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Make DEST the payload of a BagIt bag: the tag files are written beside it, and nothing is moved or copied.

    The next run into DEST takes them away again. Ends with 0, 3 if an output is not as it was written, 2 if a setting
    is wrong, 1 if it broke.
    """
    options: dict[str, object] = {"evidence.bag_algorithm": algorithm, "evidence.bag_info": info or None}
    with _no_traceback(log_file) as (run_id, _):
        settings = load_settings("access", overrides or (), options)
        from foliopress.flows.dest.bag import bag_archive

        made = bag_archive(dest, settings, run_id, _say)
        if as_json:
            _print_json(made.as_dict())
        else:
            print(made.as_text())


@app.command("app")
def window(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on. Whoever reaches it can read what this user can.")
    ] = "127.0.0.1",
    host_name: Annotated[
        list[str] | None,
        typer.Option(help="Further name that browsers may ask by, e.g. that of a proxy before it.", metavar="NAME"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open the window: try a scan, or look through a finished run. Nothing leaves this machine."""
    with _no_traceback(None):
        import click
        import streamlit.web.cli

        from foliopress.flows.streamlit_options import streamlit_options

        script = Path(__file__).resolve().parents[1] / "app" / "server.py"
        options = streamlit_options(address, port, host_name or (), browser)
        with suppress(click.Abort):  # how Streamlit tells that it was asked to end
            streamlit.web.cli.main(["run", str(script), *options], standalone_mode=False)


@app.command()
def sample(
    dest: Annotated[Path, typer.Argument(help="Folder to write the sample archive to.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same pages.")] = 0,
) -> None:
    """Write a small archive of made-up scans to try things on."""
    with _no_traceback(None):
        from foliopress.tasks.samples.sample_archive import write_sample_archive

        write_sample_archive(dest, seed)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder to write the trained model to.")],
    data: Annotated[Path | None, typer.Option(help="Folder of scans with ground truth; else FOLIOPRESS_DATA.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the ImageNet backbone; else FOLIOPRESS_WEIGHTS.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for what is worked out once.")] = Path(".cache"),
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs; it stops early when nothing improves.")] = 5,
    batches: Annotated[int, typer.Option(min=1, help="Batches of 16 patches in an epoch.")] = 120,
    rendered: Annotated[int, typer.Option(min=0, help="Pages to draw, beside the scans.")] = 160,
    log_file: _LogFile = None,
) -> None:
    """Train the importance network; the same command goes on where a stopped training was.

    Progress is in the log, in the Prefect UI if there is a server, and for TensorBoard in OUT/checkpoints.
    """
    with _no_traceback(log_file) as (run_id, log_path):
        from foliopress.flows.prefect_api import PrefectApi

        _say(f"training {run_id} starts; log: {log_path}")
        with PrefectApi(log_path) as api, api.connected():
            from foliopress.flows.host.logs import log_to_file
            from foliopress.flows.train import train_importance

            log_to_file(log_path)  # once more: Prefect brings its own
            metrics = train_importance(
                out, data, weights, cache, seed=seed, epochs=epochs, batches_per_epoch=batches, rendered=rendered
            )
        _print_json(metrics)


@app.command()
def evaluate(
    data: Annotated[Path | None, typer.Option(help="Folder of scans with ground truth; else FOLIOPRESS_DATA.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a trained model; the shipped one without it.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for what is worked out once.")] = Path(".cache"),
    split: Annotated[str, typer.Option(help="Which scans: test or train.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures and the model card.")] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for plots and for heatmaps of the worst pages.", metavar="FOLDER")
    ] = None,
    rotated: Annotated[
        bool, typer.Option(help="Also turn every page by 90, 180 and 270 degrees; takes minutes the first time.")
    ] = True,
) -> None:
    """Measure the importance network against the ground truth, beside the OCR mask alone."""
    with _no_traceback(None):
        from foliopress.model.evaluation import evaluate_model

        _print_json(evaluate_model(data, model, cache, split, out, plots=plots, rotated=rotated))


def _check_places(**urls: str | None) -> None:
    """Refuse what must not be opened or written down before Prefect is told of it."""
    from foliopress.tasks.storage.locations import check_place

    for name, url in urls.items():
        if url is not None:
            check_place(name, url)


def _compress(
    source: str,
    dest: str,
    settings: Settings,
    retry_failed: bool,
    overwrite: bool,
    deep: bool,
    run_id: str,
    log_path: Path,
) -> RunSummary:
    from foliopress.flows.cluster.driver_memory import share_one_heap
    from foliopress.flows.prefect_api import PrefectApi

    share_one_heap()  # before there are threads
    _say(f"run {run_id} starts; log: {log_path}")
    with PrefectApi(log_path) as api:
        from foliopress.flows.run.run import check_places

        check_places(source, dest, settings)
        with api.chosen():
            from prefect.utilities.annotations import quote

            from foliopress.flows.compress import ShardsFailed, compress_archive
            from foliopress.flows.host.logs import log_to_file

            log_to_file(log_path)  # once more: Prefect brings its own
            api.wait()
            try:
                return compress_archive(
                    source,
                    dest,
                    quote(settings),  # type: ignore[call-overload]
                    retry_failed=retry_failed,
                    overwrite=overwrite,
                    run_id=run_id,
                    log_file=str(log_path),
                    deep=deep,
                )
            except ShardsFailed as error:
                log.error("%s", error)
                return error.summary


def _report(summary: RunSummary, as_json: bool, log_path: Path) -> NoReturn:
    if as_json:
        _print_json(summary.as_dict())
    else:
        from foliopress.flows.run.run_summary import as_text

        print(as_text(summary))
    if summary.exit_code == BROKEN:
        _say(f"{summary.shards_failed} shards failed; the same command repeats them. Log: {log_path}")
    raise typer.Exit(summary.exit_code)


@contextmanager
def _no_traceback(log_file: Path | None) -> Iterator[tuple[str, Path]]:
    """Turn whatever goes wrong in the block into one line and an exit code."""
    from foliopress.flows.host.host_checks import prepare_host

    try:
        prepare_host()
    except ConfigError as error:
        _end(str(error), WRONG_SETTINGS)
    from foliopress.flows.host.logs import open_log
    from foliopress.flows.run.run import new_run_id

    run_id, log_path = new_run_id(), Path(os.devnull)
    end_on_signals(_leave_interrupted)
    with ExitStack() as stack:
        try:
            log_path = stack.enter_context(open_log(log_file, run_id, _say))
            yield run_id, log_path
        except (typer.Exit, typer.Abort):
            raise
        except ConfigError as error:
            log.info("wrong settings", exc_info=error)
            _end(str(error), WRONG_SETTINGS)
        except PayloadDamaged as error:
            log.error("no bag was made", exc_info=error)
            _end(f"no bag was made: {error}; foliopress verify looks at all of DEST. Log: {log_path}", SOME_FAILED)
        except StoreUnavailable as error:
            log.error("the store is unavailable", exc_info=error)
            _end(f"{error}. The same command goes on where this one stopped. Log: {log_path}", BROKEN)
        except LeaseLost as error:
            log.error("the lease is lost", exc_info=error)
            _end(f"{error}, which goes on; nothing of this run counts from then on. Log: {log_path}", BROKEN)
        except ModuleNotFoundError as error:
            log.error("a package is missing", exc_info=error)
            extra = "app" if error.name in _OF_THE_WINDOW else "train"
            _end(f"{error}; this command needs: pip install 'foliopress[{extra}]'", WRONG_SETTINGS)
        except KeyboardInterrupt:
            _end("interrupted; the same command goes on where this one stopped", INTERRUPTED)
        except Exception as error:
            if _comes_from_http(error):
                log.error("the Prefect API is unavailable", exc_info=error)
                advice = "the same command goes on where this one stopped"
                _end(f"{_api_name()} gives no answer ({type(error).__name__}); {advice}. Log: {log_path}", BROKEN)
            log.critical("the run broke", exc_info=error)
            _end(f"the run broke: {type(error).__name__}: {error}. Log with details: {log_path}", BROKEN)


def _comes_from_http(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is httpx's: only Prefect's client asks for anything by it."""
    while error is not None and not type(error).__module__.startswith("httpx"):
        error = error.__cause__ or error.__context__
    return error is not None


def _api_name() -> str:
    """Return how the Prefect API is called in an error: one that was configured by its URL."""
    from prefect.settings import PREFECT_API_URL

    from foliopress.configs.loading import without_password

    url = PREFECT_API_URL.value()
    return f"the Prefect API at {without_password(url)} (PREFECT_API_URL)" if url else "the Prefect API"


def _end(line: str, code: int) -> NoReturn:
    _say(line)
    raise typer.Exit(code)


def _say(line: str) -> None:
    print(f"foliopress: {hide(line)}", file=sys.stderr, flush=True)


def _print_json(values: object) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False, default=str)
    print(text if is_encodable(text) else json.dumps(values, indent=1, default=str))


def main() -> None:
    """Run the command; its process ends soon after it, whatever Prefect has yet to tell a server that is gone.

    Prefect tries each event that waits at the end for 7 s, one after another: minutes, after all is done and said.
    """
    open_streams()
    if sys.getfilesystemencoding() != "utf-8":  # file names are bytes; keys are the same under every locale
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONUTF8": "1"})  # noqa: S606 - this command itself
    try:
        app()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        leaving = threading.Timer(_LEAVES_WITHIN_S, _leave, [code])
        leaving.daemon = True
        leaving.start()
        raise


def _leave_interrupted() -> None:
    with suppress(RuntimeError):  # in a signal's handler: the stream may be in use right now
        _say("interrupted; left at once")
    _leave(INTERRUPTED)


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
