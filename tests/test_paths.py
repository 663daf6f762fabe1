"""Nothing of ours is written over, or read as, anything else of ours, by whatever name it is reached."""

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import SettingsError
from src.marketing_messaging_service.paths import Bucket, Places, refuse_overlaps
from src.marketing_messaging_service.settings import Settings, load_settings


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Places that are apart from each other; the database and the folder of raw files exist."""
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "messaging.db").touch()
    (tmp_path / "landing").mkdir()
    return Places(
        database=tmp_path / "live" / "messaging.db",
        landing=tmp_path / "landing",
        sources=tmp_path / "sources.yaml",
        rules=tmp_path / "rules.yaml",
        publish=tmp_path / "published",
        reports=tmp_path / "reports",
        staged=tmp_path / "staged",
    )


def refusal(places: Places) -> str:
    """The sentence that places are refused with."""
    with pytest.raises(SettingsError) as caught:
        refuse_overlaps(places)
    return str(caught.value)


def test_places_that_are_apart_are_taken(places):
    refuse_overlaps(places)


def test_reports_may_lie_beside_the_published_files_or_the_database(places):
    refuse_overlaps(replace(places, reports=places.publish))
    refuse_overlaps(replace(places, reports=places.database.parent))


def test_raw_files_may_lie_in_a_folder_within_any_other(places):
    refuse_overlaps(replace(places, landing=places.publish / "landing"))
    refuse_overlaps(replace(places, landing=places.database.parent / "landing"))


def test_publishing_over_the_database_is_refused_and_says_what_to_do(places):
    folder = places.database.parent
    assert refusal(replace(places, publish=folder)) == (
        f"PUBLISH_PATH names {folder}, where the published copy would take the place of the database itself, "
        f"{places.database}; let PUBLISH_PATH name another folder. Nothing was written."
    )


def test_publishing_over_the_database_by_way_of_a_link_is_refused(places, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(places.database.parent)
    assert "take the place of the database itself" in refusal(replace(places, publish=link))
    assert "take the place of the database itself" in refusal(replace(places, publish=link / ".." / "live"))


def test_publishing_over_the_link_that_names_the_database_is_refused(places, tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "messaging.db").symlink_to(places.database)
    by_link = replace(places, database=folder / "messaging.db")
    assert "take the place of the database itself" in refusal(replace(by_link, publish=folder))
    assert "take the place of the database itself" in refusal(replace(by_link, publish=places.database.parent))
    assert "take the place of the database itself" in refusal(replace(places, publish=folder))


def test_publishing_over_another_name_of_the_same_file_is_refused(places):
    places.publish.mkdir()
    (places.publish / "messaging.db").hardlink_to(places.database)
    assert "take the place of the database itself" in refusal(places)


def test_publishing_beside_another_link_to_the_databases_folder_is_taken(places, tmp_path):
    places.publish.mkdir()
    (places.publish / "live").symlink_to(places.database.parent)
    refuse_overlaps(places)


@pytest.mark.parametrize("inside", ["", "out", "a/b"])
@pytest.mark.parametrize(
    ("name", "field", "file"),
    [
        ("PUBLISH_PATH", "publish", ""),
        ("REPORTS_PATH", "reports", ""),
        ("STAGED_PATH", "staged", ""),
        ("DATABASE_URL", "database", "x.db"),
    ],
)
def test_nothing_of_ours_is_written_among_raw_files(places, name, field, file, inside):
    path = places.landing / inside / file
    assert refusal(replace(places, **{field: path})) == (
        f"{name} names {path}, which is in {places.landing}, the folder of raw files (LANDING_PATH): what is written "
        f"there would be taken for raw files; let {name} name a place outside it. Nothing was written."
    )


def test_the_folder_of_raw_files_is_known_by_any_link_and_by_the_parameter_that_named_it(places, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(places.landing)
    message = refusal(replace(places, publish=link / "out", landing_name="source"))
    assert message.startswith(f"PUBLISH_PATH names {link}/out, which is in {places.landing}, the folder of raw files")
    assert "(source)" in message
    assert "is in" in refusal(replace(places, landing=link, publish=places.landing / "out"))


def test_temporary_files_are_not_kept_among_raw_files(places, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(places.landing))
    assert refusal(places).startswith(f"TMPDIR names {places.landing}, which is in {places.landing}, the folder of")
    monkeypatch.setenv("TMPDIR", str(places.landing.parent))
    refuse_overlaps(places)


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal", ".lock", ".before-migration"])
@pytest.mark.parametrize(
    ("name", "field"),
    [("RULES_PATH", "rules"), ("REPORTS_PATH", "reports"), ("STAGED_PATH", "staged"), ("LANDING_PATH", "landing")],
)
def test_nothing_else_is_the_database_or_a_file_that_belongs_to_it(places, name, field, ending):
    message = refusal(replace(places, **{field: places.database.with_name(f"messaging.db{ending}")}))
    assert message.endswith(f"let {name} name another one. Nothing was written.")


@pytest.mark.parametrize("file", ["events.parquet", "messaging.db", "messaging.db.lock"])
def test_published_files_are_not_written_over_the_rules(places, file):
    message = refusal(replace(places, rules=places.publish / file))
    assert message.startswith(f"PUBLISH_PATH names {places.publish}, where {places.publish}/{file} (RULES_PATH) is")


def test_reports_are_not_written_over_the_rules_or_the_database(places):
    assert "(RULES_PATH) is" in refusal(replace(places, rules=places.reports / "rules.html"))
    assert "(DATABASE_URL) is" in refusal(replace(places, database=places.reports / "messaging.html"))


def test_staged_rows_are_not_written_over_the_database(places):
    assert "(DATABASE_URL) is" in refusal(replace(places, database=places.staged / "messaging.arrow"))


def test_links_that_go_round_in_a_circle_are_left_to_whoever_opens_them(places, tmp_path):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    refuse_overlaps(replace(places, rules=tmp_path / "round"))


def test_a_database_with_a_nul_in_its_name_is_reported(places):
    assert refusal(replace(places, database=Path("a\0b.db"))).startswith("DATABASE_URL holds a NUL character")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_a_database_that_is_not_a_file_is_reported(places, tmp_path, make):
    make(tmp_path / "messages")
    message = refusal(replace(places, database=tmp_path / "messages"))
    assert message.startswith(f"DATABASE_URL names {tmp_path / 'messages'}, which is a folder or a device, not a file")


@pytest.mark.parametrize(("name", "field"), [("publish_path", "publish"), ("source", "landing")])
def test_a_path_with_a_nul_is_reported_by_the_parameter_that_holds_it(places, name, field):
    message = refusal(replace(places, **{field: Path("a\0b"), f"{field}_name": name}))
    assert message == f"{name} holds a NUL character, which no path can; correct it. Nothing was written."


def test_every_path_of_the_settings_is_looked_at():
    paths = {name.removesuffix("_path") for name in Settings.model_fields if name.endswith("_path")}
    assert paths | {"database"} == {field.name for field in fields(Places) if not field.name.endswith("_name")}


def test_settings_that_lie_over_each_other_are_refused_when_they_are_read(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/messaging.db")
    monkeypatch.setenv("PUBLISH_PATH", ".")
    with pytest.raises(SettingsError, match=r"PUBLISH_PATH names \., where the published copy would take the place"):
        load_settings()


def test_the_settings_as_they_come_lie_apart():
    load_settings()


def test_a_database_of_a_server_lies_in_no_place(places):
    of_a_server = replace(places, database=None, copy_name="messages.db")
    refuse_overlaps(of_a_server)
    refuse_overlaps(replace(of_a_server, publish=places.database.parent))
    assert "PUBLISH_PATH names" in refusal(replace(of_a_server, publish=places.landing))
    rules = of_a_server.publish / "messages.db"
    assert "files with such names are written there" in refusal(replace(of_a_server, rules=rules))


@pytest.mark.parametrize(
    ("landing", "publish", "is_refused"),
    [
        (Bucket("b", "in"), Bucket("b", "in/out"), True),
        (Bucket("b"), Bucket("b", "out"), True),
        (Bucket("b", "in"), Bucket("b", "in"), True),
        (Bucket("b", "in"), Bucket("b", "input"), False),
        (Bucket("b", "in"), Bucket("c", "in"), False),
    ],
)
def test_what_is_published_may_not_lie_in_the_bucket_among_the_raw_files(places, landing, publish, is_refused):
    places = replace(places, landing=landing, publish=publish)
    if is_refused:
        assert "is in" in refusal(places)
    else:
        refuse_overlaps(places)
