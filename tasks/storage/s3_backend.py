"""Store objects on S3, each written by one PUT.

s3fs supplies the connection and single requests. Its own calls are not used: they normalise keys as paths, and botocore
parses each listing twice and takes a missing element for the end.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import fsspec
from aiobotocore.session import AioSession
from botocore import exceptions as botocore_errors
from fsspec.asyn import sync
from pydantic import SecretStr

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.storage.backend import (
    Guard,
    InvalidResponse,
    ObjectChanged,
    OnUnreadable,
    Retry,
    StoredObject,
    unguarded,
)
from foliopress.tasks.storage.s3_listing import (
    START,
    ListingPosition,
    bare_etag,
    is_going_back,
    new_objects,
    next_position,
    parse_listing,
)
from foliopress.tasks.storage.store_errors import error_code, error_text

Result = TypeVar("Result")

_CHECKSUMS = "request_checksum_calculation", "response_checksum_validation"
_UNKNOWN_CONDITION = ("NotImplemented", "501", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "400", "405")
"""Error codes of stores without conditional writes; the same code for another reason recurs without a condition."""
_UNKNOWN_LISTING = _UNKNOWN_CONDITION
_NO_ETAG = f'"{"0" * 32}"'
_SETTINGS_AT_FAULT = (
    *(
        botocore_errors.ProfileNotFound,
        botocore_errors.ConfigParseError,
        botocore_errors.ConfigNotFound,
        botocore_errors.InvalidConfigError,
    ),
    *(
        botocore_errors.NoRegionError,
        botocore_errors.InvalidProxiesConfigError,
        botocore_errors.InvalidChecksumConfigError,
    ),
    *(
        botocore_errors.InvalidRetryConfigurationError,
        botocore_errors.UnsupportedS3ConfigurationError,
        botocore_errors.SSOError,
    ),
    *(botocore_errors.LoginError, botocore_errors.UnauthorizedSSOTokenError),
)
"""Errors that botocore raises for environment variables and its configuration file."""


class S3Backend:
    """A bucket, or the objects below a prefix in it. Keys go to S3 unchanged; s3fs would normalise them as paths."""

    def __init__(self, path: str, storage: StorageSettings) -> None:
        self.bucket, _, prefix = path.partition("/")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        region = {"region_name": storage.region} if storage.region else {}
        session = _session()
        try:
            checksums = _checksums(session, storage.endpoint_url)
        except _SETTINGS_AT_FAULT as error:
            raise ConfigError(f"s3://{self.bucket}: {error}") from error
        config: dict[str, object] = {
            "connect_timeout": min(10.0, storage.timeout_s),
            "read_timeout": storage.timeout_s,
            "retries": {"max_attempts": 0},  # Store repeats calls itself
            **checksums,
        }
        self.fs = fsspec.filesystem(
            "s3",
            session=session,
            key=_secret(storage.access_key_id),
            secret=_secret(storage.secret_access_key),
            token=_secret(storage.session_token),
            endpoint_url=storage.endpoint_url,  # without it botocore uses the sources of AWS's own tools
            client_kwargs=region,
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self.fs.retries = 1
        self._with_all = _given(RequestPayer=storage.request_payer)
        self._with_each = _given(
            ServerSideEncryption=storage.server_side_encryption, SSEKMSKeyId=storage.kms_key_id, ACL=storage.acl
        )
        self._with_outputs = _given(StorageClass=storage.storage_class)
        self._has_second_version = True
        self._has_conditional_writes = True
        self._writes_plus_for_space: bool | None = None

    def list_objects(self, prefix: str, retry: Retry, on_unreadable: OnUnreadable) -> Iterator[StoredObject]:  # noqa: ARG002
        whole = self.prefix + prefix

        def page(place: ListingPosition) -> _Page:
            answer: _Page = retry(partial(self._page, whole, place))
            return answer

        for objects, _ in _one_ahead(page):
            for found in objects:
                # a store may ignore the prefix; empty keys that end in `/`, other programs' folders, are no objects
                if found.key.startswith(whole) and not (found.key.endswith("/") and found.size_bytes == 0):
                    key = found.key[len(self.prefix) :]
                    if key:
                        yield StoredObject(key, found.size_bytes, found.modified, found.etag)

    def _page(self, prefix: str, place: ListingPosition) -> _Page:
        """Return the objects after a position, and the next position."""
        if not self._has_second_version:
            return self._page_of(prefix, place, is_second=False)
        try:
            return self._page_of(prefix, place, is_second=True)
        except OSError as error:
            if place != START or error_code(error) not in _UNKNOWN_LISTING:
                raise
        return self._page_of_first_version(prefix, place)

    def _page_of_first_version(self, prefix: str, place: ListingPosition) -> _Page:
        page = self._page_of(prefix, place, is_second=False)
        self._has_second_version = False
        return page

    def _page_of(self, prefix: str, place: ListingPosition, *, is_second: bool) -> _Page:
        onto: dict[str, str | None] = {"Marker": place.marker}
        if is_second:
            onto = {"ContinuationToken": place.token} if place.token else {"StartAfter": place.after}
        method = "list_objects_v2" if is_second else "list_objects"
        # with an explicit encoding, botocore does not decode keys
        found = self._call(method, Prefix=prefix, EncodingType="url", **_given(**onto))
        answer = parse_listing(found.get(_BODY, b""), self._plus_is_space)
        if is_going_back(answer, place):
            if not is_second:
                raise ConfigError(f"the listing of s3://{self.bucket} does not continue after {place.after!r}")
            if place.token is None:  # a store that treats ListObjectsV2 as ListObjects
                return self._page_of_first_version(prefix, place)
        return new_objects(answer, place), next_position(answer, place)

    def _plus_is_space(self, key: str) -> bool:
        """Return whether `+` stands for a space in the store's listings; found by listing a key, asked once."""
        if self._writes_plus_for_space is None:
            found = self._call("list_objects", Prefix=key, EncodingType="url", MaxKeys=1).get(_BODY, b"")
            self._writes_plus_for_space = b"%2B" in found.upper() or b"<CONTENTS>" not in found.upper()
        return self._writes_plus_for_space

    def read(self, key: str) -> bytes:
        return self._read(key)[0]

    def _read(self, key: str, **more: str) -> tuple[bytes, str]:
        """Return an object's bytes, or a range of them, and its ETag verbatim, empty without one."""
        answer = self._call("get_object", Key=self.prefix + key, **more)
        data: bytes = sync(self.fs.loop, answer["Body"].read)
        size_bytes = answer.get("ContentLength")
        if size_bytes is not None and len(data) != int(size_bytes):
            raise InvalidResponse(f"received {len(data)} of {size_bytes} bytes")
        return data, str(answer.get("ETag", ""))

    def read_listed(self, listed: StoredObject) -> bytes:
        data = self.read(listed.key)
        # an ETag equal to the MD5 proves the bytes; else check that nothing changed during the transfer
        is_proved = listed.etag == hashlib.md5(data, usedforsecurity=False).hexdigest()
        if len(data) != listed.size_bytes or not (is_proved or self.is_as_listed(listed)):
            raise ObjectChanged(f"{listed.key!r} is no longer the object that was listed")
        return data

    def is_as_listed(self, listed: StoredObject) -> bool:
        try:
            answer = self._call("head_object", Key=self.prefix + listed.key)
        except FileNotFoundError:
            return False
        modified = answer.get("LastModified")
        when = modified.isoformat() if modified else ""
        found = StoredObject(listed.key, int(answer.get("ContentLength", -1)), when, bare_etag(answer.get("ETag")))
        return listed.is_like(found) or self._is_listed_still(listed)

    def _is_listed_still(self, listed: StoredObject) -> bool:
        """Return whether the listing is unchanged: some stores' HEAD responses differ from their listings."""
        objects, _ = self._page(self.prefix + listed.key, START)
        same = (StoredObject(listed.key, *found[1:]) for found in objects if found.key == self.prefix + listed.key)
        return any(listed.is_like(found) for found in same)

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        data, etag = self._read(key)
        return data, f"{etag} {hashlib.sha256(data).hexdigest()}"

    def write(self, key: str, data: bytes, is_output: bool = False, guard: Guard = unguarded) -> None:
        guard()
        self._put(key, data, **(self._with_outputs if is_output else {}))

    def create(self, key: str, data: bytes) -> bool:
        # check first: a store without conditional writes may silently ignore the condition
        return not self.exists(key) and self._put_if(key, data, IfNoneMatch="*")

    def replace(self, key: str, version: str, data: bytes) -> bool:
        etag = version.rpartition(" ")[0].removeprefix("W/")
        try:
            if self.read_versioned(key)[1] != version:  # some stores never change an ETag
                return False
        except FileNotFoundError:
            return False
        if not bare_etag(etag):
            self._put(key, data)
            return True
        # Ceph returns an ETag in quotes but refuses it in quotes, and compares a bare one
        return self._put_if(key, data, IfMatch=etag) or (
            self._is_still(key, version) and self._put_if(key, data, IfMatch=etag.strip('"'))
        )

    def _is_still(self, key: str, version: str) -> bool:
        try:
            return self.read_versioned(key)[1] == version
        except FileNotFoundError:
            return False

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        """Write conditionally; without the condition if the store has none, since the caller has just checked."""
        if self._has_conditional_writes:
            try:
                self._put(key, data, **condition)
            except FileNotFoundError:  # no object to replace
                return False
            except OSError as error:
                code = error_code(error)
                if code in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                    return False
                if code not in _UNKNOWN_CONDITION:
                    raise
            else:
                return True
        self._put(key, data)
        self._has_conditional_writes = False
        return True

    def has_conditional_writes(self, key: str) -> bool:
        self._put_if(key, b"", IfNoneMatch="*")
        # a store that silently ignores a condition writes again
        is_heeded = not self._put_if(key, b"", IfNoneMatch="*") and not self._put_if(key, b"", IfMatch=_NO_ETAG)
        return self._has_conditional_writes and is_heeded

    def _put(self, key: str, data: bytes, **more: str) -> None:
        self._call("put_object", Key=self.prefix + key, Body=data, **self._with_each, **more)

    def delete_partial_writes(self, older_than_s: float) -> None:
        pass  # an object is one PUT; an interrupted one leaves nothing

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=self.prefix + key)

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", Key=self.prefix + key)
        except FileNotFoundError:
            return False
        return True

    def open_input(self, key: str) -> BinaryIO:
        return io.BytesIO(self.read(key))

    def read_range(self, key: str, start: int, size: int) -> bytes:
        try:
            return self._read(key, Range=f"bytes={start}-{start + size - 1}")[0]
        except Exception as error:
            if error_code(error) in ("InvalidRange", "416"):
                return b""
            raise

    def _call(self, method: str, **arguments: object) -> Any:
        try:
            return self.fs.call_s3(method, Bucket=self.bucket, **self._with_all, **arguments)
        except (ValueError, *_SETTINGS_AT_FAULT) as error:
            raise ConfigError(f"s3://{self.bucket}: {error}") from error  # e.g. an endpoint that is no URL
        except botocore_errors.HTTPClientError as error:
            reason = error.kwargs.get("error")
            if not isinstance(reason, OSError) or reason.errno not in (errno.ENOENT, errno.EACCES, errno.EISDIR):
                raise
            raise ConfigError(f"s3://{self.bucket}: {reason}; check the file named by AWS_CA_BUNDLE") from error
        except botocore_errors.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise
            advice = "set AWS_CA_BUNDLE to a file of the certificates to trust"
            raise ConfigError(f"s3://{self.bucket}: the certificate is not trusted: {error}; {advice}") from error
        except FileNotFoundError as error:
            code = error_code(error)
            if code == "NoSuchBucket":
                raise ConfigError(f"s3://{self.bucket}: the bucket does not exist ({error_text(error)})") from error
            if not code:  # not a response of the store, so not its object: e.g. the file of AWS_CA_BUNDLE
                raise ConfigError(f"s3://{self.bucket}: {error}") from error
            raise


