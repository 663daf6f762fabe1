"""An object store for the tests: moto's server, which keeps everything in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from moto.server import ThreadedMotoServer

from src.marketing_messaging_service.infrastructure import buckets
from src.marketing_messaging_service.paths import Bucket

_numbers = count(1)


def served() -> Iterator[str]:
    """Yield the endpoint of a server, which ends with the tests."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Yield an empty bucket that boto3 finds by the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(f"bucket-{next(_numbers)}", "events/hourly")
    buckets.client().create_bucket(Bucket=bucket.name)
    yield bucket


@contextmanager
def another_client() -> Iterator[None]:
    """Reach the object store inside as the environment says by now."""
    buckets.client.cache_clear()
    yield
    buckets.client.cache_clear()


def put(bucket: Bucket, place: str, content: bytes) -> None:
    """Put an object below the prefix of a bucket."""
    buckets.client().put_object(Bucket=bucket.name, Key=f"{bucket.beginning}{place}", Body=content)
