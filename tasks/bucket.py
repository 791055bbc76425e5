"""Bucket: objects on S3, each written by one PUT."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, TypeVar
from xml.sax.saxutils import unescape

import fsspec
from aiobotocore.session import AioSession
from botocore.handlers import _handle_200_error
from botocore.utils import parse_timestamp
from fsspec.asyn import sync
from pydantic import SecretStr

from configs.settings import StorageSettings
from tasks.errors import ConfigError
from tasks.objects import Guard, PassOver, StoredObject, Tried, fault_of, unguarded

Result = TypeVar("Result")

_BEFORE_PARSE = "before-parse.s3.*"


class S3Bucket:
    """A bucket, or what lies under a prefix in it. Keys go to S3 as they are; s3fs would tidy them as paths."""

    def __init__(self, path: str, storage: StorageSettings) -> None:
        self.bucket, _, prefix = path.partition("/")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        endpoint_url = storage.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        region = {"region_name": storage.region} if storage.region else {}
        config: dict[str, object] = {
            "connect_timeout": min(10.0, storage.timeout_s),
            "read_timeout": storage.timeout_s,
            "retries": {"max_attempts": 0},  # Store tries again by itself
        }
        if endpoint_url:  # older servers other than Amazon's refuse the checksums that botocore now adds unasked
            config |= {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        self.fs = fsspec.filesystem(
            "s3",
            session=_session(),
            key=_secret(storage.access_key_id),
            secret=_secret(storage.secret_access_key),
            token=_secret(storage.session_token),
            endpoint_url=endpoint_url,
            client_kwargs=region,
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self.fs.retries = 1
        self._with_each = _given(
            ServerSideEncryption=storage.server_side_encryption, SSEKMSKeyId=storage.kms_key_id, ACL=storage.acl
        )
        self._with_outputs = _given(StorageClass=storage.storage_class)

    def list_objects(self, prefix: str, tried: Tried, pass_over: PassOver) -> Iterator[StoredObject]:  # noqa: ARG002
        def page(token: str | None) -> dict[str, Any]:
            more = {} if token is None else {"ContinuationToken": token}
            answer: dict[str, Any] = tried(partial(self._list, Prefix=self.prefix + prefix, **more))
            return answer

        for answer in _one_ahead(page):
            for item in answer.get("Contents", []):
                key = item["Key"].removeprefix(self.prefix)
                if key and not (key.endswith("/") and item["Size"] == 0):  # what shops show as folders
                    etag, modified = item["ETag"].strip('"'), item["LastModified"].isoformat()
                    yield StoredObject(key, int(item["Size"]), modified, etag)

    def _list(self, **arguments: object) -> dict[str, Any]:
        answer: dict[str, Any] = self._call("list_objects_v2", **arguments)
        if not answer.keys() - {"ResponseMetadata"}:  # it would pass for the end of the listing
            raise ConnectionError("the listing came empty, without so much as the bucket's name")
        return answer

    def read(self, key: str) -> bytes:
        return self.read_versioned(key)[0]

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        answer = self._call("get_object", Key=self.prefix + key)
        data: bytes = sync(self.fs.loop, answer["Body"].read)
        if len(data) != int(answer["ContentLength"]):
            raise ConnectionError(f"{len(data)} of {answer['ContentLength']} bytes came")
        return data, str(answer["ETag"])

    def write(self, key: str, data: bytes, is_output: bool = False, guard: Guard = unguarded) -> None:
        guard()
        self._put(key, data, **(self._with_outputs if is_output else {}))

    def create(self, key: str, data: bytes) -> bool:
        return self._put_if(key, data, lambda: not self.exists(key), IfNoneMatch="*")

    def replace(self, key: str, version: str, data: bytes) -> bool:
        if self._put_if(key, data, lambda: self._etag(key) == version, IfMatch=version):
            return True
        # Ceph refuses an ETag in the quotes that it gave it in, and holds a bare one against the object
        bare = version.strip('"')
        return self._etag(key) == version and self._put_if(key, data, lambda: False, IfMatch=bare)

    def _put_if(self, key: str, data: bytes, holds: Callable[[], bool], **condition: str) -> bool:
        try:
            self._put(key, data, **condition)
        except FileNotFoundError:  # nothing there to be replaced
            return False
        except OSError as error:
            fault = fault_of(error)
            if fault in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                return False
            if fault not in ("NotImplemented", "501"):
                raise
            if not holds():  # a server that knows no conditions: the best that can be done there
                return False
            self._put(key, data)
        return True

    def _put(self, key: str, data: bytes, **more: str) -> None:
        self._call("put_object", Key=self.prefix + key, Body=data, **self._with_each, **more)

    def clear_leftovers(self, older_than_s: float) -> None:
        pass  # an object is one PUT, and what breaks off leaves nothing

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=self.prefix + key)

    def exists(self, key: str) -> bool:
        return self._etag(key) is not None

    def _etag(self, key: str) -> str | None:
        try:
            return str(self._call("head_object", Key=self.prefix + key)["ETag"])
        except FileNotFoundError:
            return None

    def open_input(self, key: str) -> BinaryIO:
        return io.BytesIO(self.read(key))

    def read_piece(self, key: str, start: int, size: int) -> bytes:
        try:
            answer = self._call("get_object", Key=self.prefix + key, Range=f"bytes={start}-{start + size - 1}")
        except Exception as error:
            if fault_of(error) == "InvalidRange":
                return b""
            raise
        data: bytes = sync(self.fs.loop, answer["Body"].read)
        if len(data) != int(answer["ContentLength"]):
            raise ConnectionError(f"{len(data)} of {answer['ContentLength']} bytes came")
        return data

    def _call(self, method: str, **arguments: object) -> Any:
        try:
            return self.fs.call_s3(method, Bucket=self.bucket, **arguments)
        except ValueError as error:
            raise ConfigError(f"s3://{self.bucket}: {error}") from error  # e.g. an endpoint that is no URL
        except FileNotFoundError as error:
            if fault_of(error) == "NoSuchBucket":
                raise ConfigError(f"s3://{self.bucket}: the bucket does not exist (NoSuchBucket)") from error
            raise


def _session() -> AioSession:
    """Return a session that reads listings fast: there may be millions of keys, a thousand in an answer."""
    session = AioSession()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time_of)
    session.unregister(_BEFORE_PARSE, _handle_200_error)
    session.register(_BEFORE_PARSE, _read_listing)
    return session


def _one_ahead(page: Callable[[str | None], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the pages of a listing; from the second on the next one is asked for while one is looked at.

    Args:
        page: Called with what the page before said of the next, None at first; perhaps in a thread.
    """
    yield (answer := page(None))  # often all that is wanted
    coming: Future[dict[str, Any]] | None = None
    while answer.get("IsTruncated"):
        answer = coming.result() if coming else page(answer["NextContinuationToken"])
        coming = _begun(partial(page, answer["NextContinuationToken"])) if answer.get("IsTruncated") else None
        yield answer


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


