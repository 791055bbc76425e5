"""Define the settings: closed, frozen models that a profile and the command line fill in."""

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

from foliopress.configs.clusters import ClusterKind, ClusterOptions, check_options
from foliopress.configs.secrets import carries_password, without_secret_values

_GENERATED_LABELS = ("payload-oxum", "bagging-date", "bag-size", "bag-software-agent")


class Closed(BaseModel):
    """A settings model that cannot be changed and rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _refuse_password(url: str | None) -> str | None:
    if url is not None and carries_password(url):
        raise ValueError("It contains a user, password or token, which would be recorded; remove it from the URL")
    return url


class ScanSettings(Closed):
    """Select the source documents to process."""

    include: tuple[str, ...] = ()
    """Glob patterns for document keys. If any are given, a key must match at least one."""
    exclude: tuple[str, ...] = ()
    """Glob patterns for document keys. Documents that match one are skipped and counted."""
    keys_file: str | None = None
    """Path or URL of a text file with one document key per line. Only these documents are processed."""
    allow_empty: bool = False
    """Succeed if SOURCE holds no documents, as a scheduled run may. By default this is an error, because a mistyped
    or unmounted SOURCE looks the same."""
    version: Literal["auto", "etag", "size_mtime", "content"] = "auto"
    """Method to detect that a document has changed. `auto` compares the ETag, size and modification time, as far as the
    store provides them; a copy of the archive with new times is processed again. `etag` and `size_mtime` compare
    only those. `content` compares a SHA-256 of the bytes, so every rerun reads all of them. Changing this setting
    for an existing DEST processes all documents again."""
    duplicates: Literal["once", "each"] = "once"
    """`once` processes byte-identical documents once: later ones, by key, get rows that point to the output of the
    first. Candidates are found by size and ETag, or with `version: content`; files on disk need the latter. `each`
    processes every document."""

    @field_validator("keys_file")
    @classmethod
    def _is_no_secret(cls, url: str | None) -> str | None:
        return _refuse_password(url)


class LimitSettings(Closed):
    """Limit the cost of one document or page."""

    max_page_pixels: int = Field(120_000_000, ge=1)
    """Pixels per page. Larger pages are kept unchanged with reason `too_large`."""
    max_document_bytes: int = Field(2_000_000_000, ge=1)
    """Bytes per source file. Larger files are kept unchanged with reason `too_large`."""
    max_document_pages: int = Field(10_000, ge=1)
    """Pages per document. Documents with more are kept unchanged with reason `too_many_pages`."""
    max_document_operations: int = Field(10_000_000, ge=1)
    """Painting operations, forms, fields and tags to inspect while a document is being described (plus 20,000 per
    page), and again for each page that is read. Anything beyond is kept unchanged with reason `too_complex`. A dense
    newspaper page with a text layer has 11,000."""
    max_unpacked_bytes: int = Field(20_000_000_000, ge=1)
    """Decompressed bytes of all PDF streams read while a document is being described, and again for each page.
    Anything beyond is kept unchanged with reason `too_large`."""
    max_document_seconds: float = Field(120.0, gt=0)
    """CPU seconds to decode or render one page, or (plus one second per page) to open and describe a document, to
    rewrite it, or to compare it with its output. If exceeded, the document fails with reason `out_of_time`; a worker
    still busy after twice this time is terminated."""


class OcrSettings(Closed):
    """Control how Tesseract reads a page."""

    engine: Literal["library", "program"] = "library"
    """`library` runs Tesseract's library (package `tesserocr`) in one process per worker. `program` starts the
    installed Tesseract for each page, which takes twice as long; `library` falls back to it if the package is
    missing."""
    language: str = Field("eng", pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$")
    """Tesseract language codes joined by `+`. Each must be installed."""
    max_dpi: int = Field(200, ge=100, le=600)
    """Pages with a higher resolution are reduced to this before OCR. On 24 scans Tesseract finds as many words and
    digits at 200 dpi as at 300, in less time."""
    min_dpi: int = Field(200, ge=70, le=300)
    """Pages with a lower resolution are enlarged to this before OCR, at most twofold."""
    timeout_s: float = Field(180.0, gt=0)
    """CPU seconds that OCR of one page may take; beyond, the page is kept unchanged with reason `ocr_timeout`. Ten
    times as many seconds of wall-clock time have the same effect, since pages queue on a busy machine."""


class ImportanceSettings(Closed):
    """Interpret the importance scores of the network."""

    threshold: float = Field(0.044, ge=0, le=1)
    """Score from which a tile counts as important: it keeps full resolution if it reaches `sure` or touches a tile
    that does, otherwise at least half."""
    sure: float = Field(0.5, ge=0, le=1)
    """Score from which a tile is certainly important. With 0, so is every tile that reaches `threshold`."""
    model: str | None = None
    """Folder of a trained model to use instead of the one shipped; it must contain the same files."""

    @field_validator("model")
    @classmethod
    def _is_a_folder(cls, folder: str | None) -> str | None:
        if folder is not None and "://" in folder:
            raise ValueError("It must be a folder that every worker can read, not a URL")
        return folder


class ResolutionSettings(Closed):
    """Limit how far the resolution of unimportant tiles may be reduced."""

    harshest_level: Literal[1, 2, 4, 8] = 8
    """Largest reduction factor of a tile. 1 disables reduction."""
    error_budget: float = Field(6.0, ge=0, le=64)
    """Largest luma error of an entirely unimportant tile, in grey levels: averaged over 1/64 inch, then root mean
    square over 1/16 inch."""
    margin_inch: float = Field(0.03, ge=0, le=0.5)
    """Distance around full-resolution strokes, in inches on paper, within which nothing is changed."""
    feather_inch: float = Field(0.03, ge=0, le=0.5)
    """Distance outside that margin, in inches on paper, over which two levels are blended."""
    paper_level: Literal[1, 2, 4] = 4
    """Reduction factor of the paper between the strokes of a full-resolution tile. 1 keeps the paper grain."""
    max_dpi: float | None = Field(None, ge=72)
    """Pages with a higher resolution are reduced to this. By default every page keeps its own. With a limit,
    `legibility.target_full_ssim` demands a high quality; set it to 0 to rely on `legibility.target_ssim` alone."""


class EncodeSettings(Closed):
    """Control how a page is encoded."""

    codec: Literal["avif", "webp", "jpeg", "jp2", "jxl"] = "avif"
    """Format of grey and colour pages (`jp2` is JPEG 2000, `jxl` JPEG XL). Bitonal and two-tone pages become CCITT
    G4 TIFF."""
    quality: int | None = Field(None, ge=1, le=100)
    """Quality of the first attempt: Pillow's scale for AVIF, WebP and JPEG; see `tasks.codecs.encode` for the
    others. By default each page gets the lowest quality that reaches `legibility.target_ssim` and
    `legibility.target_full_ssim`."""
    least_quality: int = Field(32, ge=1, le=100)
    """Lowest quality of any page, however sharp its strokes are: below it tints fade and smooth paper shows blocks."""
    retry_quality_step: int = Field(10, ge=1, le=99)
    """Amount to raise the quality by if full-resolution ink, a word or the perceptual score fails the legibility
    check; doubled on the next attempt. One third of it if OCR is merely unsure about a number."""
    speed: int = Field(9, ge=0, le=10)
    """AVIF encoder speed; 10 is fastest."""
    largest_profile_bytes: int = Field(65_536, ge=0)
    """A larger ICC profile, which can outweigh its page, is replaced with a small one that is nearly equivalent; if
    there is none, the page is converted to sRGB. In a PDF, where pages may share a profile, it is then left in
    place."""
    deep_to_eight_bits: bool = True
    """Round pages with more than 8 bits per sample to 8. If false, such pages are kept unchanged with reason
    `high_bit_depth`."""
    avif_chroma: Literal["4:2:0", "4:4:4"] = "4:2:0"
    """AVIF chroma subsampling. A page that comes out discoloured is encoded with `4:4:4` before its quality is
    raised."""
    chroma_budget: float = Field(4.0, ge=0, le=64)
    """Largest root mean square error (grey levels of Cb and Cr, over 8 x 8 pixels) that chroma coarser than 4:2:0
    may cause in 999 of 1,000 blocks; three times as much in any block. With 0, chroma is left to the codec."""
    least_gain: float = Field(0.1, ge=0, lt=1)
    """Smallest saving, as a fraction of the bytes, for which a lossy source is encoded again; with less it is kept
    unchanged with reason `no_gain`."""
    drop_colour: Literal["unseen", "never"] = "unseen"
    """Pages to encode in grey. `unseen` selects pages with no more colour than a faint cast or noise, and no
    coloured marks; `never` selects only pages whose channels are equal in every pixel."""
    two_tone_to_bitonal: bool = True
    """Encode a two-tone page (a bitonal scan saved in grey or colour) with one bit per pixel."""


class DocumentSettings(Closed):
    """Control how PDFs and multi-page TIFFs are written."""

    pdf: Literal["same", "pages"] = "same"
    """`same` rewrites a PDF with smaller scans in the same places and leaves everything else unchanged, including
    pages that are not scans. `pages` writes one image per page, and keeps a PDF unchanged if any page is not a scan."""
    tiff: Literal["pages", "same"] = "pages"
    """`same` writes one TIFF with the same number of pages: CCITT G4 for bitonal and two-tone pages, JPEG for
    others. `pages` writes one file per page."""
    pdf_codec: Literal["jp2", "jpeg"] = "jp2"
    """Format of grey and colour scans in a PDF. PDF/A-1 always gets JPEG, because it does not allow JPEG 2000."""
    text_layer: bool = False
    """Add the OCR words to PDF pages as an invisible, searchable text layer. Words that a page's own text already
    covers are omitted."""
    layers: Literal["one", "mrc"] = "one"
    """`mrc` splits each scan in a PDF into a full-resolution mask of its strokes and low-resolution foreground and
    background images (mixed raster content), if the page passes its check. Files are far smaller; edges are crisp
    where the source's are soft."""


