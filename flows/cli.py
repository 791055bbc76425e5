"""Define the command line. An error is one line on stderr; its traceback goes to the log file."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer
from typer.core import TyperGroup

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.secrets import hide
from foliopress.flows.host.interrupts import end_on_signals
from foliopress.flows.host.streams import is_encodable, open_streams
from foliopress.flows.run.run_request import RunRequest
from foliopress.tasks.errors import LeaseLost, PayloadDamaged, StoreUnavailable

if TYPE_CHECKING:
    from foliopress.flows.run.run_summary import RunSummary

BROKEN, WRONG_SETTINGS, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130
_EXIT_WITHIN_S = 20.0
_TOO_MANY_ARGUMENTS = "Too many arguments. Put an option's value right after the option, and quote it if it has spaces."
_CONTINUE = "Run the same command again to continue"
_WINDOW_PACKAGES = ("streamlit", "altair", "vl_convert")

_Source = Annotated[str, typer.Argument(help="Path or URL of the scans (file, s3, …); never written to.")]
_Profile = Annotated[
    str,
    typer.Option(
        help="Profile of settings: access, compatible, preservation, smallest, or a YAML file.", metavar="NAME|FILE"
    ),
]
_Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one setting, e.g. encode.quality=35; repeatable.", metavar="KEY=VALUE"),
]
_Include = Annotated[
    list[str] | None, typer.Option(help="Only SOURCE documents matching GLOB; repeatable.", metavar="GLOB")
]
_Exclude = Annotated[
    list[str] | None, typer.Option(help="Skip SOURCE documents matching GLOB; repeatable.", metavar="GLOB")
]
_Scheduler = Annotated[
    str | None, typer.Option(help="Address of a running Dask scheduler, e.g. tcp://host:8786.", metavar="ADDRESS")
]
_Workers = Annotated[
    int | None,
    typer.Option(help="Worker processes of the local cluster (default: by cores and memory).", metavar="N"),
]
_AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="Accept a SOURCE without documents.")]
_LogFile = Annotated[Path | None, typer.Option(help="Log file (default: a temporary file).", metavar="FILE")]
_Data = Annotated[Path | None, typer.Option(help="Folder of scans with ground truth (default: $FOLIOPRESS_DATA).")]
_Cache = Annotated[Path, typer.Option(help="Folder for intermediate results that later commands reuse.")]
_Finished = Annotated[str, typer.Argument(help="Path or URL of a DEST that earlier runs wrote.")]


class _Found(Protocol):
    """The result of a command."""

    def as_dict(self) -> Mapping[str, Any]: ...
    def as_text(self) -> str: ...


class _DiscreetGroup(TyperGroup):
    """The commands; usage errors do not repeat values from the command line, which may be secret."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "format_message") and hasattr(error, "message"):  # a usage error
                has_too_many = str(error.message).startswith("Got unexpected extra argument")
                error.message = _TOO_MANY_ARGUMENTS if has_too_many else hide(str(error.message))
            raise


