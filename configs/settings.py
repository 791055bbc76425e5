"""Settings: closed, frozen models that a profile and the command line fill in."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from foliopress.configs.clusters import ClusterKind, checked_options
from foliopress.configs.secrets import carries_password, without_secret_values

_WORKED_OUT = ("payload-oxum", "bagging-date", "bag-size", "bag-software-agent")


class Closed(BaseModel):
    """A settings model that cannot be changed and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _refuse_password(url: str | None) -> str | None:
    if url is not None and carries_password(url):
        raise ValueError("It holds a user, password or token, which would be written down; leave it out of the URL")
    return url


class ScanSettings(Closed):
    """Which documents of the source are worked on."""

    include: tuple[str, ...] = ()
    """Globs on the document key; when any is given, a key must match one of them."""
    exclude: tuple[str, ...] = ()
    """Globs on the document key; a key that matches one is skipped and counted."""
    keys_file: str | None = None
    """A text file (path or URL) of document keys, one a line; only these are worked on."""
    allow_empty: bool = False
    """A run for which SOURCE holds no document ends well, as schedules may want; without it that is an error, since a
    SOURCE that is mistyped or not mounted looks the same."""
    version: Literal["auto", "etag", "size_mtime", "content"] = "auto"
    """Marks by which a changed document is known. `auto` takes the store's ETag, size and time of the
    last change, each if the store has it: copying the archive, which gives new times, has all of it done again. `etag`
    and `size_mtime` are one of the two, `content` a SHA-256 of the bytes, for which every rerun reads them all. A DEST
    that was begun with another is done again."""
    duplicates: Literal["once", "each"] = "once"
    """`once` works documents of the same bytes once: the rows of the later ones, by key, point to the output of the
    first. That they may be the same is told by size and ETag, or by `version: content`; files on a disk need that."""

    @field_validator("keys_file")
    @classmethod
    def _is_no_secret(cls, url: str | None) -> str | None:
        return _refuse_password(url)


class LimitSettings(Closed):
    """What one document or page may cost."""

    max_page_pixels: int = Field(120_000_000, ge=1)
    """Pages with more pixels are kept whole with reason `too_large`."""
    max_document_bytes: int = Field(2_000_000_000, ge=1)
    """Larger source files are kept whole with reason `too_large`."""
    max_document_pages: int = Field(10_000, ge=1)
    """Documents with more pages are kept whole with reason `too_many_pages`."""
    max_document_operations: int = Field(10_000_000, ge=1)
    """Marks, forms, fields and tags to look at until a document is described, with 20,000 more for each of its pages,
    and again to read one page. What has more stays as it is, with reason `too_complex`; a dense newspaper page with a
    text layer has 11,000."""
    max_unpacked_bytes: int = Field(20_000_000_000, ge=1)
    """Bytes to which the packed streams of a PDF may come until it is described, and again for each of its pages. What
    has more stays as it is, with reason `too_large`."""
    max_document_seconds: float = Field(120.0, gt=0)
    """Seconds of processor time to decode or draw one page; to open and describe a document, to write it anew, or to
    compare it with its output, with one more for each of its pages. What takes longer is `failed` with reason
    `out_of_time`; a worker that is still at it after twice as long is ended."""