class LegibilitySettings(Closed):
    """Check what a compressed page must preserve of its source."""

    mode: Literal["enforce", "measure", "off"] = "enforce"
    """`enforce` keeps pages that fail the check unchanged, `measure` only records the metrics, `off` skips the
    check."""
    target_ssim: float = Field(0.98, ge=0, lt=1)
    """Target for choosing the quality: luma SSIM of the kept strokes at reading size (150 dpi)."""
    figures_target_ssim: float = Field(0.992, ge=0, lt=1)
    """The same target, if higher, for pages of numbers: at least a third of the lines contain digits."""
    target_full_ssim: float = Field(0.905, ge=0, lt=1)
    """The same target at the page's own resolution."""
    min_ssimulacra2: float | None = Field(None, lt=100)
    """Minimum SSIMULACRA 2 score of the page, which the quality is also chosen for. At 90 the page cannot be told
    from the source when flipping between the two, at 80 when they are side by side. Not measured unless this or
    `min_text_ssimulacra2` is set."""
    min_text_ssimulacra2: float | None = Field(None, lt=100)
    """The same for the source with only its lines of text replaced from the page."""
    min_block_ssim: float = Field(0.5, ge=0, le=1)
    """Minimum luma SSIM of the worst block of ink."""
    max_word_change: float = Field(0.25, ge=0)
    """Maximum change of any stroke in a word that OCR was sure of, at reading size, as a fraction of how dark the
    writing around it is: a lost dot changes by 0.3 or more."""
    max_stroke_change: float = Field(0.45, ge=0)
    """The same for other writing, as the geometric mean with the dissimilarity (1 - SSIM) around the stroke."""
    max_chroma_error: float = Field(6.0, ge=0)
    """Maximum 95th percentile of the chroma difference at 1/8 size, in grey levels."""
    max_mark_chroma_error: float = Field(4.0, ge=0)
    """Maximum mean chroma error of a coloured mark (a tick, a stamp, a pale carbon copy) over its pixels, in grey
    levels. A strong colour may be off by four tenths of its chroma, a pale one by at most six tenths, and a mark
    must keep half of its luma contrast; above 4 these fractions grow with this value."""
    min_words_kept: float = Field(0.98, ge=0, le=1)
    """Minimum fraction of the words OCR was sure of that must read the same. One word may always be lost."""
    reread_digits_below: float = Field(0.995, ge=0, le=1)
    """Read a line with digits again if the SSIM of one of its words at reading size is below this. 1 rereads every
    line that changed."""
    reread_words_below: float = Field(0.95, ge=0, le=1)
    """The same for lines without digits."""
    reread_changes_above: float = Field(0.06, ge=0)
    """Read a word again only if one of its strokes changed by more than this, measured as for `max_word_change`."""
    max_attempts: int = Field(8, ge=1, le=12)
    """Maximum number of encodings tried, each keeping more where the last one failed, and after one that passes less.
    If all fail, the page is kept unchanged with reason `legibility`."""


