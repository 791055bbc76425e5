"""S3 backend: each test has a server respond in one of the ways in which stores differ."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ScanSettings, StorageSettings
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage import store as store_module
from foliopress.tasks.storage.backend import ObjectChanged
from foliopress.tasks.storage.source_listing import ListingCounts, list_documents
from foliopress.tasks.storage.store import Store
from tests.scripted_s3 import BUCKET, Reply, Request, ScriptedS3, error, listing, scripted_s3
from tests.servers import free_port

ODD_KEYS = [
    *("/lead.jpg", "a b.jpg", "a+b.jpg", "a%2Bb.jpg", "50%.jpg", "50%25.jpg", "a//b.jpg", "a/./c.jpg", "a/../d.jpg"),
    *("new\nline.jpg", "tab\there.jpg", "\x01.jpg", "cr\r.jpg", "é.jpg", "\U0001f600.jpg", "q'\"<&>.jpg", "*?[x].jpg"),
    *("back\\slash.jpg", "~.jpg", "x.jpg/", " ", "a=b&c#d.jpg", "\x7f.jpg"),
]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.01)
    with scripted_s3() as running:
        yield running


def store_of(s3: ScriptedS3, prefix: str = "", **more: object) -> Store:
    return Store(f"{s3.url}/{prefix}" if prefix else s3.url, s3.storage(**more))


def keys_of(store: Store, prefix: str = "") -> list[str]:
    return [found.key for found in store.list_objects(prefix)]


def fill(s3: ScriptedS3, n: int = 25) -> list[str]:
    for number in range(n):
        s3.put(f"in/{number:03d}.jpg")
    return [f"{number:03d}.jpg" for number in range(n)]


# Listings


@pytest.mark.parametrize("spaces", ["+", "%20"])
def test_any_key_is_listed_read_and_written_as_it_is(s3: ScriptedS3, spaces: str) -> None:
    s3.spaces = spaces  # type: ignore[assignment]
    s3.page_keys = 4
    for key in ODD_KEYS:
        s3.put(key, key.encode())
    store = store_of(s3)
    assert keys_of(store) == sorted(ODD_KEYS)
    for key in ODD_KEYS:
        assert store.read_bytes(key) == key.encode()
        store.write_bytes(key, b"new")
        assert s3.objects.keys() == set(ODD_KEYS) and s3.objects[key].data == b"new"


@pytest.mark.parametrize("spaces", ["+", "%20", "not encoded"])
@pytest.mark.parametrize("keys", [["a b.jpg"], ["a+b.jpg"], ["a b.jpg", "a+b.jpg"]], ids=["space", "plus", "both"])
def test_a_plus_sign_and_a_space_are_told_apart(s3: ScriptedS3, spaces: str, keys: list[str]) -> None:
    s3.spaces = spaces  # type: ignore[assignment]
    for key in keys:
        s3.put(f"in/{key}")
    assert keys_of(store_of(s3, "in")) == keys


def second_as_first(s3: ScriptedS3) -> None:
    s3.knows = "the first version"


def first_only(s3: ScriptedS3) -> None:
    s3.knows = "the first version and says so"


def no_token(s3: ScriptedS3) -> None:
    s3.gives_token = False


def echoing(s3: ScriptedS3) -> None:
    s3.gives_token, s3.echoes, s3.page_keys = False, True, 8


def prefix_passed_over(s3: ScriptedS3) -> None:
    s3.holds_prefix = False
    s3.put("a.jpg")
    s3.put("in2/b.jpg")


def without_etags(s3: ScriptedS3) -> None:
    s3.etag = lambda _: None


def empty_etags(s3: ScriptedS3) -> None:
    s3.etag = lambda _: '""'


STORES = [second_as_first, first_only, no_token, echoing, prefix_passed_over, without_etags, empty_etags]


@pytest.mark.parametrize("become", STORES)
def test_a_listing_is_never_short_and_ends(s3: ScriptedS3, become: Callable[[ScriptedS3], None]) -> None:
    s3.page_keys = 7
    keys = fill(s3)
    become(s3)
    store = store_of(s3, "in")
    assert keys_of(store) == keys
    assert keys_of(store) == keys  # and with what was learnt the first time
    assert [store.read_listed(found) for found in store.list_objects()] == [b"1"] * len(keys)


def test_a_listing_that_does_not_go_on_is_refused(s3: ScriptedS3) -> None:
    fill(s3)
    s3.page_keys, s3.goes_on, s3.gives_token = 7, False, False
    with pytest.raises(ConfigError, match=r"does not continue after 'in/006\.jpg'"):
        keys_of(store_of(s3, "in"))
    s3.gives_token = True
    with pytest.raises(ConfigError, match="order of their bytes"):
        keys_of(store_of(s3, "in"))
    assert len(s3.requests) < 10


def test_a_store_that_lists_in_no_order_is_refused(s3: ScriptedS3) -> None:
    fill(s3)
    s3.order = lambda keys: sorted(keys, reverse=True)
    with pytest.raises(ConfigError, match=r"lists 'in/023\.jpg' after 'in/024\.jpg'.*order of their bytes"):
        keys_of(store_of(s3, "in"))


def test_what_other_programs_show_as_folders_is_passed_over_and_an_object_with_bytes_is_not(s3: ScriptedS3) -> None:
    s3.put("in/", b"")
    s3.put("in/a/", b"")
    s3.put("in/b/", b"directory")
    s3.put("in/b/1.jpg")
    s3.put("in/c.jpg/", b"scan")
    store = store_of(s3, "in")
    assert keys_of(store) == ["b/", "b/1.jpg", "c.jpg/"]
    counts = ListingCounts()
    assert [one.key for one in list_documents(store, ScanSettings(), counts)] == ["b/1.jpg", "c.jpg/"]
    assert counts.not_documents == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"}),
        Reply(200, b""),
        listing(),
        listing("<IsTruncated>true</IsTruncated>"),
        Reply(503, b"<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"}),
        Reply(200, error(500, "InternalError", "We encountered an internal error.").body),
    ],
    ids=["portal", "nothing", "empty", "more of nothing", "html error", "error as 200"],
)
def test_an_answer_that_is_no_listing_is_asked_for_again_and_then_named(s3: ScriptedS3, reply: Reply) -> None:
    keys = fill(s3, 3)
    answers = [reply]
    s3.script = lambda _: answers.pop() if answers else None
    assert keys_of(store_of(s3, "in")) == keys and len(s3.requests) == 2
    s3.script = lambda _: reply
    with pytest.raises(StoreUnavailable, match=r"cannot list.*listing|cannot list.*503|InternalError: We enc"):
        keys_of(store_of(s3, "in"))


# Conditions


@pytest.mark.parametrize("conditions", ["kept", "ignored", "unknown"])
@pytest.mark.parametrize("etag", ["md5", "the same", "none", "weak"])
def test_an_object_is_created_once_and_replaced_by_who_saw_it(s3: ScriptedS3, conditions: str, etag: str) -> None:
    s3.conditions = conditions  # type: ignore[assignment]
    if etag == "the same":
        s3.etag = lambda _: '"always"'
    if etag == "none":
        s3.etag = lambda _: None
    if etag == "weak":
        if conditions == "kept":
            pytest.skip("a store that compares weak ETags strongly knows no conditions")
        s3.etag = lambda data: f'W/"{len(data)}"'
    store = store_of(s3, "out")
    assert store.create_bytes("lease", b"mine")
    assert not store.create_bytes("lease", b"your")
    assert store.read_bytes("lease") == b"mine"
    data, seen = store.read_versioned("lease")
    assert data == b"mine"
    assert store.replace_bytes("lease", seen, b"next")
    assert not store.replace_bytes("lease", seen, b"late")
    assert store.read_bytes("lease") == b"next"
    store.delete("lease")
    assert not store.replace_bytes("lease", seen, b"gone")


def test_a_store_that_refuses_conditions_is_asked_for_none_again(s3: ScriptedS3) -> None:
    s3.conditions = "unknown"
    store = store_of(s3, "out")
    for number in range(3):
        assert store.create_bytes(f"lease-{number}", b"1")
    assert len(s3.asked("PUT")) == 4  # one was refused


def passes_over(*names: str) -> Callable[[ScriptedS3], None]:
    """Script a store that honours some conditions and not others."""

    def become(s3: ScriptedS3) -> None:
        def forget(request: Request) -> None:
            for name in names:
                request.headers.pop(name, None)

        s3.script = forget

    return become


CONDITIONS: dict[str, tuple[Callable[[ScriptedS3], None], bool]] = {
    "kept": (lambda s3: None, True),
    "kept, without ETags": (lambda s3: setattr(s3, "etag", lambda _: None), True),
    "unknown": (lambda s3: setattr(s3, "conditions", "unknown"), False),
    "ignored": (lambda s3: setattr(s3, "conditions", "ignored"), False),
    "only if there is none": (passes_over("if-match"), False),
    "only if it is the same": (passes_over("if-none-match"), False),
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_store_that_passes_over_conditions_is_found_out_and_nothing_is_left_there(s3: ScriptedS3, kind: str) -> None:
    become, expected = CONDITIONS[kind]
    become(s3)
    assert store_of(s3, "out").has_conditional_writes() == expected
    assert s3.objects == {}


def test_a_folder_keeps_two_apart_and_other_protocols_are_not_said_to(tmp_path: Path) -> None:
    assert Store(str(tmp_path / "out"), StorageSettings()).has_conditional_writes()
    assert not (tmp_path / "out").exists()
    assert not Store("memory://conditions", StorageSettings()).has_conditional_writes()


# What the store says itself


def test_the_stores_own_sentence_stands_in_the_error(s3: ScriptedS3) -> None:
    s3.script = lambda _: error(503, "SlowDown", "Please reduce\nyour request rate.", "REQ1")
    with pytest.raises(StoreUnavailable, match=r"SlowDown: Please reduce your request rate\. \(request REQ1\)"):
        store_of(s3).read_bytes("a.jpg")
    s3.script = lambda _: error(403, "SignatureDoesNotMatch", "The signature is not ours.", "REQ2")
    with pytest.raises(ConfigError, match=r"SignatureDoesNotMatch: The signature is not ours\. \(request REQ2\)"):
        store_of(s3).write_bytes("a.jpg", b"1")
    s3.script = lambda _: error(404, "NoSuchBucket", "There is no such shelf.", "REQ3")
    with pytest.raises(ConfigError, match=r"NoSuchBucket: There is no such shelf\. \(request REQ3\)"):
        keys_of(store_of(s3))
    s3.script = lambda _: error(403, "AccessDenied", "Only on Mondays.", "REQ4")
    with pytest.raises(PermissionError, match=r"Only on Mondays\. \(request REQ4\)"):
        store_of(s3).read_bytes("a.jpg")


def test_a_store_that_repeats_our_keys_is_quoted_without_them(s3: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-of-the-environment")
    message = "testkey with testsecret and canary-of-the-environment is not known"
    s3.script = lambda _: error(403, "InvalidAccessKeyId", message)
    with pytest.raises(ConfigError, match="InvalidAccessKeyId: … with … and … is not known"):
        store_of(s3).write_bytes("a", b"1")


# Requester Pays


def test_who_pays_for_requests_says_so_with_each(s3: ScriptedS3) -> None:
    def only_for_money(request: Request) -> Reply | None:
        return None if request.headers.get("x-amz-request-payer") == "requester" else error(403, "AccessDenied", "Pay.")

    s3.script = only_for_money
    with pytest.raises(ConfigError, match="access is denied"):
        keys_of(store_of(s3))
    store = store_of(s3, request_payer="requester")
    store.write_bytes("a", b"1")
    assert store.create_bytes("b", b"2") and store.replace_bytes("b", store.read_versioned("b")[1], b"3")
    assert keys_of(store) == ["a", "b"]
    assert [store.read_listed(found) for found in store.list_objects()] == [b"1", b"3"]
    assert store.read_range("a", 0, 9) == b"1" and store.exists("a")
    store.delete("a")
    assert keys_of(store) == ["b"]


# Scans that change


def test_a_scan_of_the_same_size_and_etag_is_another_at_another_time(s3: ScriptedS3) -> None:
    for etag in ('"always"', '""', None):
        s3.etag = lambda _, etag=etag: etag  # type: ignore[misc]
        s3.put("a.jpg", b"half")
        store = store_of(s3)
        [before] = list_documents(store, ScanSettings(), ListingCounts())
        s3.put("a.jpg", b"full")
        [after] = list_documents(store, ScanSettings(), ListingCounts())
        assert before.version != after.version


@pytest.mark.parametrize("etag", ["md5", "the same", "none", "multipart"])
def test_bytes_are_those_of_the_version_that_was_listed_or_none(s3: ScriptedS3, etag: str) -> None:
    if etag != "md5":
        told = {"the same": lambda _: '"always"', "none": lambda _: None, "multipart": lambda data: f'"{len(data)}-2"'}
        s3.etag = told[etag]
    s3.put("a.jpg", b"half")
    store = store_of(s3)
    [listed] = store.list_objects()
    assert store.read_listed(listed) == b"half" and store.is_as_listed(listed)
    for data in (b"full", b"longer than before"):
        s3.put("a.jpg", data)
        assert not store.is_as_listed(listed)
        with pytest.raises(ObjectChanged, match=r"a\.jpg"):
            store.read_listed(listed)
    [now] = store.list_objects()
    assert store.read_listed(now) == b"longer than before"


def test_a_scan_that_is_replaced_while_its_bytes_come_is_not_taken(s3: ScriptedS3) -> None:
    s3.etag = lambda _: '"always"'
    s3.put("a.jpg", b"half")
    store = store_of(s3)
    [listed] = store.list_objects()

    def replaced_behind(request: Request) -> Reply | None:
        if request.method != "GET" or not request.key:
            return None
        reply = s3._get(request, b"")
        s3.put("a.jpg", b"full")
        return reply

    s3.script = replaced_behind
    with pytest.raises(ObjectChanged):
        store.read_listed(listed)


def test_the_same_bytes_uploaded_again_are_those_that_were_listed(s3: ScriptedS3) -> None:
    s3.put("a.jpg", b"whole")
    store = store_of(s3)
    [listed] = store.list_objects()
    s3.put("a.jpg", b"whole")
    assert store.read_listed(listed) == b"whole"
    assert len(s3.asked("HEAD")) == 0


def test_a_store_whose_heads_differ_from_its_listings_is_held_against_its_listing(s3: ScriptedS3) -> None:
    s3.put("a.jpg", b"whole")
    s3.put("a.jpg.md5", b"x")
    ordinary = s3.etag
    s3.script = lambda request: Reply(200, b"whole", {"ETag": '"packed-by-a-proxy"'}) if request.key else None
    assert ordinary(b"whole") != '"packed-by-a-proxy"'
    s3.etag = lambda _: '"listed"'
    store = store_of(s3)
    listed = next(store.list_objects())
    assert store.read_listed(listed) == b"whole"
    s3.put("a.jpg", b"other")
    with pytest.raises(ObjectChanged):
        store.read_listed(listed)


# As the user's environment has it


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Set an environment with keys and a home folder, and no other AWS settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testkey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return monkeypatch


HASTY = StorageSettings(retries=0, timeout_s=10.0)


def new_store(storage: StorageSettings = HASTY) -> Store:
    """Return a store that no test before has connected to."""
    return Store(f"s3://{BUCKET}/{uuid.uuid4().hex}", storage)


def config_file(folder: Path, text: str) -> str:
    path = folder / "aws-config"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "how",
    [
        *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "both", "config file", "services section", "profile"),
        *("environment before file", "ignored"),
    ],
)
def test_the_endpoint_is_found_where_aws_own_tools_look(
    s3: ScriptedS3, bare: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    here, nowhere = s3.endpoint_url, f"http://127.0.0.1:{free_port()}"
    storage = HASTY
    if how in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        bare.setenv(how, here)
    elif how == "both":
        bare.setenv("AWS_ENDPOINT_URL", nowhere)
        bare.setenv("AWS_ENDPOINT_URL_S3", here)
    elif how == "config file":
        bare.setenv("AWS_CONFIG_FILE", config_file(tmp_path, f"[default]\nendpoint_url = {here}\n"))
    elif how == "services section":
        text = f"[default]\nendpoint_url = {nowhere}\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = {here}\n"
        bare.setenv("AWS_CONFIG_FILE", config_file(tmp_path, text))
    elif how == "profile":
        text = f"[default]\nendpoint_url = {nowhere}\n[profile archive]\nendpoint_url = {here}\n"
        bare.setenv("AWS_CONFIG_FILE", config_file(tmp_path, text))
        bare.setenv("AWS_PROFILE", "archive")
    elif how == "environment before file":
        bare.setenv("AWS_CONFIG_FILE", config_file(tmp_path, f"[default]\nendpoint_url = {nowhere}\n"))
        bare.setenv("AWS_ENDPOINT_URL", here)
    else:
        bare.setenv("AWS_ENDPOINT_URL_S3", nowhere)
        bare.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        storage = HASTY.model_copy(update={"endpoint_url": here})
    store = new_store(storage)
    store.write_bytes("a", b"1")
    assert keys_of(store) == ["a"] and len(s3.asked("PUT")) == 1
    assert not any(name.startswith("x-amz-checksum") for name in s3.asked("PUT")[0].headers)


def test_configured_endpoints_are_ignored_where_the_user_says_so(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    bare.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    fs = new_store()._backend.fs  # type: ignore[attr-defined]
    assert fs.s3.meta.endpoint_url == "https://s3.amazonaws.com"
    assert fs.s3.meta.config.request_checksum_calculation == "when_supported"


@pytest.mark.parametrize("place", ["environment", "config file"])
@pytest.mark.parametrize(("wanted", "is_sent"), [("when_supported", True), ("when_required", False)])
def test_checksums_are_sent_as_the_user_asks(
    s3: ScriptedS3, bare: pytest.MonkeyPatch, tmp_path: Path, place: str, wanted: str, is_sent: bool
) -> None:
    bare.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
    if place == "environment":
        bare.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", wanted)
        bare.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", wanted)
    else:
        text = f"[default]\nrequest_checksum_calculation = {wanted}\nresponse_checksum_validation = {wanted}\n"
        bare.setenv("AWS_CONFIG_FILE", config_file(tmp_path, text))
    store = new_store()
    store.write_bytes("a", b"1")
    assert store.read_bytes("a") == b"1"
    put, get = s3.asked("PUT")[0], s3.asked("GET")[0]
    assert any("checksum" in name for name in put.headers) is is_sent
    assert ("x-amz-checksum-mode" in get.headers) is is_sent


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_REQUEST_CHECKSUM_CALCULATION": "sometimes"}, "sometimes"),
        ({"AWS_CA_BUNDLE": "/no/such/bundle.pem", "AWS_ENDPOINT_URL": "https://127.0.0.1:9"}, "bundle|No such file"),
        ({"AWS_ENDPOINT_URL": "not a url"}, "not a url"),
    ],
    ids=["profile", "checksums", "certificates", "endpoint"],
)
def test_what_aws_variables_say_wrongly_is_a_wrong_setting(
    bare: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        bare.setenv(name, value)
    store = new_store()
    for call in (lambda: store.exists("a"), store.check_readable, lambda: store.create_bytes("a", b"1")):
        with pytest.raises(ConfigError, match=said):
            call()


def test_a_config_file_that_is_none_is_a_wrong_setting(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("AWS_CONFIG_FILE", config_file(tmp_path, "[default\nendpoint_url"))
    with pytest.raises(ConfigError, match="aws-config"):
        new_store().check_readable()


def test_keys_come_from_the_profile(s3: ScriptedS3, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        bare.delenv(name)
    keys = "aws_access_key_id = archivist\naws_secret_access_key = hush\n"
    bare.setenv(
        "AWS_CONFIG_FILE", config_file(tmp_path, f"[profile archive]\nendpoint_url = {s3.endpoint_url}\n{keys}")
    )
    bare.setenv("AWS_PROFILE", "archive")
    new_store().write_bytes("a", b"1")
    assert "Credential=archivist/" in s3.asked("PUT")[0].headers["authorization"]


def test_calls_go_through_the_proxy_that_the_user_set_and_past_it_where_they_say_so(
    s3: ScriptedS3, bare: pytest.MonkeyPatch
) -> None:
    bare.setenv("HTTP_PROXY", s3.endpoint_url)  # it plays the proxy, and answers for the store behind it
    bare.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    store = new_store()
    store.write_bytes("a", b"1")
    assert store.read_bytes("a") == b"1"
    assert {request.headers["host"] for request in s3.requests} == {"store.example:9000"}
    bare.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    bare.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
    with pytest.raises(StoreUnavailable, match="ProxyConnectionError"):
        new_store().write_bytes("a", b"1")
    bare.setenv("NO_PROXY", "127.0.0.1")
    new_store().write_bytes("a", b"1")


def test_a_certificate_is_trusted_that_aws_ca_bundle_names(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    with scripted_s3(context) as s3:
        bare.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
        with pytest.raises(ConfigError, match="certificate is not trusted.*AWS_CA_BUNDLE"):
            new_store().write_bytes("a", b"1")
        bare.setenv("AWS_CA_BUNDLE", str(certificate))
        new_store().write_bytes("a", b"1")
        assert len(s3.asked("PUT")) == 1


def make_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "certificate.pem"
