"""What a run can be given from outside, and how a mistake is answered."""

import re
from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import SettingsError
from src.marketing_messaging_service.infrastructure import schedulers
from src.marketing_messaging_service.infrastructure.database import shown_database, shown_url
from src.marketing_messaging_service.infrastructure.dialects.postgresql import url as postgresql_url
from src.marketing_messaging_service.infrastructure.schedulers import DaskScheduler
from src.marketing_messaging_service.settings import load_settings


def write_env_file(*lines: str) -> None:
    """Write `.env` into the current folder, which is the test's own."""
    Path(".env").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def error_of_load() -> str:
    """The sentence that load_settings ends in."""
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_without_environment_and_env_file_every_setting_has_its_default():
    settings = load_settings()
    assert settings.database_url == "sqlite:///./messaging.db"
    assert settings.landing_path == Path("data/landing")
    assert settings.landing_settle_seconds == 2
    assert settings.rules_path == Path("data/rules.yaml")
    assert settings.publish_path == Path("data/published")
    assert settings.reports_path == Path("data/reports")
    assert settings.dask is None
    assert settings.staged_path == Path("data/staged")
    assert settings.run_lock_timeout_seconds == 600


def test_every_setting_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///other.db")
    monkeypatch.setenv("LANDING_PATH", "incoming")
    monkeypatch.setenv("LANDING_SETTLE_SECONDS", "0")
    monkeypatch.setenv("RULES_PATH", "rules/mine.yaml")
    monkeypatch.setenv("PUBLISH_PATH", "out")
    monkeypatch.setenv("REPORTS_PATH", "told")
    monkeypatch.setenv("RUN_LOCK_TIMEOUT_SECONDS", "0")
    settings = load_settings()
    assert settings.database_url == "sqlite:///other.db"
    assert settings.landing_path == Path("incoming")
    assert settings.landing_settle_seconds == 0
    assert settings.rules_path == Path("rules/mine.yaml")
    assert settings.publish_path == Path("out")
    assert settings.reports_path == Path("told")
    assert settings.run_lock_timeout_seconds == 0


def test_env_file_is_read_as_dotenv_reads_it():
    write_env_file("# where files arrive", "", 'export LANDING_PATH="in coming"  # quoted', "RULES_PATH='mine.yaml'")
    settings = load_settings()
    assert settings.landing_path == Path("in coming")
    assert settings.rules_path == Path("mine.yaml")


def test_env_file_may_refer_to_the_environment(monkeypatch):
    monkeypatch.setenv("SHARE", "/mnt/share")
    write_env_file("LANDING_PATH=${SHARE}/landing")
    assert load_settings().landing_path == Path("/mnt/share/landing")


def test_environment_beats_env_file(monkeypatch):
    monkeypatch.setenv("LANDING_PATH", "from_environment")
    write_env_file("LANDING_PATH=from_file", "RULES_PATH=from_file")
    settings = load_settings()
    assert settings.landing_path == Path("from_environment")
    assert settings.rules_path == Path("from_file")


def test_an_empty_value_means_the_default(monkeypatch):
    monkeypatch.setenv("LANDING_PATH", "")
    write_env_file("RUN_LOCK_TIMEOUT_SECONDS=", "DATABASE_URL=''")
    settings = load_settings()
    assert settings.landing_path == Path("data/landing")
    assert settings.run_lock_timeout_seconds == 600
    assert settings.database_url == "sqlite:///./messaging.db"


def test_a_misspelt_name_in_env_file_is_an_error_that_suggests_the_right_one():
    write_env_file("LANDING_PAHT=incoming")
    assert error_of_load() == "LANDING_PAHT in .env is not a setting; did you mean LANDING_PATH?"


def test_a_name_in_env_file_that_is_like_no_setting_is_an_error_that_lists_them():
    write_env_file("COLOUR=red")
    message = error_of_load()
    assert message.startswith("COLOUR in .env is not a setting; known settings are DASK_SCHEDULER, DATABASE_URL, ")


def test_variables_of_prefect_in_env_file_are_left_to_prefect():
    write_env_file("PREFECT_API_URL=http://localhost:4200/api", "LANDING_PATH=incoming")
    assert load_settings().landing_path == Path("incoming")


@pytest.mark.parametrize(
    "line", ["LANDING_PATH", "LANDING_PATH: incoming", "=incoming", "postgresql://u:hunter2@h/d?a=b"]
)
def test_a_line_of_env_file_that_says_nothing_is_an_error_that_gives_its_number_and_not_its_text(line):
    write_env_file("RULES_PATH=mine.yaml", line)
    assert error_of_load() == "Line 2 of .env cannot be read; expected NAME=value."


