"""Bucket: objects on S3, each written by one PUT."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO
from xml.sax.saxutils import unescape

import fsspec
from aiobotocore.session import AioSession
from botocore.handlers import _handle_200_error
from botocore.utils import parse_timestamp
from fsspec.asyn import sync
from pydantic import SecretStr

from configs.settings import StorageSettings
from tasks.errors import ConfigError
from tasks.objects import PassOver, StoredObject, Tried, fault_of

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
        more: dict[str, str] = {}
        while True:
            answer = tried(partial(self._list, Prefix=self.prefix + prefix, **more))
            for item in answer.get("Contents", []):
                key = item["Key"].removeprefix(self.prefix)
                if key and not (key.endswith("/") and item["Size"] == 0):  # what shops show as folders
                    etag, modified = item["ETag"].strip('"'), item["LastModified"].isoformat()
                    yield StoredObject(key, int(item["Size"]), modified, etag)
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

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

    def write(self, key: str, data: bytes, is_output: bool = False) -> None:
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


_OBJECT = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
_UNUSUAL = re.compile(rb"<!|&#|\r")
"""Comments and CDATA, characters by number, and line ends that XML reads as others."""
_PART = re.compile(rb"<(Key|Size|ETag|LastModified)>([^<]*)</")


def _contents(response_dict: dict[str, Any]) -> list[dict[str, object]] | None:
    """Take the objects out of the text of a listing and return them; None if it is not one of the usual form.

    In that form, which all servers use, an object's parts are text, with no references but those that have names.
    """
    body: bytes = response_dict["body"]
    if _UNUSUAL.search(body) or not body.rstrip().endswith(b"</ListBucketResult>"):
        return None
    items = _OBJECT.findall(body)
    try:
        found = [_as_object(dict(_PART.findall(item))) for item in items]
    except (KeyError, ValueError):
        return None
    begin, end = body.find(b"<Contents>"), body.rfind(b"</Contents>") + len(b"</Contents>")
    stand_together = sum(map(len, items)) + len(items) * len(b"<Contents></Contents>") == end - begin
    response_dict["body"] = body[:begin] + body[end:] if stand_together else _OBJECT.sub(b"", body)
    return found


def _as_object(parts: Mapping[bytes, bytes]) -> dict[str, object]:
    return {
        "Key": _text_of(parts[b"Key"]),
        "Size": int(parts[b"Size"]),
        "ETag": _text_of(parts[b"ETag"]),
        "LastModified": _time_of(_text_of(parts[b"LastModified"])),
    }


def _text_of(data: bytes) -> str:
    text = data.decode()
    return unescape(text, {"&quot;": '"', "&apos;": "'"}) if "&" in text else text


def _time_of(value: object) -> datetime:
    if isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    found: datetime = parse_timestamp(value)  # botocore's own, which takes any form
    return found


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