app = typer.Typer(
    cls=_DiscreetGroup,
    help="Compress archives of scanned documents and keep their text legible.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
log = logging.getLogger(__name__)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib import metadata

        try:
            print(metadata.version("foliopress"))
        except metadata.PackageNotFoundError:
            print("unknown (not installed)")
        raise typer.Exit


@app.callback()
def all_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Foliopress."""


@app.command()
def compress(
    source: _Source,
    dest: Annotated[str, typer.Argument(help="Path or URL of the output.")],
    profile: _Profile = "access",
    overrides: _Overrides = None,
    include: _Include = None,
    exclude: _Exclude = None,
    keys: Annotated[
        str | None, typer.Option(help="Only the documents listed in this text file, one key per line.", metavar="FILE")
    ] = None,
    allow_empty: _AllowEmpty = False,
    scheduler: _Scheduler = None,
    workers: _Workers = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry failed pages.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pages that other settings or another model made.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read and hash every file in DEST, and redo what has changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Compress the scans in SOURCE into DEST. A rerun does only what is missing.

    A rerun also redoes pages whose output is missing from DEST or has another size; with --deep, whose output has
    changed in any byte.

    Exit codes: 0 if every page is compressed or kept, 3 if pages failed or a folder could not be read, 2 if a setting
    is wrong, 1 if the run broke.
    """
    options = _scan_options(include, exclude, allow_empty, scheduler, workers) | {"scan.keys_file": keys}
    with _no_traceback(log_file) as (run_id, log_path):
        settings = load_settings(profile, overrides or (), options)
        _check_places(SOURCE=source, DEST=dest)
        request = RunRequest(source, dest, settings, retry_failed, overwrite, deep, run_id, str(log_path))
        summary = _compress(request, log_path)
        _report(summary, as_json, log_path)


@app.command()
def verify(
    dest: _Finished,
    source: Annotated[
        str | None,
        typer.Option(help="The scans; report documents in SOURCE that have no rows in DEST.", metavar="SOURCE"),
    ] = None,
    look: Annotated[
        bool,
        typer.Option("--look", help="Compare each compressed page with its scan, using independent decoders."),
    ] = False,
    overrides: _Overrides = None,
    include: _Include = None,
    exclude: _Exclude = None,
    allow_empty: _AllowEmpty = False,
    scheduler: _Scheduler = None,
    workers: _Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Read, hash and decode every output in DEST and compare it with the statistics.

    Exit codes: 0 if nothing is damaged, 3 if something is, 2 if a setting is wrong, 1 if the command broke.
    """
    options = _scan_options(include, exclude, allow_empty, scheduler, workers)
    with _no_traceback(log_file) as (run_id, log_path):
        settings = load_settings("access", overrides or (), options)
        _check_places(DEST=dest, SOURCE=source)
        _say(f"verification {run_id} starts; log: {log_path}")
        with _prefect("foliopress.flows.verify", log_path):
            from prefect.utilities.annotations import quote

            from foliopress.flows.verify import verify_archive

            quoted: Any = quote(settings)
            found = verify_archive(dest, quoted, source=source, look=look, log_file=str(log_path))
        _print_found(found, as_json)
        raise typer.Exit(0 if found.is_sound else SOME_FAILED)


@app.command()
def estimate(
    source: _Source,
    profile: _Profile = "access",
    overrides: _Overrides = None,
    include: _Include = None,
    exclude: _Exclude = None,
    documents: Annotated[
        int, typer.Option("--sample", min=1, help="Approximate number of documents to sample.", metavar="N")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Random seed of the sample.")] = 0,
    cores: Annotated[
        int | None, typer.Option(min=1, help="CPU cores to estimate hours for (default: this machine).")
    ] = None,
    price: Annotated[float, typer.Option(min=0, help="Storage price per GB and month, in any currency.")] = 0.023,
    allow_empty: _AllowEmpty = False,
    scheduler: _Scheduler = None,
    workers: _Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Estimate the savings and time of compressing SOURCE by compressing a sample. No output is kept.

    Each estimate has an interval that contains the true value for 90 % of all samples.
    """
    options = _scan_options(include, exclude, allow_empty, scheduler, workers)
    with _no_traceback(log_file) as (run_id, log_path):
        settings = load_settings(profile, overrides or (), options)
        _check_places(SOURCE=source)
        _say(f"estimate {run_id} starts; log: {log_path}")
        with _prefect("foliopress.flows.estimate", log_path):
            from prefect.utilities.annotations import quote

            from foliopress.flows.estimate import EstimateRequest, estimate_archive

            n_cores = cores or os.cpu_count() or 1
            request = EstimateRequest(source, settings, documents, seed, n_cores, price, str(log_path))
            quoted: Any = quote(request)
            found = estimate_archive(quoted)
        _print_found(found, as_json)


@app.command()
def report(
    dest: _Finished,
    out: Annotated[Path, typer.Option(help="File to write the report to.", metavar="FILE")] = Path("report.html"),
    overrides: _Overrides = None,
) -> None:
    """Write an HTML report on DEST: totals, charts, reasons of kept pages, and the worst pages."""
    with _no_traceback(None):
        settings = load_settings("access", overrides or ())
        from foliopress.flows.views.report import report_on

        out.write_text(report_on(dest, settings), encoding="utf-8")
        print(f"written to {out}")


@app.command()
def bag(
    dest: Annotated[
        str, typer.Argument(help="Path or URL of a DEST that earlier runs wrote; its last folder must be `data`.")
    ],
    algorithm: Annotated[str | None, typer.Option(help="Digest of the manifests: sha256 or sha512.")] = None,
    info: Annotated[
        list[str] | None,
        typer.Option(
            help="Additional line of bag-info.txt, e.g. 'Source-Organization: …'; repeatable.", metavar="LINE"
        ),
    ] = None,
    overrides: _Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    log_file: _LogFile = None,
) -> None:
    """Make DEST the payload of a BagIt bag. Tag files are written next to it; no file is moved or copied.

    The next run into DEST deletes the tag files.

    Exit codes: 0 if the bag was made, 3 if an output is damaged, 2 if a setting is wrong, 1 if the
    command broke.
    """
    options: Mapping[str, object] = {"evidence.bag_algorithm": algorithm, "evidence.bag_info": info or None}
    with _no_traceback(log_file) as (run_id, _):
        settings = load_settings("access", overrides or (), options)
        from foliopress.flows.dest.bag import bag_archive

        _print_found(bag_archive(dest, settings, run_id, _say), as_json)


@app.command("app")
def window(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on. Anyone who can reach it can read what this user can read.")
    ] = "127.0.0.1",
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            help="Additional host name that browsers may use, e.g. that of a proxy; repeatable.", metavar="NAME"
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open the web app: try settings on a scan, or browse a finished run. Nothing leaves this machine."""
    with _no_traceback(None):
        import click
        import streamlit.web.cli

        from foliopress.flows.streamlit_options import streamlit_options

        script = Path(__file__).resolve().parents[1] / "app" / "server.py"
        options = streamlit_options(address, port, host_name or (), browser)
        with suppress(click.Abort):  # raised by Streamlit when it is asked to stop
            streamlit.web.cli.main(["run", str(script), *options], standalone_mode=False)


@app.command()
def sample(
    dest: Annotated[Path, typer.Argument(help="Folder to write the sample archive to.")],
    seed: Annotated[int, typer.Option(help="Random seed of the pages.")] = 0,
) -> None:
    """Write a small archive of generated scans to try Foliopress on."""
    with _no_traceback(None):
        from foliopress.tasks.samples.sample_archive import write_sample_archive

        write_sample_archive(dest, seed)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder to write the trained model to.")],
    data: _Data = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the ImageNet backbone (default: $FOLIOPRESS_WEIGHTS).")
    ] = None,
    cache: _Cache = Path(".cache"),
    seed: Annotated[int, typer.Option(help="Random seed.")] = 1,
    epochs: Annotated[
        int, typer.Option(min=1, help="Maximum number of epochs; training stops early without improvement.")
    ] = 5,
    batches: Annotated[int, typer.Option(min=1, help="Batches of 16 patches in an epoch.")] = 120,
    rendered: Annotated[int, typer.Option(min=0, help="Generated pages to train on, in addition to the scans.")] = 160,
    log_file: _LogFile = None,
) -> None:
    """Train the importance network. The same command continues an interrupted training.

    Progress is in the log, in the Prefect UI if there is a server, and for TensorBoard in OUT/checkpoints.
    """
    with _no_traceback(log_file) as (run_id, log_path):
        _say(f"training {run_id} starts; log: {log_path}")
        with _prefect("foliopress.flows.train", log_path):
            from foliopress.flows.train import TrainingRequest, train_importance

            metrics = train_importance(TrainingRequest(out, data, weights, cache, seed, epochs, batches, rendered))
        _print_json(metrics)


@app.command()
def evaluate(
    data: _Data = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a trained model (default: the shipped model).")] = None,
    cache: _Cache = Path(".cache"),
    split: Annotated[str, typer.Option(help="Scans to evaluate on: test or train.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the metrics and the model card.")] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for plots and heatmaps of the worst pages.", metavar="FOLDER")
    ] = None,
    rotated: Annotated[
        bool, typer.Option(help="Also evaluate every page rotated by 90, 180 and 270 degrees (slow the first time).")
    ] = True,
) -> None:
    """Measure the importance network against the ground truth, and against the OCR mask alone."""
    with _no_traceback(None):
        from foliopress.model.evaluation import EvaluationRequest, evaluate_model

        request = EvaluationRequest(cache, data, model, split, with_rotation=rotated)
        _print_json(evaluate_model(request, out, plots))


def _scan_options(
    include: list[str] | None, exclude: list[str] | None, allow_empty: bool, scheduler: str | None, workers: int | None
) -> dict[str, Any]:
    """Return the settings that options change; None leaves a setting as the profile has it."""
    return {
        "scan.include": include or None,
        "scan.exclude": exclude or None,
        "scan.allow_empty": allow_empty or None,
        "cluster.scheduler": scheduler,
        "cluster.workers": workers,
    }


def _check_places(**urls: str | None) -> None:
    """Refuse URLs that must not be opened or recorded, before Prefect sees them."""
    from foliopress.tasks.storage.locations import check_place

    for name, url in urls.items():
        if url is not None:
            check_place(name, url)


@contextmanager
def _prefect(flow_module: str, log_path: Path, check: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Run the block with a flow's module imported and Prefect's API answering.

    Args:
        flow_module: Module that defines the flow.
        log_path: The log.
        check: Called while the API starts; what it raises ends the command before Prefect is imported.
    """
    from foliopress.flows.prefect_api import PrefectApi

    with PrefectApi(log_path) as api:
        check()
        with api.chosen():
            importlib.import_module(flow_module)
            from foliopress.flows.host.logs import log_to_file

            log_to_file(log_path)  # again: the import of Prefect has added handlers
            api.wait()
            yield


def _compress(request: RunRequest, log_path: Path) -> RunSummary:
    from foliopress.flows.cluster.driver_memory import use_one_heap

    use_one_heap()  # before there are threads
    _say(f"run {request.run_id} starts; log: {log_path}")

    def check() -> None:
        from foliopress.flows.run.run import check_places

        check_places(request.source, request.dest, request.settings)

    with _prefect("foliopress.flows.compress", log_path, check):
        from prefect.utilities.annotations import quote

        from foliopress.flows.compress import ShardsFailed, compress_archive

        try:
            quoted: Any = quote(request)
            return compress_archive(quoted)
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
        _say(f"{summary.shards_failed} shards failed; run the same command again to retry them. Log: {log_path}")
    raise typer.Exit(summary.exit_code)


@contextmanager
def _no_traceback(log_file: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield the run id and the log; turn any error in the block into one line and an exit code."""
    from foliopress.flows.host.host_checks import prepare_host

    try:
        prepare_host()
    except ConfigError as error:
        _end(str(error), WRONG_SETTINGS)
    from foliopress.flows.host.logs import open_log
    from foliopress.flows.run.run_request import new_run_id

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
            _end(f"no bag was made: {error}; check DEST with foliopress verify. Log: {log_path}", SOME_FAILED)
        except StoreUnavailable as error:
            log.error("the store is unavailable", exc_info=error)
            _end(f"{error}. {_CONTINUE}. Log: {log_path}", BROKEN)
        except LeaseLost as error:
            log.error("the lease is lost", exc_info=error)
            _end(f"{error}, which continues; nothing that this run wrote since counts. Log: {log_path}", BROKEN)
        except ModuleNotFoundError as error:
            log.error("a package is missing", exc_info=error)
            extra = "app" if error.name in _WINDOW_PACKAGES else "train"
            _end(f"{error}; this command needs: pip install 'foliopress[{extra}]'", WRONG_SETTINGS)
        except KeyboardInterrupt:
            _end("interrupted; run the same command again to continue", INTERRUPTED)
        except Exception as error:
            if _comes_from_http(error):
                log.error("the Prefect API is unavailable", exc_info=error)
                _end(f"{_api_name()} does not answer ({type(error).__name__}). {_CONTINUE}. Log: {log_path}", BROKEN)
            log.critical("the run broke", exc_info=error)
            _end(f"the run broke: {type(error).__name__}: {error}. Log with details: {log_path}", BROKEN)


def _comes_from_http(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is from httpx, which only Prefect's client uses."""
    while error is not None and not type(error).__module__.startswith("httpx"):
        error = error.__cause__ or error.__context__
    return error is not None


def _api_name() -> str:
    """Return the name of the Prefect API for an error message: with its URL if one is configured."""
    from prefect.settings import PREFECT_API_URL

    from foliopress.configs.secrets import without_password

    url = PREFECT_API_URL.value()
    return f"the Prefect API at {without_password(url)} (PREFECT_API_URL)" if url else "the Prefect API"


def _end(line: str, code: int) -> NoReturn:
    _say(line)
    raise typer.Exit(code)


def _say(line: str) -> None:
    print(f"foliopress: {hide(line)}", file=sys.stderr, flush=True)


def _print_found(found: _Found, as_json: bool) -> None:
    if as_json:
        _print_json(found.as_dict())
    else:
        print(found.as_text())


def _print_json(values: object) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False, default=str)
    print(text if is_encodable(text) else json.dumps(values, indent=1, default=str))


def main() -> None:
    """Run the command, and end the process soon after it, even if Prefect's server is gone.

    At exit Prefect tries each waiting event for 7 s, one after another, which takes minutes when nothing is left to do.
    """
    open_streams()
    if sys.getfilesystemencoding() != "utf-8":  # file names are bytes; keys must not depend on the locale
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONUTF8": "1"})  # noqa: S606 - this command itself
    try:
        app()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        leaving = threading.Timer(_EXIT_WITHIN_S, _leave, [code])
        leaving.daemon = True
        leaving.start()
        raise


def _leave_interrupted() -> None:
    with suppress(RuntimeError):  # in a signal's handler: the stream may be in use right now
        _say("interrupted; stopped at once")
    _leave(INTERRUPTED)


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
