"""Object storage that speaks S3, through boto3 (an optional extra); its errors become OSErrors."""

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.paths import Bucket, Place, place_of

MISSING_CLIENT = (
    "names a bucket of object storage, whose client boto3 is not installed; `make s3` installs it, or "
    "`pip install -r requirements-s3.lock`"
)

READ_AHEAD_BYTES = 1 << 20

PAGE_SIZE = 1_000
"""How many objects one request lists: the most that S3 allows."""

_DENIED = (errno.EACCES, "access is denied")
_BUSY = (errno.EIO, "the object store is busy")
_CHANGED = (errno.EBUSY, "it has changed since it was listed")
_GONE = (errno.ENOENT, "it is gone")

_ANSWERS = {
    **dict.fromkeys(("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"), _DENIED),
    **dict.fromkeys(("ExpiredToken", "InvalidToken"), _DENIED),
    **dict.fromkeys(("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"), _BUSY),
    **dict.fromkeys(("500", "502", "503", "504"), _BUSY),
    **dict.fromkeys(("PreconditionFailed", "412"), _CHANGED),
    **dict.fromkeys(("NoSuchKey", "404"), _GONE),
    "NoSuchBucket": (errno.ENOENT, "there is no such bucket"),
    "InvalidObjectState": (errno.EPERM, "it is archived, and has to be restored in the bucket first"),
}
"""An object store's answers, as errno and words for a sentence."""


def usable_place(text: str) -> Place:
    """Return the folder or bucket that a setting names. Raises ValueError for a bucket that is invalid or unusable."""
    place = place_of(text)
    if isinstance(place, Bucket) and find_spec("boto3") is None:
        raise ValueError(MISSING_CLIENT)
    return place


@cache
def client() -> Any:
    """Return the client of this process. Credentials, region and endpoint are found as boto3 finds them."""
    import boto3  # noqa: PLC0415  0.2 s and 20 MB, for those alone who have a bucket
    from botocore.config import Config  # noqa: PLC0415  with boto3

    settings = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 5})
    return boto3.session.Session().client("s3", config=settings)


def listed(bucket: Bucket) -> Iterator[dict[str, Any]]:
    """Yield S3's entry for each object below a prefix, by key, in pages of a thousand. Raises OSError."""
    with explained():
        pages = (
            client()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket.name, Prefix=bucket.beginning, PaginationConfig={"PageSize": PAGE_SIZE})
        )
        for page in pages:
            yield from page.get("Contents", ())


def open_object(bucket: Bucket, key: str, etag: str) -> io.BufferedReader:
    """Open an object for reading, as it was listed.

    Raises OSError when it cannot be read, also when it has been replaced since.
    """
    with explained():
        body = client().get_object(Bucket=bucket.name, Key=key, IfMatch=etag)["Body"]
    return io.BufferedReader(_Body(body), READ_AHEAD_BYTES)


def put_file(bucket: Bucket, name: str, path: Path) -> None:
    """Put a file below a prefix; readers find all of it, or what was there before. Raises OSError."""
    with explained():
        client().upload_file(str(path), bucket.name, f"{bucket.beginning}{name}")


@contextmanager
def explained() -> Iterator[None]:
    """Turn boto3's errors into an OSError with words for a sentence, and a number that shows if a retry may help."""
    from boto3.exceptions import Boto3Error  # noqa: PLC0415  an extra, imported by then
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise _explained(error) from None


def _explained(error: Exception) -> OSError:
    from botocore import exceptions  # noqa: PLC0415  an extra, imported by then

    if isinstance(error, exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        number, words = _ANSWERS.get(code, (errno.EREMOTEIO, "the object store refuses it"))
        return OSError(number, f"{words} ({code})")
    if isinstance(
        error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError | exceptions.ProfileNotFound
    ):
        return OSError(
            errno.EACCES,
            "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the "
            "environment",
        )
    # The connection: nothing listens, it was cut, or it took too long. Its own message may contain the endpoint.
    return OSError(errno.ETIMEDOUT, f"the object store does not answer ({type(error).__name__})")


class _Body(io.RawIOBase):
    """The bytes of an object as they arrive, requested once."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Put the next bytes into a buffer and return their number. Raises OSError when they stop coming."""
        with explained():
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Return the connection to the pool."""
        self._body.close()
        super().close()
