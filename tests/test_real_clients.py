"""What a client of Segment posts is taken and decided as it comes, with no line of ours between the two."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from segment.analytics.client import Client

from src.marketing_messaging_service.loading.results import LoadResult
from src.marketing_messaging_service.staging.sources.file import parse_sources
from tests.pipeline import Pipeline
from tests.self_check.databases import rule

pytestmark = pytest.mark.server

SEGMENT = parse_sources("sources:\n  - {files: 'segment-logs/**', mapping: segment}\n", "sources.yaml")

RULES = {
    "rules": [
        rule("welcome", "Signed Up", {"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}),
        rule("order", "Order Completed", {"field": "properties.amount", "operator": "gte", "value": 10}),
    ]
}

USERS = 30
CALLS = 9
"""Calls of one user, one of them without a user id."""


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    pipeline = Pipeline(tmp_path, migrated_template)
    pipeline.sources = SEGMENT
    return pipeline


@pytest.fixture
def sink(pipeline: Pipeline) -> Iterator[str]:
    """The address of a server that writes each body that is posted to it into landing, byte for byte."""
    folder = pipeline.landing / "segment-logs" / "source" / "day"
    folder.mkdir(parents=True)

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / f"{len(list(folder.iterdir()))}.0f3a9c").write_bytes(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    # One after the other, so that each file has a number of its own.
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def post_calls(address: str, *, is_packed: bool) -> None:
    """Let the client post every kind of call for each user, in batches of its own making."""
    client = Client("key", host=address, gzip=is_packed, upload_size=50)
    for number in range(USERS):
        user, at = f"u{number}", datetime(2026, 11, 22, 8, tzinfo=UTC) + timedelta(minutes=number)
        traits = {"email": f"{user}@example.com", "marketing_opt_in": number % 2 == 0}
        client.identify(user, traits, timestamp=at)
        client.track(user, "Signed Up", {"plan": "pro"}, context={"traits": traits}, timestamp=at)
        client.track(user, "Order Completed", {"amount": number, "currency": "EUR"}, timestamp=at)
        client.track(anonymous_id=f"a{number}", event="Product Viewed", timestamp=at)
        client.page(user, "Docs", "Home", {"path": "/"}, timestamp=at)
        client.screen(user, "App", "Start", {}, timestamp=at)
        client.group(user, f"g{number}", {"country": "no country of the user"}, timestamp=at)
        client.alias(f"a{number}", user, timestamp=at)
        client.track(user, "Zwölf € 🙂", {"note": 'a "quoted"\nword', "nested": {"amount": 1}}, timestamp=at)
    client.shutdown()


@pytest.mark.parametrize("is_packed", [False, True])
def test_what_the_client_posts_is_taken_and_decided(pipeline: Pipeline, sink: str, is_packed: bool) -> None:
    post_calls(sink, is_packed=is_packed)

    loads = pipeline.do(pipeline.options(), RULES)

    assert len(loads) >= USERS * CALLS // 50
    counts = [
        (load.read_count, load.inserted_count, load.rejected_count) for load in loads if isinstance(load, LoadResult)
    ]
    assert tuple(map(sum, zip(*counts, strict=True))) == (USERS * CALLS, USERS * (CALLS - 1), USERS)
    assert pipeline.rows("SELECT DISTINCT reason_code FROM rejected_rows") == [("anonymous_user",)]
    assert pipeline.rows("SELECT event_type, count(*) FROM events GROUP BY event_type ORDER BY event_type") == [
        (name, USERS)
        for name in sorted(
            ["Order Completed", "Signed Up", "Zwölf € 🙂", "alias", "group", "identify", "page", "screen"]
        )
    ]
    assert pipeline.rows("SELECT count(*), count(country) FROM user_traits") == [(2 * USERS, 0)]
    assert pipeline.rows("SELECT template_name, count(*) FROM send_requests GROUP BY template_name") == [
        ("ORDER", USERS - 10),
        ("WELCOME", USERS // 2),
    ]


def test_what_is_posted_again_is_no_other_event(pipeline: Pipeline, sink: str) -> None:
    post_calls(sink, is_packed=False)
    pipeline.do(pipeline.options(), RULES)
    first, *_ = sorted(pipeline.landing.rglob("*.0f3a9c"))
    (first.parent / "again.0f3a9c").write_bytes(first.read_bytes().replace(b'"sentAt": "2', b'"sentAt": "3'))

    (load,) = pipeline.do(pipeline.options(), RULES)

    assert isinstance(load, LoadResult)
    assert (load.inserted_count, load.conflict_count, load.collision_count) == (0, 0, 0)
    assert load.duplicate_count + load.rejected_count == load.read_count