def test_an_env_file_that_is_not_utf8_is_an_error():
    Path(".env").write_bytes(b"LANDING_PATH=caf\xe9\n")
    assert error_of_load() == ".env is not UTF-8 text; save it as UTF-8."


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("messaging.db", "is not a database URL"),
        ("sqlite:messaging.db", "is not a database URL"),
        ("mysql://localhost/db", "names a mysql database; only SQLite files (sqlite:///…) and PostgreSQL"),
        ("postgres://localhost/db", "names a postgres database; only SQLite files (sqlite:///…) and PostgreSQL"),
        ("postgresql://localhost/db", "asks for the driver psycopg2; expected postgresql+psycopg://…"),
        ("postgresql+asyncpg://localhost/db", "asks for the driver asyncpg; expected postgresql+psycopg://…"),
        ("postgresql+psycopg://localhost", "names no database; expected postgresql+psycopg://user@host/database"),
        (
            "postgresql+psycopg://localhost/db?options=-c",
            "has a parameter after the ? that is not supported; supported: host",
        ),
        ("sqlite+aiosqlite:///messaging.db", "asks for the driver aiosqlite"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:messaging.db", "names no file"),
        ("sqlite://messaging.db", "names more than a file"),
        ("sqlite://localhost/messaging.db", "names more than a file"),
        ("sqlite:///messaging.db?mode=memory&uri=true", "names more than a file"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_an_error_that_says_what_is_wrong(monkeypatch, url, expected):
    monkeypatch.setenv("DATABASE_URL", url)
    message = error_of_load()
    assert message.startswith(f"DATABASE_URL: {expected}")
    assert message.endswith("Correct it in the environment or in .env.")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:hunter2@localhost/db",
        "postgresql://ana:hunter2@localhost:port/db",
        "postgresql://ana:hunter2/db",
        "postgresql//ana:hunter2@localhost/db",
        "postgresql+psycopg://ana:hunter2@localhost",
        "postgresql+psycopg://ana@localhost/db?password=hunter2",
        "postgresql+psycopg://ana@localhost/db?hunter2=x",
        "sqlite://ana:hunter2@localhost/messaging.db",
        "sqlite://:hunter2@/messaging.db",
        "sqlite:///messaging.db?password=hunter2",
        "ana:hunter2",
    ],
)
def test_a_password_in_a_url_never_appears_in_the_error(monkeypatch, url):
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_postgresql_database_is_taken_and_shown_without_its_password(monkeypatch):
    pytest.importorskip("psycopg", reason="there is no PostgreSQL driver to test with")
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://ana:hunter2@db.example.org:5433/messages?sslmode=require")
    settings = load_settings()
    assert settings.database_path is None
    assert settings.places.copy_path == Path("data/published/messages.db")
    assert "hunter2" not in f"{settings!r} {settings}"
    for shown in (shown_database, shown_url):
        assert shown(settings.database_url) == "postgresql://ana@db.example.org:5433/messages"


def test_several_runs_write_at_the_same_time_on_a_server_alone(monkeypatch):
    monkeypatch.setenv("SEVERAL_WRITERS", "true")
    assert error_of_load() == (
        "SEVERAL_WRITERS: several runs can write at the same time only to a database on a server, and DATABASE_URL "
        "names a file. Let it name a PostgreSQL database (docs/scale.md), or leave SEVERAL_WRITERS out. Correct it in "
        "the environment or in .env."
    )
    pytest.importorskip("psycopg", reason="there is no PostgreSQL driver to test with")
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://localhost/messages")
    assert load_settings().several_writers


def test_shards_are_decided_at_once_only_where_several_runs_may_write(monkeypatch):
    pytest.importorskip("psycopg", reason="there is no PostgreSQL driver to test with")
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://localhost/messages")
    monkeypatch.setenv("DECIDE_SHARDS", "4")
    assert error_of_load() == (
        "DECIDE_SHARDS: several shards can be decided at once only where several runs may write. Set "
        "SEVERAL_WRITERS=true as well (docs/scale.md), or leave DECIDE_SHARDS out. Correct it in the environment or in "
        ".env."
    )
    monkeypatch.setenv("SEVERAL_WRITERS", "true")
    assert load_settings().decide_shards == 4
    for value, expected in (("0", "at least 1"), ("65", "at most 64"), ("two", "a whole number")):
        monkeypatch.setenv("DECIDE_SHARDS", value)
        assert error_of_load() == (
            f"DECIDE_SHARDS: expected {expected}, found {value}. Correct it in the environment or in .env."
        )


