"""NUL characters on their way to a database that holds none, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.moving_databases.nul import MARK, escaped, unescaped
from tests.effort import examples


@examples(300)
@given(st.text(st.sampled_from(["\0", MARK, "0", "1", "a"])))
def test_any_text_comes_back_as_it_was_and_holds_no_nul_meanwhile(text: str) -> None:
    assert "\0" not in escaped(text)
    assert unescaped(escaped(text)) == text


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("plain", "plain"),
        ("a\0b", f"a{MARK}0b"),
        (f"\0{MARK}", f"{MARK}0{MARK}{MARK}"),
        (f"only {MARK} itself", f"only {MARK} itself"),
        (f"as if {MARK}0", f"as if {MARK}{MARK}0"),
    ],
)
def test_only_a_text_with_a_nul_or_one_that_looks_so_is_changed(text: str, held: str) -> None:
    assert escaped(text) == held


@pytest.mark.parametrize("value", [None, 7, 1.5, b"\0"])
def test_what_is_no_text_is_left_alone(value: object) -> None:
    assert escaped(value) is value
    assert unescaped(value) is value
