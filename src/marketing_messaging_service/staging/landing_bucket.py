"""A bucket that raw files land in: every object below its prefix, and what is left out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader

from src.marketing_messaging_service.errors import MAY_PASS, LandingError
from src.marketing_messaging_service.infrastructure import buckets
from src.marketing_messaging_service.paths import Bucket
from src.marketing_messaging_service.staging.landing_place import PASSED_OVER, LandingPlace, Sighting, printable_path


@dataclass(frozen=True, slots=True)
class BucketObject:
    """A raw file's place in a bucket, as it was listed."""

    bucket: Bucket
    key: str
    etag: str
    listed_signature: str

    def open(self) -> BufferedReader:
        """Open it for reading. Raises OSError, also when it is a different object by now."""
        return buckets.open_object(self.bucket, self.key, self.etag)

    def signature(self) -> str:
        """Return what it is known by: an object is stored whole, and is only opened as it was listed."""
        return self.listed_signature


class LandingBucket(LandingPlace):
    """The objects below a prefix, listed once."""

    grows = False
    reads_at_once = 16

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self.bucket = bucket

    def sightings(self) -> Iterator[Sighting]:
        """Yield every object, by key; one whose key ends in a slash is a folder's name, not a file.

        Raises LandingError when the bucket cannot be listed.
        """
        try:
            for listed in buckets.listed(self.bucket):
                place = listed["Key"].removeprefix(self.bucket.beginning)
                if not place.endswith("/") and not self._is_passed_over(place):
                    yield _sighting(self.bucket, place, listed["Size"], listed["LastModified"], listed["ETag"])
        except OSError as error:
            raise LandingError(
                f"LANDING_PATH names {self.bucket}, which cannot be listed: {error.strerror}.",
                may_pass=error.errno in MAY_PASS,
            ) from None

    def _is_passed_over(self, place: str) -> bool:
        """Whether an object, or a folder it is in, is not ours; each such name is noted once."""
        parts = place.split("/")
        end = next((end for end, part in enumerate(parts, 1) if part.startswith(PASSED_OVER)), None)
        if end is None:
            return False
        named = printable_path("/".join(parts[:end]))
        # Keys come in order, so the contents of a folder are listed together.
        if not self.passed_over or self.passed_over[-1] != named:
            self.passed_over.append(named)
        return True


def _sighting(bucket: Bucket, place: str, size_bytes: int, modified: datetime, etag: str) -> Sighting:
    seconds = modified.timestamp()
    time = int(seconds * 1_000_000_000)
    # The last part is the ETag, by which a copy under another name is known too. Stores may write it as they like, even
    # with colons, which separate the parts of a signature.
    signature = f"{size_bytes}:{time}:{time}:{etag.strip(chr(34)).replace(':', '-')}"
    return Sighting(
        BucketObject(bucket, f"{bucket.beginning}{place}", etag, signature),
        printable_path(place),
        size_bytes,
        modified=seconds,
        changed=seconds,
        signature=signature,
    )