def _read_listing(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **more: object
) -> None:
    """Read what a listing has found, in less than half the time that botocore takes, which parses each answer twice.

    What is no whole listing, an error that was sent as 200 say, is left to botocore, as is all else in the answer.
    """
    found = _contents(response_dict) if operation_model.name == "ListObjectsV2" else None
    if found is None:
        _handle_200_error(operation_model, response_dict, **more)
    elif found:
        customized_response_dict["Contents"] = found


_OTHERS = r"(?:<(?!Owner>)\w+>[^<]*</\w+>|</?Owner>)*?"
_OBJECTS = re.compile(
    "<Contents>"
    + "".join(f"{_OTHERS}<{name}>([^<]*)</{name}>" for name in ("Key", "LastModified", "ETag", "Size"))
    + f"{_OTHERS}</Contents>"
)
_UNUSUAL = ("<!", "&#", "\r")
"""Comments and CDATA, characters by number, and line ends that XML reads as others."""


def _contents(response_dict: dict[str, Any]) -> list[dict[str, object]] | None:
    """Take the objects out of the text of a listing and return them; None if it is not one of the usual form.

    In that form, which the servers known to us use, objects stand together and their parts are text, in one order and
    with no references but those that have names.
    """
    try:
        text: str = response_dict["body"].decode()
        before, begin, rest = text.partition("<Contents>")
        middle, end, after = rest.rpartition("</Contents>")
        items = begin + middle + end
        found = _OBJECTS.findall(items)
        n_objects = items.count("<Contents>")
        is_usual = len(found) == n_objects and items.count("</Contents><Contents>") == max(0, n_objects - 1)
        if not is_usual or any(sign in text for sign in _UNUSUAL) or not text.rstrip().endswith("</ListBucketResult>"):
            return None
        objects = [
            {"Key": _unescaped(key), "LastModified": _time_of(when), "ETag": _unescaped(etag), "Size": int(size)}
            for key, when, etag, size in found
        ]
    except ValueError:
        return None
    response_dict["body"] = (before + after).encode()
    return objects


def _unescaped(text: str) -> str:
    return unescape(text.replace("&quot;", '"'), {"&apos;": "'"}) if "&" in text else text


def _time_of(value: object) -> datetime:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    found: datetime = parse_timestamp(value)  # botocore's own, which takes any form
    return found


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
