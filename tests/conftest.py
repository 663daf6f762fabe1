"""What every test may ask for: a fresh migrated database, and peace from the developer's own environment."""

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.paths import Bucket
from src.marketing_messaging_service.settings import Settings
from tests import compiled_sql, object_stores, sets
from tests.effort import fewer_on_a_server, register_profiles
from tests.pipeline import Template
from tests.postgresql import TEMPLATE, Server, ServerTemplate, server_or_skip

register_profiles()
compiled_sql.share()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a server or is slow before pytest chooses by markers, and put what takes longest first."""
    for item in items:
        sets.mark(item, item.path.relative_to(Path(__file__).parent).parts[0])
    items.sort(key=sets.turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sets.ByUnit | None:
    """Keep tests in one worker that share what is costly to make, unless another distribution is asked for."""
    return sets.ByUnit(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Refuse a server in every test, its fixtures included, that is not marked as one that needs it."""
    refusing = nullcontext() if item.get_closest_marker("server") else sets.refused_servers()
    with refusing, fewer_on_a_server(item):
        return (yield)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run the test in an empty folder without a `.env`, with none of the settings in the environment."""
    known = {name.upper() for name in Settings.model_fields}
    for name in [name for name in os.environ if name.upper() in known]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def migrated_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at the newest revision, to be copied and never written to."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    upgrade_to_head(f"sqlite:///{path}")
    return path


@pytest.fixture
def database_url(migrated_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh migrated database file."""
    path = tmp_path / "test.db"
    shutil.copyfile(migrated_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh migrated database."""
    engine = create_database_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server of the tests' own."""
    yield from server_or_skip()


@pytest.fixture(scope="session")
def postgresql_template(postgresql: Server) -> str:
    """An empty PostgreSQL database at the newest revision, to be copied and never written to."""
    postgresql.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
    upgrade_to_head(postgresql.url_of(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The endpoint of an object store of the tests' own."""
    yield from object_stores.served()


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket with a prefix, which the environment says how to reach."""
    yield from object_stores.new_bucket(object_store, monkeypatch)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def url_of_each(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh migrated database, of each kind in turn."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("database_url"))
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database(request.getfixturevalue("postgresql_template"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.server, pytest.mark.slow])])
def template(request: pytest.FixtureRequest) -> Template:
    """A migrated database to be copied, of each kind in turn; of the second one only where tests are thorough."""
    if request.param == "sqlite":
        return Path(request.getfixturevalue("migrated_template"))
    return ServerTemplate(request.getfixturevalue("postgresql"), request.getfixturevalue("postgresql_template"))
