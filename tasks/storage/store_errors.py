"""Explain errors of a store: which of them another try cannot cure, and what to do about them."""

from __future__ import annotations

import errno
import os
from typing import Any
from urllib.parse import urlsplit

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import NameRefused, StoreUnavailable
from foliopress.tasks.storage.backend import InvalidResponse, ObjectArchived

_LONGEST_MESSAGE = 500

_WRONG_SETTINGS = {
    "NoSuchBucket": "the bucket does not exist",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidToken": "the session token is wrong",
    "ExpiredToken": "the session token has expired",
    "AccessDenied": "access is denied",
    "Forbidden": "access is denied",
    "403": "access is denied",
    "AllAccessDisabled": "access is disabled",
    "PermanentRedirect": "the bucket is in another region (storage.region)",
    "AuthorizationHeaderMalformed": "the region is wrong (storage.region)",
    "InvalidBucketName": "no bucket can have this name",
    "InvalidStorageClass": "the store has no such class (storage.storage_class)",
    "AccessControlListNotSupported": "the bucket does not accept ACLs (storage.acl)",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
_WRONG_NAME = ("KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName", "XMinioInvalidResourceName")
_WRONG_KMS_KEY = "the encryption key cannot be used (storage.kms_key_id)"
_ARCHIVED = "InvalidObjectState"
_SECRET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_THIS_OBJECT_ONLY = ("", "AccessDenied", "Forbidden", "403")
_WRONG_LOCATION = (errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV)


def error_code(error: BaseException) -> str:
    """Return S3's code of an error, from any exception in its chain of causes; empty without one."""
    return str(_response_of(error).get("Error", {}).get("Code", ""))


def error_text(error: BaseException) -> str:
    """Return the store's own account of an error: code, message and request number; without one, the error's type."""
    response = _response_of(error)
    found = response.get("Error", {})
    if not found.get("Code"):
        endpoint = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
        place = f" ({endpoint.scheme}://{endpoint.netloc.rpartition('@')[2]})" if endpoint.netloc else ""
        return f"{error}" if isinstance(error, InvalidResponse) else f"{type(error).__name__}{place}"
    message = " ".join(str(found.get("Message") or "").split())[:_LONGEST_MESSAGE]
    number = response.get("ResponseMetadata", {}).get("RequestId") or found.get("RequestId")
    return f"{found['Code']}{f': {message}' if message else ''}{f' (request {number})' if number else ''}"


def without_secrets(text: str, storage: StorageSettings) -> str:
    """Return a store's text without our credentials, which some stores repeat."""
    held = (storage.access_key_id, storage.secret_access_key, storage.session_token)
    secrets = [one.get_secret_value() for one in held if one is not None]
    for secret in filter(None, [*secrets, *map(os.environ.get, _SECRET_VARIABLES)]):
        text = text.replace(secret, "…")
    return text


def raise_if_permanent(error: Exception, code: str, text: str, action: str, failed_call: str) -> None:
    """Raise an explained error if another try cannot succeed.

    Args:
        error: The error that the call raised.
        code: Its code, from `error_code`.
        text: The store's own account of it, from `error_text`.
        action: Verb of the call: `read`, `open`, `write`, …
        failed_call: Beginning of the message, e.g. `cannot read 'a.jpg' in s3://bucket`.
    """
    name = type(error).__name__
    if code == _ARCHIVED and action in ("read", "open"):
        raise ObjectArchived(f"{failed_call}: archived, to be restored before it can be read ({text})") from error
    if isinstance(error, PermissionError) and action in ("read", "open") and code in _THIS_OBJECT_ONLY:
        raise PermissionError(f"{failed_call}: permission denied" + (f" ({text})" if code else "")) from error
    if code in _WRONG_SETTINGS:
        raise ConfigError(f"{failed_call}: {_WRONG_SETTINGS[code]} ({text})") from error
    if code in _WRONG_NAME and action == "write":
        raise NameRefused(f"{failed_call}: the store cannot hold this name ({text})") from error
    if code.startswith("KMS."):
        raise ConfigError(f"{failed_call}: {_WRONG_KMS_KEY} ({text})") from error
    if name in ("NoCredentialsError", "PartialCredentialsError"):
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.access_key_id"
        raise ConfigError(f"{failed_call}: no S3 credentials; {advice}") from error
    if name == "ParamValidationError":
        raise ConfigError(f"{failed_call}: not a possible name for a bucket or key") from error
    if isinstance(error, PermissionError):
        raise ConfigError(f"{failed_call}: permission denied" + (f" ({text})" if code else "")) from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise StoreUnavailable(f"{failed_call}: {os.strerror(error.errno)}") from error
    if isinstance(error, OSError) and error.errno in _WRONG_LOCATION:
        if action in ("read", "open"):
            raise error
        raise ConfigError(f"{failed_call}: {os.strerror(error.errno)}") from error


def _response_of(error: BaseException) -> dict[str, Any]:
    """Return botocore's response to the failed request; empty without one."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return response
        cause = cause.__cause__
    return {}
