"""Raw files in a bucket: found, distinguished and read like those in a folder."""

import hashlib
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from botocore.exceptions import ResponseStreamingError

from src.marketing_messaging_service.earlier_runs import KnownFile, KnownFiles
from src.marketing_messaging_service.errors import LandingError
from src.marketing_messaging_service.infrastructure import buckets
from src.marketing_messaging_service.paths import Bucket, place_of
from src.marketing_messaging_service.staging import discover, landing, stage_file
from src.marketing_messaging_service.staging.results import Discovery, LandingFile
from tests.object_stores import another_client, put
from tests.staging.helpers import line

EVENT = line() + b"\n"
NOTHING_KNOWN = KnownFiles()


def found(bucket: Bucket, known: KnownFiles = NOTHING_KNOWN) -> Discovery:
    return discover(bucket, known, settle_seconds=60)


def known_as(file: LandingFile) -> KnownFiles:
    return KnownFiles((KnownFile(file.display_path, file.content_hash, file.size_bytes, file.file_signature),))


def test_an_object_is_found_with_its_key_below_the_prefix_and_its_hash_and_read_at_once(bucket: Bucket) -> None:
    put(bucket, "2026/11/events.jsonl", EVENT)
    put(Bucket(bucket.name, "events/hourly-2"), "another prefix.jsonl", EVENT)

    [file] = found(bucket).new_files

    assert file.display_path == "2026/11/events.jsonl"
    assert file.content_hash == hashlib.sha256(EVENT).hexdigest()
    assert file.size_bytes == len(EVENT)
    with closing(stage_file(file)) as staged:
        assert staged.valid_count == 1


def test_an_object_that_was_taken_is_not_read_again(bucket: Bucket) -> None:
    put(bucket, "a.jsonl", EVENT)
    [file] = found(bucket).new_files
    with patch.object(buckets, "open_object", side_effect=AssertionError):
        discovery = found(bucket, known_as(file))
    assert (discovery.new_files, discovery.known_count) == ((), 1)


def test_the_same_content_under_another_key_is_taken_once(bucket: Bucket) -> None:
    put(bucket, "a.jsonl", EVENT)
    put(bucket, "b.jsonl", EVENT)
    discovery = found(bucket)
    assert [file.display_path for file in discovery.new_files] == ["a.jsonl"]
    assert discovery.known_count == 1


def test_what_went_on_growing_is_known_to_begin_with_what_was_taken(bucket: Bucket) -> None:
    put(bucket, "a.jsonl", EVENT)
    [first] = found(bucket).new_files
    put(bucket, "a.jsonl", EVENT + line(message_id='"m-2"') + b"\n")
    [grown] = found(bucket, known_as(first)).new_files
    assert grown.grown_from == (first.content_hash,)


def test_an_object_that_changes_between_listing_and_reading_is_noticed_and_left_for_the_next_run(
    bucket: Bucket,
) -> None:
    put(bucket, "a.jsonl", EVENT)
    [file] = found(bucket).new_files
    put(bucket, "a.jsonl", line(message_id='"m-2"') + b"\n")
    with pytest.raises(LandingError, match=r"a\.jsonl cannot be read: it has changed since it was listed"):
        stage_file(file)


def test_an_object_that_is_gone_before_it_is_read_is_a_problem_that_costs_the_others_nothing(bucket: Bucket) -> None:
    put(bucket, "a.jsonl", EVENT)
    put(bucket, "b.jsonl", line(message_id='"m-2"') + b"\n")
    opened = buckets.open_object

    def gone(where: Bucket, key: str, etag: str):
        return opened(where, key.replace("a.jsonl", "gone.jsonl"), etag)

    with patch.object(buckets, "open_object", gone):
        discovery = found(bucket)
    assert [file.display_path for file in discovery.new_files] == ["b.jsonl"]
    [problem] = discovery.problems
    assert problem.display_path == "a.jsonl"
    assert problem.explanation.startswith("cannot be read: it is gone")


