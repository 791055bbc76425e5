"""Bucket: objects on S3, each written by one PUT."""

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
from botocore import exceptions as faults
from fsspec.asyn import sync
from pydantic import SecretStr

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import ConfigError
from foliopress.tasks.storage.backend import (
    Guard,
    InvalidResponse,
    ObjectChanged,
    OnUnreadable,
    Retry,
    StoredObject,
    error_code,
    error_text,
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

Result = TypeVar("Result")

_CHECKSUMS = "request_checksum_calculation", "response_checksum_validation"
_UNKNOWN_CONDITION = ("NotImplemented", "501", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "400", "405")
"""What stores answer that know no conditional writes; another fault of the same name comes without a condition too."""
_UNKNOWN_LISTING = _UNKNOWN_CONDITION
_NO_ETAG = f'"{"0" * 32}"'
_SETTINGS_AT_FAULT = (
    *(faults.ProfileNotFound, faults.ConfigParseError, faults.ConfigNotFound, faults.InvalidConfigError),
    *(faults.NoRegionError, faults.InvalidProxiesConfigError, faults.InvalidChecksumConfigError),
    *(faults.InvalidRetryConfigurationError, faults.UnsupportedS3ConfigurationError, faults.SSOError),
    *(faults.LoginError, faults.UnauthorizedSSOTokenError),
)
"""What botocore says of environment variables and of its configuration file."""


class S3Backend:
    """A bucket, or what lies under a prefix in it. Keys go to S3 as they are; s3fs would tidy them as paths."""

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
            "retries": {"max_attempts": 0},  # Store tries again by itself
            **checksums,
        }
        self.fs = fsspec.filesystem(
            "s3",
            session=session,
            key=_secret(storage.access_key_id),
            secret=_secret(storage.secret_access_key),
            token=_secret(storage.session_token),
            endpoint_url=storage.endpoint_url,  # without it botocore looks where AWS's own tools do
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
                # a store may pass over the prefix; and what other programs show as folders is no object
                if found.key.startswith(whole) and not (found.key.endswith("/") and found.size_bytes == 0):
                    key = found.key[len(self.prefix) :]
                    if key:
                        yield StoredObject(key, found.size_bytes, found.modified, found.etag)

    def _page(self, prefix: str, place: ListingPosition) -> _Page:
        """Return what lies behind a place, and where it goes on."""
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
        # with the encoding named here, botocore leaves keys as they come
        found = self._call(method, Prefix=prefix, EncodingType="url", **_given(**onto))
        answer = parse_listing(found.get(_BODY, b""), self._plus_is_space)
        if is_going_back(answer, place):
            if not is_second:
                raise ConfigError(f"the listing of s3://{self.bucket} does not go on behind {place.after!r}")
            if place.token is None:  # a store that takes the second version for the first
                return self._page_of_first_version(prefix, place)
        return new_objects(answer, place), next_position(answer, place)

    def _plus_is_space(self, key: str) -> bool:
        """Look how the store writes a key with a plus sign in a listing, if it has it at all; asked once."""
        if self._writes_plus_for_space is None:
            found = self._call("list_objects", Prefix=key, EncodingType="url", MaxKeys=1).get(_BODY, b"")
            self._writes_plus_for_space = b"%2B" in found.upper() or b"<CONTENTS>" not in found.upper()
        return self._writes_plus_for_space

    def read(self, key: str) -> bytes:
        return self._read(key)[0]

    def _read(self, key: str, **more: str) -> tuple[bytes, str]:
        """Return an object's bytes, or a piece of them, and its ETag as it stands, or nothing."""
        answer = self._call("get_object", Key=self.prefix + key, **more)
        data: bytes = sync(self.fs.loop, answer["Body"].read)
        size_bytes = answer.get("ContentLength")
        if size_bytes is not None and len(data) != int(size_bytes):
            raise InvalidResponse(f"{len(data)} of {size_bytes} bytes came")
        return data, str(answer.get("ETag", ""))

    def read_listed(self, listed: StoredObject) -> bytes:
        data = self.read(listed.key)
        # an ETag that is the bytes' MD5 proves them; else a last look shows that nothing changed while they came
        is_proved = listed.etag == hashlib.md5(data, usedforsecurity=False).hexdigest()
        if len(data) != listed.size_bytes or not (is_proved or self.is_as_listed(listed)):
            raise ObjectChanged(f"{listed.key!r} is no more the object that was listed")
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
        """Return whether the listing is as it was: there are stores whose heads say otherwise than their listings."""
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
        # asked first: a store that knows no conditions may pass over them in silence
        return not self.exists(key) and self._put_if(key, data, IfNoneMatch="*")

    def replace(self, key: str, version: str, data: bytes) -> bool:
        etag = version.rpartition(" ")[0].removeprefix("W/")
        try:
            if self.read_versioned(key)[1] != version:  # there are stores whose ETag never changes
                return False
        except FileNotFoundError:
            return False
        if not bare_etag(etag):
            self._put(key, data)
            return True
        # Ceph refuses an ETag in the quotes that it gave it in, and holds a bare one against the object
        return self._put_if(key, data, IfMatch=etag) or (
            self._is_still(key, version) and self._put_if(key, data, IfMatch=etag.strip('"'))
        )

    def _is_still(self, key: str, version: str) -> bool:
        try:
            return self.read_versioned(key)[1] == version
        except FileNotFoundError:
            return False

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        """Write under a condition; to a store that knows none, as it was asked just before, without."""
        if self._has_conditional_writes:
            try:
                self._put(key, data, **condition)
            except FileNotFoundError:  # nothing there to be replaced
                return False
            except OSError as error:
                fault = error_code(error)
                if fault in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                    return False
                if fault not in _UNKNOWN_CONDITION:
                    raise
            else:
                return True
        self._put(key, data)
        self._has_conditional_writes = False
        return True

    def has_conditional_writes(self, key: str) -> bool:
        self._put_if(key, b"", IfNoneMatch="*")
        # a store that passes over a condition in silence writes again
        is_heeded = not self._put_if(key, b"", IfNoneMatch="*") and not self._put_if(key, b"", IfMatch=_NO_ETAG)
        return self._has_conditional_writes and is_heeded

    def _put(self, key: str, data: bytes, **more: str) -> None:
        self._call("put_object", Key=self.prefix + key, Body=data, **self._with_each, **more)

    def delete_partial_writes(self, older_than_s: float) -> None:
        pass  # an object is one PUT, and what breaks off leaves nothing

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
        except faults.HTTPClientError as error:
            reason = error.kwargs.get("error")
            if not isinstance(reason, OSError) or reason.errno not in (errno.ENOENT, errno.EACCES, errno.EISDIR):
                raise
            raise ConfigError(f"s3://{self.bucket}: {reason}: is it the file that AWS_CA_BUNDLE names?") from error
        except faults.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise
            advice = "AWS_CA_BUNDLE names a file of the certificates to trust"
            raise ConfigError(f"s3://{self.bucket}: the certificate is not trusted: {error}; {advice}") from error
        except FileNotFoundError as error:
            fault = error_code(error)
            if fault == "NoSuchBucket":
                raise ConfigError(f"s3://{self.bucket}: the bucket does not exist ({error_text(error)})") from error
            if not fault:  # not an answer of the store's, so not its object either: AWS_CA_BUNDLE, say
                raise ConfigError(f"s3://{self.bucket}: {error}") from error
            raise


_Page = tuple[tuple[StoredObject, ...], ListingPosition | None]
"""Objects, and where the listing goes on behind them; None at its end."""
_BODY = "Body"


def _session() -> AioSession:
    """Return a session that leaves listings to us: there may be millions of keys, and stores write them in many ways.

    botocore would parse each answer twice, and read a missing part as the end.
    """
    session = AioSession()
    for operation in ("ListObjects", "ListObjectsV2"):
        # with `*` it comes before botocore's own handlers for `s3`, one of which parses each answer by itself
        session.register(f"before-parse.*.{operation}", _keep_listing)
    return session


def _keep_listing(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Put the text of a listing aside; errors, those sent as 200 too, are botocore's to read."""
    body = response_dict["body"]
    if response_dict["status_code"] == 200 and b"<Error" not in body:
        customized_response_dict[_BODY] = body
        response_dict["body"] = b""


def _checksums(session: AioSession, endpoint_url: str | None) -> dict[str, str]:
    """Return when checksums are asked for, where the user does not say it.

    Older servers other than Amazon's refuse those that botocore adds unasked.
    """
    scoped = session.get_scoped_config()
    if any(os.environ.get(f"AWS_{name.upper()}") or scoped.get(name) for name in _CHECKSUMS):
        return {}
    host = urlsplit(endpoint_url or _configured_endpoint(session) or "").hostname or "amazonaws.com"
    is_amazon = host.endswith(("amazonaws.com", "amazonaws.com.cn"))
    return {} if is_amazon else dict.fromkeys(_CHECKSUMS, "when_required")


def _configured_endpoint(session: AioSession) -> str | None:
    """Return the endpoint that botocore takes from the environment or its configuration file, in its order."""
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
    """Yield the pages of a listing; from the second on the next one is asked for while one is looked at.

    Args:
        page: Called with where the page before said to go on; perhaps in a thread.
    """
    found = page(START)
    yield found  # often all that is wanted
    coming: Future[_Page] | None = None
    while found[1] is not None:
        found = coming.result() if coming else page(found[1])
        coming = _begun(partial(page, found[1])) if found[1] is not None else None
        yield found


def _begun(call: Callable[[], Result]) -> Future[Result]:
    """Make a call in a thread of its own, which no end of the process waits for."""
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
