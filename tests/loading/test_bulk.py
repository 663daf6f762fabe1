"""Rows on their way to the driver."""

import pytest
from sqlalchemy import insert

from src.marketing_messaging_service.infrastructure.bulk import bulk_insert
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.models import UserTraits
from tests.loading.raw_files import raw, rows


def test_no_rows_insert_no_row_of_defaults(engine):
    with write_transaction(engine) as connection:
        assert bulk_insert(connection, insert(UserTraits), {"event_id": [], "country": []}) == 0
    assert rows(engine, "SELECT * FROM user_traits") == []


def test_rows_given_as_columns_go_in_and_are_counted(engine, load):
    load("a.jsonl", raw("m1"), raw("m2"))
    with write_transaction(engine) as connection:
        assert bulk_insert(connection, insert(UserTraits), {"country": ["NO", None], "event_id": [2, 1]}) == 2
    assert rows(engine, "SELECT event_id, country FROM user_traits ORDER BY id") == [(2, "NO"), (1, None)]


def test_columns_of_unequal_length_are_an_error_not_a_loss(engine):
    with write_transaction(engine) as connection, pytest.raises(ValueError, match="differ in length"):
        bulk_insert(connection, insert(UserTraits), {"event_id": [1, 2], "country": ["NO"]})
