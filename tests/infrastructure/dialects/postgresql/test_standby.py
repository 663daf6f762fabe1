"""A server that follows another one is read and checked, and not written to."""

import pytest
from sqlalchemy import make_url

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import create_database_engine, write_transaction
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.postgresql import Server


def test_on_a_standby_all_is_checked_but_the_schema_and_nothing_is_written(
    postgresql: Server, postgresql_template: str
) -> None:
    url = postgresql.new_database(postgresql_template)
    with postgresql.standby() as standby:
        url_there = standby.url_of(str(make_url(url).database))
        (finding,) = check_database(url_there, INVARIANTS).broken
        assert finding.invariant == "schema_as_made"
        assert finding.problem.startswith("a standby cannot create the tables to compare with")
        with (
            pytest.raises(DatabaseError, match="let DATABASE_URL name the primary server"),
            write_transaction(create_database_engine(url_there)),
        ):
            pass
    postgresql.drop(url)
