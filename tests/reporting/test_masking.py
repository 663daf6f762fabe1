"""No address survives, however it is written."""

import pytest

from src.marketing_messaging_service.reporting.masking import MASK, masked


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "Ada.Lovelace+news@mail.example.co.uk",
        "ada@localhost",
        r"ada\u0040example.com",
        "ada%40example.com",
        "ada＠example.com",
        "дарья@пример.рф",
        "o'brien@example.com",
    ],
)
def test_an_address_is_masked_wherever_it_is(address: str) -> None:
    for around in ('{{"email": "{}", "n": 1}}', "{}", "<{}>", "mailto:{}", "user_traits.email is '{}'.", "a,{};b"):
        shown = masked(around.format(address))
        assert MASK in shown
        assert not any(part in shown for part in ("example", "пример", "ada", "дарья", "brien", "localhost"))


def test_the_rest_of_a_line_stays() -> None:
    assert masked('{"email": "ada@example.com", "country": "FR"}') == f'{{"email": "{MASK}", "country": "FR"}}'
    assert masked('{"a": "no address @ all", "b": "@handle"}') == '{"a": "no address @ all", "b": "@handle"}'