class OcrSettings(Closed):
    """How Tesseract reads a page."""

    engine: Literal["library", "program"] = "library"
    """`library` keeps a process with Tesseract's library (the package `tesserocr`) beside each worker, `program` starts
    the installed Tesseract for each page, which takes twice as long; so does `library` where the package is missing."""
    language: str = Field("eng", pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$")
    """Tesseract language code(s), joined by `+`; each must be installed."""
    max_dpi: int = Field(200, ge=100, le=600)
    """Pages of a higher resolution are brought down to this before they are read: of the words and digits of 24 scans
    Tesseract finds as many as at 300, in less time."""
    min_dpi: int = Field(200, ge=70, le=300)
    """Pages of a lower resolution are enlarged to this, at most twofold, before they are read."""
    timeout_s: float = Field(180.0, gt=0)
    """Seconds of processor time: a page whose OCR takes more is kept whole with reason `ocr_timeout`. So is one whose
    OCR takes ten times as long by the wall clock; on a busy machine a page waits for its turn."""


class ImportanceSettings(Closed):
    """What the network's score means."""

    threshold: float = Field(0.044, ge=0, le=1)
    """A tile whose score reaches this keeps its full resolution if it is sure or lies next to a sure one, else half."""
    sure: float = Field(0.5, ge=0, le=1)
    """A tile whose score reaches this is sure to be important; with 0 every tile that reaches the threshold is."""
    model: str | None = None
    """Folder of another trained model than the one shipped; it must hold the same files."""

    @field_validator("model")
    @classmethod
    def _is_a_folder(cls, folder: str | None) -> str | None:
        if folder is not None and "://" in folder:
            raise ValueError("A folder that each worker has is wanted, no URL")
        return folder


class ResolutionSettings(Closed):
    """How far the resolution of unimportant tiles may fall."""

    harshest_level: Literal[1, 2, 4, 8] = 8
    """The coarsest level a tile may reach; 1 turns rescaling off."""
    error_budget: float = Field(6.0, ge=0, le=64)
    """Largest luma error (grey levels, averaged over 1/64 inch, then root mean square over 1/16 inch) of a tile that is
    not important at all."""
    margin_inch: float = Field(0.03, ge=0, le=0.5)
    """Length on paper round a full-resolution stroke within which nothing is changed."""
    feather_inch: float = Field(0.03, ge=0, le=0.5)
    """Length on paper over which two levels are blended, outside the margin."""
    paper_level: Literal[1, 2, 4] = 4
    """Level of the paper between the strokes of a full-resolution tile; 1 keeps its grain."""
    max_dpi: float | None = Field(None, ge=72)
    """Pages of a higher resolution are written at this one; without it every page keeps its own. With it,
    `legibility.target_full_ssim` asks much of the quality: 0 leaves that to `legibility.target_ssim`."""


class EncodeSettings(Closed):
    """How a page is written."""

    codec: Literal["avif", "webp", "jpeg", "jp2", "jxl"] = "avif"
    """Format of grey and colour pages (`jp2` is JPEG 2000, `jxl` JPEG XL); bitonal and
    two-tone pages become CCITT G4 TIFF."""
    quality: int | None = Field(None, ge=1, le=100)
    """Quality of the first try: Pillow's for AVIF, WebP and JPEG; for the others see `tasks.codecs.encode`.
    Without it each page gets the least that reaches `legibility.target_ssim` and `legibility.target_full_ssim`."""
    least_quality: int = Field(32, ge=1, le=100)
    """No page gets less, however sharp its strokes would be: below, tints fade and smooth paper shows blocks."""
    retry_quality_step: int = Field(10, ge=1, le=99)
    """Added to the quality when ink that has its full resolution, a word or the page's likeness fails the legibility
    check; twice as much the next time. A third of it when a digit string only reads in no way sure."""
    speed: int = Field(9, ge=0, le=10)
    """AVIF encoder speed; 10 is fastest."""
    largest_profile_bytes: int = Field(65_536, ge=0)
    """A larger ICC profile, which can outweigh its page, gives way to a small one that says nearly the same; a page for
    which there is none is converted to sRGB. In a PDF, whose pages may share a profile, it then stays."""
    deep_to_eight_bits: bool = True
    """Round pages of more than 8 bits a sample to 8; without it they are kept whole with reason `high_bit_depth`."""
    avif_chroma: Literal["4:2:0", "4:4:4"] = "4:2:0"
    """Store AVIF chroma at half the resolution each way, or whole. A page that comes out discoloured gets
    `4:4:4` before its quality rises."""
    chroma_budget: float = Field(4.0, ge=0, le=64)
    """Largest root mean square error (grey levels of Cb and Cr, over 8 x 8 pixels) that chroma coarser than 4:2:0 may
    cause in 999 of 1,000 blocks, and three times as much in any; with 0 it is left to the codec."""
    least_gain: float = Field(0.1, ge=0, lt=1)
    """A source that is lossy already is kept (`no_gain`) unless this share of its bytes is saved."""
    drop_colour: Literal["unseen", "never"] = "unseen"
    """Pages that are written in grey: `unseen` takes those whose colour is no more than a faint cast or noise, with no
    mark in colour on them, `never` only those whose channels are equal in every pixel."""
    two_tone_to_bitonal: bool = True
    """Write a two-tone page (a bitonal scan saved as grey or colour) back as one bit."""


class DocumentSettings(Closed):
    """What becomes of documents that hold their pages themselves."""

    pdf: Literal["same", "pages"] = "same"
    """`same` writes a PDF again with smaller scans in the same places, all else in it untouched; pages that are no scan
    stay as they are. `pages` writes an image of each page, and keeps a PDF whole that has a page without a scan."""
    tiff: Literal["pages", "same"] = "pages"
    """`same` writes a TIFF of as many pages: CCITT G4 where a page is bitonal or two-tone, else JPEG."""
    pdf_codec: Literal["jp2", "jpeg"] = "jp2"
    """Format of grey and colour scans in a PDF; JPEG in one that is PDF/A-1, which has no JPEG 2000."""
    text_layer: bool = False
    """Put the words that OCR read under the images of a PDF's pages, to be searched and never seen; words that a page's
    own text has where their ink is are left out."""
    layers: Literal["one", "mrc"] = "one"
    """`mrc` parts a scan in a PDF into a mask of its strokes at full resolution, and their colour and what is behind
    them at a low one, wherever such a page passes its check: far smaller, with crisp edges in place of the source's."""


class LegibilitySettings(Closed):
    """What a compressed page must still show of its source."""

    mode: Literal["enforce", "measure", "off"] = "enforce"
    """`enforce` keeps a page that fails, `measure` only writes the figures, `off` skips the check."""
    target_ssim: float = Field(0.98, ge=0, lt=1)
    """Luma SSIM of kept strokes at reading size (150 dpi) that the quality is chosen for."""
    figures_target_ssim: float = Field(0.992, ge=0, lt=1)
    """The same, if higher, for a page of figures: at least a third of its lines hold digit strings."""
    target_full_ssim: float = Field(0.905, ge=0, lt=1)
    """The same at the page's own resolution."""
    min_ssimulacra2: float | None = Field(None, lt=100)
    """Least SSIMULACRA 2 of the page, which the quality is chosen for as well: 90 cannot be told from the source when
    the two are flipped, 80 not side by side. Not measured if neither this nor the next is set."""
    min_text_ssimulacra2: float | None = Field(None, lt=100)
    """The same of the source with only its lines of text taken from the page."""
    min_block_ssim: float = Field(0.5, ge=0, le=1)
    """Least luma SSIM that the worst block of ink may have."""
    max_chroma_error: float = Field(6.0, ge=0)
    """Largest 95th percentile of the chroma difference at 1/8 size, in grey levels."""
    max_mark_chroma_error: float = Field(4.0, ge=0)
    """Largest chroma error, in grey levels, that a coloured mark (a tick, a stamp, a pale carbon copy) may have on
    average over its pixels. A strong colour may be off by four tenths of its chroma, a pale one by six tenths at most,
    and a mark must keep half of its contrast in luma; above 4 these shares grow with it."""
    min_words_kept: float = Field(0.98, ge=0, le=1)
    """Least share of the words that OCR was sure of which must read the same; one word may always be lost."""
    reread_digits_below: float = Field(0.995, ge=0, le=1)
    """A line with digits is read again when the SSIM of a word in it, at reading size, is lower; 1 for wherever
    it changed at all."""
    reread_words_below: float = Field(0.95, ge=0, le=1)
    """The same for a line without digits."""
    max_attempts: int = Field(5, ge=1, le=8)
    """Encodings tried, each with more kept where the last one failed; then the page is kept whole (`legibility`)."""


class ShardSettings(Closed):
    """How the archive is cut into shards."""

    max_documents: int = Field(200, ge=1, le=100_000)
    """A shard never holds more documents."""
    max_bytes: int = Field(500_000_000, ge=1)
    """A shard is closed once its sources reach this many bytes."""


class StatsSettings(Closed):
    """What the Parquet statistics hold."""

    words: Literal["full", "boxes", "off"] = "full"
    """OCR words with their text, as boxes without text (personal records), or not at all."""
    words_of_kept: bool = False
    """Read pages too of which it is known beforehand that they cannot become smaller, so that their words stand in the
    statistics."""
    most_small_files: int = Field(64, ge=1)
    """More small files of statistics than so many are put together to larger ones at the end of a run."""


class EvidenceSettings(Closed):
    """What the output can be held against later. None of it changes the output."""

    events: bool = True
    """Write at the end of a run what was done to each document, with what and when, as PREMIS events below
    DEST/evidence."""
    bag: bool = False
    """Make DEST the payload of a BagIt bag at the end of a run, as `foliopress bag` does: its last folder must be
    called `data`, and the bag's tag files lie beside that."""
    bag_algorithm: Literal["sha256", "sha512"] = "sha256"
    """Digest of a bag's manifests. SHA-256 of the outputs stands in the statistics; for another all are read again."""
    bag_info: tuple[str, ...] = ()
    """Further lines of bag-info.txt, each `Label: value`, e.g. `Source-Organization: City archive`."""

    @field_validator("bag_info")
    @classmethod
    def _lines_are_labelled(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            label = re.match(r"([^\s:][^:\r\n]*): *[^\s][^\r\n]*$", line)
            if label is None:
                raise ValueError(f"{line!r} is not one line of the form `Label: value`")
            if label[1].lower() in _WORKED_OUT:
                raise ValueError(f"{label[1]} is worked out")
        return lines


def _check_options(kind: ClusterKind, options: dict[str, object]) -> None:
    try:
        checked_options(kind, options)
    except ValidationError as error:
        wrong = {".".join(str(part) for part in problem["loc"]): problem["msg"] for problem in error.errors()}
        told = "; ".join(f"options.{name}: {message}" for name, message in wrong.items())
        raise ValueError(told) from None


class ClusterSettings(Closed):
    """Where the work runs. None of it changes the output."""

    scheduler: str | None = Field(None, pattern=r"^(((tcp|tls|ws|wss)://)?[^\s/@?#]+)?$")
    """Address of a running Dask scheduler, e.g. `tcp://host:8786`; without it a local cluster is started. Who answers
    there is trusted: it gets the credentials, and what it sends back is unpickled here."""
    workers: int | None = Field(None, ge=1)
    """Worker processes of the local cluster; without it as many as there are CPU cores and free memory for. A cluster
    that `kind` names is asked for as many at the start."""
    kind: ClusterKind | None = None
    """Class of the Dask cluster to start for the run, and to end with it, e.g. `dask_kubernetes.operator.KubeCluster`,
    `dask_gateway.GatewayCluster` or `dask_jobqueue.SLURMCluster`; its package must be installed."""
    options: dict[str, str | int | float | bool | dict[str, dict[str, str]] | None] = Field({}, repr=False)
    """Options of that class, e.g. `{namespace: archive}`: sizes, queues, zones, from a closed list for each class.
    What runs there (image, commands, environment) is for Dask's own configuration, e.g. `DASK_KUBERNETES__IMAGE`.
    Workers need one thread each."""
    most_workers: int | None = Field(None, ge=1)
    """That cluster grows with the work from `workers` (1 without it) to so many, and shrinks again."""
    memory_per_worker: str = "auto"
    """Dask memory limit of a local worker, e.g. `4GiB`; `auto` shares out what is free."""
    pages_in_flight_per_worker: int = Field(2, ge=1, le=64)
    """Pages that may be decoded at once, per worker."""
    pixels_in_flight_per_worker: int = Field(150_000_000, ge=1)
    """Pixels that may be decoded at once, per worker, if its memory has room for them; one page is always let in."""
    shards_at_once: int = Field(2, ge=1, le=64)
    """Shard task runs that Prefect runs at a time."""
    scoring_batch_pages: int = Field(4, ge=1, le=64)
    """Pages that a worker with a GPU scores together in one batch, at most; others score each page by itself."""

    @field_serializer("options", when_used="json")
    def _written_down(self, options: dict[str, Any]) -> dict[str, Any]:
        return without_secret_values(options)

    @field_validator("scheduler")
    @classmethod
    def _is_no_secret(cls, address: str | None) -> str | None:
        return _refuse_password(address or None)

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.kind is not None and self.scheduler is not None:
            raise ValueError("scheduler and kind name two clusters; give one")
        if self.kind is None and (self.options or self.most_workers):
            raise ValueError("options and most_workers are for the cluster that kind names")
        if self.kind is not None:
            _check_options(self.kind, dict(self.options))
        if self.most_workers is not None and self.most_workers < (self.workers or 1):
            raise ValueError("most_workers is less than workers")
        return self


class StorageSettings(Closed):
    """How object storage is reached. The usual AWS environment variables work without any of these."""

    endpoint_url: str | None = None
    """S3 endpoint; without it `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or what AWS's configuration file names."""
    region: str | None = None
    """S3 region; `AWS_DEFAULT_REGION` without it."""
    access_key_id: SecretStr | None = None
    """S3 access key; never written to disk or logs."""
    secret_access_key: SecretStr | None = None
    """S3 secret key; never written to disk or logs."""
    session_token: SecretStr | None = None
    """S3 session token; never written to disk or logs."""
    retries: int = Field(5, ge=0, le=20)
    """Further tries of one store call, with back-off and jitter, before the shard fails."""
    timeout_s: float = Field(60.0, gt=0)
    """A call to S3 that brings nothing for so long is given up and tried again."""
    give_up_after_s: float = Field(300.0, ge=0)
    """No further try of a call begins once so much time has passed since its first."""
    storage_class: str | None = Field(None, pattern=r"^[A-Z0-9_]+$")
    """S3 storage class of the outputs, e.g. STANDARD_IA or GLACIER_IR; statistics stay in the bucket's own, as they are
    read by every run. `foliopress verify` cannot read outputs in a class that has to be restored first."""
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """How S3 encrypts what is written; the bucket's default without it."""
    kms_key_id: str | None = None
    """Key for `aws:kms`, as id or ARN; the account's default key without it."""
    request_payer: Literal["requester"] | None = None
    """Say with each request that we pay for it, as buckets that are set so ask for (Requester Pays)."""
    acl: (
        Literal[
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "aws-exec-read",
            "bucket-owner-read",
            "bucket-owner-full-control",
        ]
        | None
    ) = None
    """Canned ACL of what is written, e.g. `bucket-owner-full-control` for a bucket of another account."""

    @field_validator("endpoint_url")
    @classmethod
    def _is_no_secret(cls, url: str | None) -> str | None:
        return _refuse_password(url)


class Settings(Closed):
    """Everything that decides what a run does."""

    profile: str = "access"
    """Name of the profile these settings came from; for the record only."""
    text: tuple[Literal["alto", "hocr", "txt"], ...] = ()
    """Forms in which each page's words are written below DEST/text: ALTO 4, hOCR, plain text."""
    scan: ScanSettings = ScanSettings()
    limits: LimitSettings = LimitSettings()
    ocr: OcrSettings = OcrSettings()
    importance: ImportanceSettings = ImportanceSettings()
    resolution: ResolutionSettings = ResolutionSettings()
    encode: EncodeSettings = EncodeSettings()
    documents: DocumentSettings = DocumentSettings()
    legibility: LegibilitySettings = LegibilitySettings()
    shard: ShardSettings = ShardSettings()
    stats: StatsSettings = StatsSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    cluster: ClusterSettings = ClusterSettings()
    storage: StorageSettings = StorageSettings()

    @field_validator("profile")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not name or "\n" in name:
            raise ValueError("a profile's name is one line of text")
        return name