def test_names_that_begin_with_an_underscore_or_a_dot_are_passed_over_once_for_a_folder(bucket: Bucket) -> None:
    for place in ("_temporary/0/a.jsonl", "_temporary/1/b.jsonl", "day/.hidden.jsonl", "day/", "day/c.jsonl"):
        put(bucket, place, EVENT)
    discovery = found(bucket)
    assert [file.display_path for file in discovery.new_files] == ["day/c.jsonl"]
    [remark] = discovery.remarks
    assert remark.explanation == ""
    assert (remark.file_count, remark.subject) == (2, "_temporary, day/.hidden.jsonl")


def test_an_object_with_an_ending_that_no_source_names_is_reported(bucket: Bucket) -> None:
    put(bucket, "events.jsonl-backup.20261101.gz", EVENT)
    discovery = found(bucket)
    assert discovery.new_files == ()
    assert [problem.display_path for problem in discovery.problems] == ["events.jsonl-backup.20261101.gz"]


def test_more_objects_than_a_page_holds_are_all_found_and_a_long_look_says_how_far_it_is(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(buckets, "PAGE_SIZE", 3)
    for number in range(10):
        put(bucket, f"{number:04}.jsonl", line(message_id=f'"m-{number}"') + b"\n")
    told: list[str] = []
    discovery = discover(bucket, NOTHING_KNOWN, tell=told.append)
    assert len(discovery.new_files) == 10
    assert told[9] == f"Looking through {bucket}: 10 files seen so far."
    assert told[-1] == f"Looking through {bucket}: 10 of 10 new files read so far."


def test_a_bucket_that_does_not_exist_is_an_error_that_names_it(bucket: Bucket) -> None:
    with pytest.raises(LandingError, match=r"names s3://no-such-bucket/x, which cannot be listed: there is no such"):
        found(Bucket("no-such-bucket", "x"))


def test_without_credentials_the_sentence_says_where_they_are_looked_for(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with another_client(), pytest.raises(LandingError, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        found(bucket)


def test_a_store_that_does_not_answer_may_be_there_in_a_moment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with another_client(), pytest.raises(LandingError, match="the object store does not answer") as raised:
        found(bucket)
    assert raised.value.may_pass


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://bucket", Bucket("bucket")),
        ("s3://bucket/", Bucket("bucket")),
        ("S3://bucket/a/b/", Bucket("bucket", "a/b")),
        ("data/landing", Path("data/landing")),
    ],
)
def test_a_setting_names_a_folder_or_a_bucket(text: str, place: Path | Bucket) -> None:
    assert place_of(text) == place


def test_a_bucket_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="names no bucket"):
        place_of("s3:///prefix")


@pytest.mark.parametrize(
    "place",
    ["a b+c.jsonl", "ü/☂.jsonl", "100%/a&b=c.jsonl", "a//b.jsonl", "events/hourly/a.jsonl"],
)
def test_a_key_may_hold_whatever_s3_allows(bucket: Bucket, place: str) -> None:
    put(bucket, place, EVENT)
    [file] = found(bucket).new_files
    assert file.display_path == place
    with closing(stage_file(file)) as staged:
        assert staged.valid_count == 1


def test_a_store_may_write_its_tags_as_it_likes(bucket: Bucket) -> None:
    put(bucket, "a.jsonl", EVENT)
    put(bucket, "b.bak", EVENT)
    listed, opened = buckets.listed, buckets.open_object
    real = {each["Key"]: each["ETag"] for each in listed(bucket)}

    def tagged(where: Bucket):
        return ({**each, "ETag": 'W/"a:b:c"'} for each in listed(where))

    with (
        patch.object(buckets, "listed", tagged),
        patch.object(buckets, "open_object", lambda where, key, _: opened(where, key, real[key])),
    ):
        [file] = found(bucket).new_files
        discovery = found(bucket, known_as(file))
    assert (discovery.new_files, discovery.known_count) == ((), 2)


def test_an_object_that_stops_coming_midway_costs_the_others_nothing_and_may_pass(bucket: Bucket) -> None:
    put(bucket, "a.jsonl", EVENT * 3)
    [file] = found(bucket).new_files
    body = Mock(read=Mock(side_effect=[EVENT, ResponseStreamingError(error="cut")]))
    with (
        patch.object(buckets.client(), "get_object", return_value={"Body": body}),
        pytest.raises(LandingError, match="the object store does not answer") as raised,
    ):
        stage_file(file)
    assert raised.value.may_pass
    body.close.assert_called_once()