_Page = tuple[tuple[StoredObject, ...], ListingPosition | None]
"""Objects, and the position after them; None at the end of the listing."""
_BODY = "Body"


def _session() -> AioSession:
    """Return a session that leaves listings unparsed: there may be millions of keys, and stores' formats vary.

    botocore would parse each response twice, and take a missing element for the end of the listing.
    """
    session = AioSession()
    for operation in ("ListObjects", "ListObjectsV2"):
        # with `*` it runs before botocore's own handlers for `s3`, one of which parses each response itself
        session.register(f"before-parse.*.{operation}", _keep_listing)
    return session


def _keep_listing(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Save a listing's body and blank it for botocore, which still parses errors, including those sent with 200."""
    body = response_dict["body"]
    if response_dict["status_code"] == 200 and b"<Error" not in body:
        customized_response_dict[_BODY] = body
        response_dict["body"] = b""


def _checksums(session: AioSession, endpoint_url: str | None) -> dict[str, str]:
    """Return botocore's checksum settings, unless the user has made them.

    Older servers other than Amazon's refuse the checksums that botocore adds by default.
    """
    scoped = session.get_scoped_config()
    if any(os.environ.get(f"AWS_{name.upper()}") or scoped.get(name) for name in _CHECKSUMS):
        return {}
    host = urlsplit(endpoint_url or _configured_endpoint(session) or "").hostname or "amazonaws.com"
    is_amazon = host.endswith(("amazonaws.com", "amazonaws.com.cn"))
    return {} if is_amazon else dict.fromkeys(_CHECKSUMS, "when_required")


def _configured_endpoint(session: AioSession) -> str | None:
    """Return the endpoint in the environment or in botocore's configuration file, in botocore's order."""
    scoped = session.get_scoped_config()
    ignored = os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or scoped.get("ignore_configured_endpoint_urls")
    if str(ignored).lower() == "true":
        return None
    services = session.full_config.get("services", {}).get(scoped.get("services"), {})
    found = (
        *(os.environ.get("AWS_ENDPOINT_URL_S3"), os.environ.get("AWS_ENDPOINT_URL")),
        *(services.get("s3", {}).get("endpoint_url"), scoped.get("endpoint_url")),
    )
    return next(filter(None, found), None)


def _one_ahead(page: Callable[[ListingPosition], _Page]) -> Iterator[_Page]:
    """Yield the pages of a listing; from the second on, prefetch the next one.

    Args:
        page: Called with the position after the page before; possibly in a thread.
    """
    found = page(START)
    yield found  # often the only one needed
    coming: Future[_Page] | None = None
    while found[1] is not None:
        found = coming.result() if coming else page(found[1])
        coming = _begun(partial(page, found[1])) if found[1] is not None else None
        yield found


def _begun(call: Callable[[], Result]) -> Future[Result]:
    """Make a call in a daemon thread, which does not delay the exit of the process."""
    result: Future[Result] = Future()

    def make() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=make, name="list", daemon=True).start()
    return result


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
