"""The database through the models; the pipeline itself loads and decides through Core."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from src.marketing_messaging_service.infrastructure.database import create_database_engine, foreseeable_errors
from src.marketing_messaging_service.settings import load_settings


@contextmanager
def create_session(engine: Engine | None = None) -> Iterator[Session]:
    """Yield an ORM session in one transaction, on the configured database unless an engine is given."""
    session = Session(engine or create_database_engine(load_settings().database_url))
    with foreseeable_errors(), session, session.begin():
        yield session