def test_a_postgresql_database_without_its_driver_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(postgresql_url, "find_spec", lambda _: None)
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://localhost/messages")
    assert error_of_load() == (
        "DATABASE_URL: names a PostgreSQL database, whose driver psycopg is not installed; `make postgresql` installs "
        "it, or `pip install -r requirements-postgresql.lock`. Correct it in the environment or in .env."
    )


def test_a_database_whose_name_was_taken_as_written_before_is_not_passed_over_for_a_new_one(monkeypatch):
    Path("a%20b.db").touch()
    monkeypatch.setenv("DATABASE_URL", "sqlite:///a%20b.db")
    assert error_of_load() == (
        "DATABASE_URL: means the file a b.db, which does not exist, while a%20b.db does; write %25 for each % of it. "
        "Correct it in the environment or in .env."
    )
    monkeypatch.setenv("DATABASE_URL", "sqlite:///a%2520b.db")
    assert load_settings().database_path == Path("a%20b.db")


@pytest.mark.parametrize("name", ["RUN_LOCK_TIMEOUT_SECONDS", "LANDING_SETTLE_SECONDS"])
@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "86401"])
def test_wrong_seconds_are_an_error_that_names_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert re.fullmatch(rf"{name}: expected (a whole number|at (least|most) \d+), found {value}\. .*", error_of_load())


def test_a_switch_that_is_neither_on_nor_off_is_an_error_that_names_the_variable(monkeypatch):
    monkeypatch.setenv("MIGRATION_COPY", "perhaps")
    assert error_of_load().startswith("MIGRATION_COPY: expected true or false, found perhaps. ")


def test_every_malformed_setting_is_named_at_once(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "messaging.db")
    write_env_file("RUN_LOCK_TIMEOUT_SECONDS=soon")
    message = error_of_load()
    assert "DATABASE_URL: " in message
    assert "RUN_LOCK_TIMEOUT_SECONDS: " in message


@pytest.fixture
def dask_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedulers, "find_spec", lambda name: name)


@pytest.mark.parametrize(
    ("text", "scheduler"),
    [
        ("tcp://127.0.0.1:8786", DaskScheduler(address="tcp://127.0.0.1:8786")),
        ("tcp://dask.example:8786/", DaskScheduler(address="tcp://dask.example:8786")),
        ("tcp://[::1]:8786", DaskScheduler(address="tcp://[::1]:8786")),
        ("local:2", DaskScheduler(worker_count=2)),
    ],
)
def test_a_dask_scheduler_is_an_address_or_a_number_of_workers(monkeypatch, dask_installed, text, scheduler):
    monkeypatch.setenv("DASK_SCHEDULER", text)
    assert load_settings().dask == scheduler


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8786", "tcp://host", "tcp://host:0", "tcp://host:65536", "tcp://a:b@host:1", "local", "local:x"]
)
def test_what_names_no_dask_scheduler_is_an_error_that_says_what_would(monkeypatch, dask_installed, text):
    monkeypatch.setenv("DASK_SCHEDULER", text)
    assert error_of_load() == (
        "DASK_SCHEDULER: names no Dask scheduler; expected tcp://host:port, the address of a scheduler, or local:2 for "
        "two workers on this machine. Correct it in the environment or in .env."
    )


@pytest.mark.parametrize("count", ["0", "65", "999"])
def test_a_number_of_workers_that_no_machine_has_is_an_error(monkeypatch, dask_installed, count):
    monkeypatch.setenv("DASK_SCHEDULER", f"local:{count}")
    assert error_of_load().startswith(
        f"DASK_SCHEDULER: {count} workers cannot be started on this machine; name 1 to 64."
    )


def test_a_dask_scheduler_without_its_packages_says_how_to_install_them(monkeypatch):
    monkeypatch.setattr(schedulers, "find_spec", lambda name: None)
    monkeypatch.setenv("DASK_SCHEDULER", "local:2")
    message = error_of_load()
    assert "`make dask`" in message
    assert "requirements-dask.lock" in message


def test_staged_rows_lie_in_no_bucket(monkeypatch):
    monkeypatch.setenv("STAGED_PATH", "s3://bucket/staged")
    assert error_of_load().startswith("STAGED_PATH: names a bucket; name a folder")


def test_database_path_is_the_file_that_the_url_names(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:////srv/data/messaging.db")
    assert load_settings().database_path == Path("/srv/data/messaging.db")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///./messaging.db")
    assert load_settings().database_path == Path("messaging.db")


def test_keys_of_deliveries_are_separated_by_commas(monkeypatch):
    assert load_settings().more_delivery_keys == frozenset()
    monkeypatch.setenv("DELIVERY_KEYS", " batch_id, ,attempt,")
    assert load_settings().more_delivery_keys == {"batch_id", "attempt"}