class ShardSettings(Closed):
    """Control how the archive is split into shards."""

    max_documents: int = Field(200, ge=1, le=100_000)
    """Maximum number of documents in a shard."""
    max_bytes: int = Field(500_000_000, ge=1)
    """Source bytes at which a shard is closed."""


class StatsSettings(Closed):
    """Control the contents of the Parquet statistics."""

    words: Literal["full", "boxes", "off"] = "full"
    """Record OCR words with their text (`full`), only their boxes (`boxes`, for personal records), or nothing
    (`off`)."""
    words_of_kept: bool = False
    """Also run OCR on pages known in advance to be incompressible, so that the statistics contain their words."""
    most_small_files: int = Field(64, ge=1)
    """Compact the statistics at the end of a run if there are more than this many small files."""


class EvidenceSettings(Closed):
    """Record evidence to verify the output against later. None of it changes the output."""

    events: bool = True
    """At the end of a run, record what was done to each document, when and with which software, as PREMIS events
    below DEST/evidence."""
    bag: bool = False
    """At the end of a run, make DEST the payload of a BagIt bag, as `foliopress bag` does. The last folder of DEST
    must be named `data`; the tag files are written next to it."""
    bag_algorithm: Literal["sha256", "sha512"] = "sha256"
    """Digest in the bag's manifests. The statistics already hold the SHA-256 of each output; for `sha512` all
    outputs are read again."""
    bag_info: tuple[str, ...] = ()
    """Additional lines of bag-info.txt, each `Label: value`, e.g. `Source-Organization: City archive`."""

    @field_validator("bag_info")
    @classmethod
    def _has_labels(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            label = re.match(r"([^\s:][^:\r\n]*): *[^\s][^\r\n]*$", line)
            if label is None:
                raise ValueError(f"{line!r} is not a single line of the form `Label: value`")
            if label[1].lower() in _GENERATED_LABELS:
                raise ValueError(f"{label[1]} is generated and cannot be set")
        return lines


def _check_cluster_options(kind: ClusterKind, options: ClusterOptions) -> None:
    try:
        check_options(kind, options)
    except ValidationError as error:
        wrong = {".".join(str(part) for part in problem["loc"]): problem["msg"] for problem in error.errors()}
        raise ValueError("; ".join(f"options.{name}: {message}" for name, message in wrong.items())) from None


class ClusterSettings(Closed):
    """Choose where the work runs. None of it changes the output."""

    scheduler: str | None = Field(None, pattern=r"^(((tcp|tls|ws|wss)://)?[^\s/@?#]+)?$")
    """Address of a running Dask scheduler, e.g. `tcp://host:8786`. By default a local cluster is started. Foliopress
    trusts the scheduler: it sends it credentials and unpickles its replies."""
    workers: int | None = Field(None, ge=1)
    """Worker processes of the local cluster; by default as many as CPU cores and free memory allow. For a cluster
    started with `kind`: the number requested at the start."""
    kind: ClusterKind | None = None
    """Class of the Dask cluster to start for the run and to close after it, e.g.
    `dask_kubernetes.operator.KubeCluster`, `dask_gateway.GatewayCluster` or `dask_jobqueue.SLURMCluster`. Its
    package must be installed."""
    options: dict[str, str | int | float | bool | dict[str, dict[str, str]] | None] = Field({}, repr=False)
    """Options of that class, e.g. `{namespace: archive}`: sizes, queues and zones from a closed list for each class.
    Set image, commands and environment in Dask's own configuration instead, e.g. `DASK_KUBERNETES__IMAGE`. Workers
    need one thread each."""
    most_workers: int | None = Field(None, ge=1)
    """Scale that cluster with the load between `workers` (default 1) and this many workers."""
    memory_per_worker: str = "auto"
    """Dask memory limit of a local worker, e.g. `4GiB`. `auto` divides the free memory."""
    pages_in_flight_per_worker: int = Field(2, ge=1, le=64)
    """Maximum number of pages decoded at once, per worker."""
    pixels_in_flight_per_worker: int = Field(150_000_000, ge=1)
    """Maximum number of pixels decoded at once, per worker; lower if the worker's memory requires it. One page is
    always admitted."""
    shards_at_once: int = Field(2, ge=1, le=64)
    """Maximum number of shard task runs that Prefect runs concurrently."""
    scoring_batch_pages: int = Field(4, ge=1, le=64)
    """Maximum number of pages that a GPU worker scores in one batch. CPU workers score pages one by one."""

    @field_serializer("options", when_used="json")
    def _without_secrets(self, options: dict[str, Any]) -> dict[str, Any]:
        return without_secret_values(options)

    @field_validator("scheduler")
    @classmethod
    def _is_no_secret(cls, address: str | None) -> str | None:
        return _refuse_password(address or None)

    @model_validator(mode="after")
    def _has_one_cluster(self) -> Self:
        if self.kind is not None and self.scheduler is not None:
            raise ValueError("scheduler and kind are mutually exclusive")
        if self.kind is None and (self.options or self.most_workers):
            raise ValueError("options and most_workers require kind")
        if self.kind is not None:
            _check_cluster_options(self.kind, dict(self.options))
        if self.most_workers is not None and self.most_workers < (self.workers or 1):
            raise ValueError("most_workers is less than workers")
        return self


class StorageSettings(Closed):
    """Configure access to object storage. The usual AWS environment variables work without any of these."""

    endpoint_url: str | None = None
    """S3 endpoint. Defaults to `AWS_ENDPOINT_URL_S3`, then `AWS_ENDPOINT_URL`, then AWS's configuration file."""
    region: str | None = None
    """S3 region. Defaults to `AWS_DEFAULT_REGION`."""
    access_key_id: SecretStr | None = None
    """S3 access key. Never written to disk or logs."""
    secret_access_key: SecretStr | None = None
    """S3 secret key. Never written to disk or logs."""
    session_token: SecretStr | None = None
    """S3 session token. Never written to disk or logs."""
    retries: int = Field(5, ge=0, le=20)
    """Retries of one store call, with back-off and jitter, before the shard fails."""
    timeout_s: float = Field(60.0, gt=0)
    """Seconds without data after which a call to S3 is abandoned and retried."""
    give_up_after_s: float = Field(300.0, ge=0)
    """Seconds since the first attempt after which a call is not retried."""
    storage_class: str | None = Field(None, pattern=r"^[A-Z0-9_]+$")
    """S3 storage class of the outputs, e.g. STANDARD_IA or GLACIER_IR. Statistics stay in the bucket's default
    class, because every run reads them. `foliopress verify` cannot read outputs that must be restored first."""
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Server-side encryption of written S3 objects. Defaults to the bucket's own."""
    kms_key_id: str | None = None
    """Key ID or ARN for `aws:kms`. Defaults to the account's default key."""
    request_payer: Literal["requester"] | None = None
    """`requester` accepts the charges of Requester Pays buckets."""
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
    """Canned ACL of written objects, e.g. `bucket-owner-full-control` for a bucket of another account."""

    @field_validator("endpoint_url")
    @classmethod
    def _is_no_secret(cls, url: str | None) -> str | None:
        return _refuse_password(url)


class Settings(Closed):
    """All settings that determine a run."""

    profile: str = "access"
    """Name of the profile these settings came from; recorded only."""
    text: tuple[Literal["alto", "hocr", "txt"], ...] = ()
    """Formats in which the words of each page are written below DEST/text: ALTO 4, hOCR, plain text."""
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
    def _is_one_line(cls, name: str) -> str:
        if not name or "\n" in name:
            raise ValueError("a profile name must be one line of text")
        return name
