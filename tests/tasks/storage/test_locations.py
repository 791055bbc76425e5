"""Locations that can be a SOURCE or DEST: URLs of stores, without secrets."""

import fsspec
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.storage.locations import LOCAL_PROTOCOLS, PROTOCOLS, check_place, has_host
from foliopress.tasks.storage.store import Store

OTHERS = sorted(set(fsspec.available_protocols()) - set(PROTOCOLS))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "scans",
            "/scans/10:30",
            "C/a::b",
            "file:///scans/a?b=c#d",
            "s3://bucket/a b@c",
            "s3a://bucket",
            "memory://x",
        ),
        *("abfs://container@account.dfs.core.windows.net/x", "sftp://host:22/x", "smb://host/share", "gs://bucket/x"),
    ],
)
def test_a_place_where_an_archive_can_lie_is_taken(url: str) -> None:
    check_place("SOURCE", url)


@pytest.mark.parametrize("protocol", OTHERS)
def test_every_other_kind_that_fsspec_knows_is_refused_before_fsspec_is_asked(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(ConfigError, match="cannot open"):
        check_place("DEST", f"{protocol}://host/x")
    with pytest.raises(ConfigError, match="cannot open"):
        Store(f"{protocol}://host/x", StorageSettings()).check_readable()


def test_fsspec_knows_kinds_that_are_refused() -> None:
    assert {"http", "github", "reference", "filecache", "zip", "ssh", "data"} <= set(OTHERS)


@pytest.mark.parametrize(
    "url",
    [
        *("filecache::s3://bucket/x", "simplecache::file:///etc", "zip://a.zip::file:///etc", "dir::file:///etc"),
        *("local::/x://y", "reference::x://y", "S3://bucket", "data:text/plain,x", "://x"),
    ],
)
def test_chains_and_oddities_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        check_place("DEST", url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "s3://key:canary@bucket/x",
            "s3://AK:ca/na+ry@bucket/x",
            "az://scans?sig=canary",
            "s3://b/x?X-Amz-Signature=canary",
        ),
        *("sftp://canary@host/x", "gs://b/x#token=canary", "webdav://host/x?token=canary#y"),
        *("filecache::s3://key:canary@bucket/x", "https://user:canary@host/x", "abfs://c:canary@account/x"),
    ],
)
def test_a_place_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_place("SOURCE", url)
    assert "SOURCE" in str(caught.value) and "canary" not in str(caught.value) + repr(Store(url, StorageSettings()))


def test_only_urls_that_name_a_server_say_which_one_is_asked() -> None:
    urls = ("a", "s3://b/x", "webhdfs://h/x", "smb://h/x", "abfs://c@evil.example/x")
    assert [url for url in urls if has_host(url)] == list(urls[2:])
    assert not [name for name in LOCAL_PROTOCOLS if has_host(f"{name}://x")]
