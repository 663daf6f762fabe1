"""Reading rules.yaml from disk: whatever it contains, the result is rules or one RulesError that says what is wrong."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.decisions import RulesFile, read_rules, read_settled_rules
from src.marketing_messaging_service.decisions.conditions import parts_of
from src.marketing_messaging_service.errors import RulesError
from tests import strategies
from tests.decisions.helpers import refusal, rule, with_value
from tests.effort import examples

SHIPPED = Path(__file__).parents[2] / "data" / "rules.yaml"
SHIPPED_TEXT = SHIPPED.read_text(encoding="utf-8")


@pytest.fixture
def rules_path(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def test_a_file_is_named_by_the_hash_of_its_bytes_and_keeps_its_text():
    found = read_rules(SHIPPED)

    assert found.content_hash == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert found.yaml_text == SHIPPED_TEXT


def test_the_rules_that_decide_are_the_enabled_ones_in_the_order_of_the_file(rules_path):
    rules = [rule("b"), rule("off", enabled=False), rule("a", enabled=True)]
    rules_path.write_text(json.dumps({"rules": rules}), encoding="utf-8")

    found = read_rules(rules_path)
    assert [rule.name for rule in found.rules] == ["b", "off", "a"]
    assert [rule.name for rule in found.enabled_rules] == ["b", "a"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SHIPPED.read_bytes(),
        SHIPPED.read_bytes().replace(b"\n", b"\r\n"),
        SHIPPED.read_bytes().rstrip(b"\n"),
        b"---\n" + SHIPPED.read_bytes() + b"...\n",
        b"%YAML 1.2\n---\n" + SHIPPED.read_bytes(),
    ],
    ids=["byte order mark", "CRLF", "no line end", "document markers", "directive"],
)
def test_the_ways_in_which_editors_save_a_file_make_no_difference(rules_path, content):
    rules_path.write_bytes(content)

    assert read_rules(rules_path).rules == read_rules(SHIPPED).rules


def test_a_file_without_rules_decides_nothing(rules_path):
    rules_path.write_text("rules: []", encoding="utf-8")

    assert read_rules(rules_path).rules == ()


def test_words_like_yes_and_no_are_text_as_in_yaml_1_2(rules_path):
    rules_path.write_text(SHIPPED_TEXT.replace("value: INSUFFICIENT_FUNDS", "value: no"), encoding="utf-8")

    [condition] = parts_of(read_rules(rules_path).rules[2].conditions)
    assert condition.model_dump()["value"] == "no"


def test_a_missing_file_is_reported_by_the_setting_that_names_it(rules_path):
    with pytest.raises(RulesError) as caught:
        read_rules(rules_path)
    assert str(caught.value) == (f"RULES_PATH names {rules_path}, which cannot be read: No such file or directory.")


def test_a_folder_is_reported_by_the_setting_that_names_it(tmp_path):
    with pytest.raises(RulesError, match="cannot be read: Is a directory"):
        read_rules(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_reported_by_the_setting_that_names_it(rules_path):
    rules_path.touch(mode=0o000)

    with pytest.raises(RulesError, match="cannot be read: Permission denied"):
        read_rules(rules_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", " cannot be used; nothing was decided.\n  the file: expected keys with values, found nothing."),
        ("# only a comment\n", "the file: expected keys with values, found nothing."),
        ("~", "the file: expected keys with values, found nothing."),
        ("rules", "the file: expected keys with values, found 'rules'."),
        ("[]", "the file: expected keys with values, found []."),
        ("{}", "key rules: the key is required and is missing."),
        ("rules:", "key rules: expected a list, found nothing (line 1)."),
        ("rules: {}", "key rules: expected a list, found {} (line 1)."),
        (
            "rules: []\nversion: 1",
            "key version: unknown key; expected one of timezone, wait_for_data, holdout, blocks, limits, rules, "
            "found 'version' (line 2).",
        ),
        ("rules: []\n1: 2", "key 1: expected a key that is text, found 1."),
        ("rules: []\n---\nrules: []", ", line 2: not valid YAML for a rules file: --- begins a second document"),
        ("rules: []\nrules: []", ", line 2: not valid YAML for a rules file: the key rules is written twice."),
        (
            SHIPPED_TEXT.replace("    enabled: true\n", "    enabled: true\n    enabled: false\n", 1),
            ", line 12: not valid YAML for a rules file: the key enabled is written twice.",
        ),
        (
            "rules: &all []\nmore: *all",
            ", line 2: not valid YAML for a rules file: the alias *all is not supported; write the value out.",
        ),
        ("rules: &all [*all]", ", line 1: not valid YAML for a rules file: the alias *all is not supported"),
        (
            "!!python/object/apply:os.system ['echo']",
            ", line 1: not valid YAML for a rules file: the tag tag:yaml.org,2002:python/object/apply:os.system is not "
            "supported; write a plain value.",
        ),
        ("rules: !!set {a, b}", "the tag tag:yaml.org,2002:set is not supported"),
        ("rules: !!int ''", "the tag tag:yaml.org,2002:int is not supported"),
        ("rules: !mine []", "the tag !mine is not supported"),
        ("rules: []\0", ": not valid YAML for a rules file: unacceptable character #x0000"),
        (
            "rules:\n\t- name: x",
            ", line 2: not valid YAML for a rules file: there is a tab; indent with blanks",
        ),
        ("rules: @x", ", line 1: not valid YAML for a rules file: a value cannot begin with @; put it in quotes."),
        (
            "rules:\n  - a: 1\n   b: 2",
            "line 3: not valid YAML for a rules file: this line does not fit the lines above",
        ),
        ("rules: a: b", ", line 1: not valid YAML for a rules file: a colon where none can be; check the indentation"),
        ("rules:\n  - {a: b\n    c: d", "the bracket opened in line 2 is not closed, or a comma is missing."),
        ("rules: []\nlimits\n", "the key in line 2 has no colon after it."),
        ("rules: [", ", line 1: not valid YAML for a rules file: "),
        ("rules: ]", ", line 1: not valid YAML for a rules file: "),
        ("rules: 'open", ", line 1: not valid YAML for a rules file: the quote opened in line 1 is not closed."),
        ("rules: [2026-13-45]", "rule number 1: expected keys with values, found 2026-13-45 (line 1)."),
        ("rules: [2026-01-05]", "rule number 1: expected keys with values, found 2026-01-05 (line 1)."),
        ("rules: [2026-01-05T10:00:00Z]", "expected keys with values, found 2026-01-05T10:00:00Z (line 1)."),
        ("rules: [+_]", ": not valid YAML for a rules file: invalid literal for int()"),
        ("rules: [" + "1" * 5000 + "]", ": not valid YAML for a rules file: Exceeds the limit"),
        ("rules: [0x" + "f" * 5000 + "]", "expected keys with values, found a number too long to show (line 1)."),
        ('"\\ud800": 1', "found '\\ud800'."),
        ('"\\ud800": 1\n"\\ud800": 1', "the key '\\ud800' is written twice"),
        ("%YAML 3.0\n---\nrules: []", "found incompatible YAML document"),
    ],
)
def test_a_file_that_is_not_a_list_of_rules_is_refused(tmp_path, content, told):
    message = refusal(tmp_path, content)

    assert told in message
    assert message.replace("\n", "").isprintable()


@pytest.mark.parametrize("content", [b"rules: \xff", SHIPPED_TEXT.encode("utf-16"), b"name: caf\xe9"])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path, content):
    assert refusal(tmp_path, content) == " is not UTF-8 text; save it as UTF-8."


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        "rules: " + "[" * 100_000 + "]" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "? " * 100_000,
        "".join(" " * depth + "a:\n" for depth in range(600)),
    ],
    ids=["open brackets", "closed brackets", "braces", "dashes", "questions", "indentation"],
)
def test_deep_nesting_is_refused_at_once(tmp_path, content):
    started = time.monotonic()
    assert "nested more than 40 levels deep" in refusal(tmp_path, content)
    assert time.monotonic() - started < 5


def test_a_file_larger_than_any_rules_file_is_refused_without_being_looked_at(tmp_path):
    content = SHIPPED_TEXT + "#" * 262_144

    assert refusal(tmp_path, content) == " is larger than 262144 bytes, too large for a rules file."


def test_a_file_that_never_ends_is_refused():
    with pytest.raises(RulesError, match="is larger than"):
        read_rules(Path("/dev/zero"))


def rules_or_refusal(content: bytes, folder: Path) -> RulesFile | str:
    """What reading gives: rules, or the words of a RulesError; anything else fails the test."""
    path = folder / "rules.yaml"
    path.write_bytes(content)
    try:
        return read_rules(path)
    except RulesError as error:
        message = str(error)
        assert message.encode("utf-8")
        assert str(path) in message
        return message


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=80)  # half surrogate pairs too
    | st.sampled_from([*"{}[]", "{x}", "{0}", "all", "rules", "value", "place", "prior_event", "paid", "internal"])
)
KEYS = st.sampled_from(["rules", "all", "value", "prior_event", "field", "mode", "{x}"]) | st.text(max_size=5)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)


@st.composite
def broken_documents(draw: st.DrawFn) -> Any:
    """A good document with a value replaced, added or dropped somewhere."""
    root: Any = {"": draw(strategies.rules_documents())}
    parent, key = root, ""
    while isinstance(parent[key], dict | list) and parent[key] and draw(st.integers(0, 5)):
        parent = parent[key]
        key = draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
    change = draw(st.sampled_from(("replace", "add", "drop")))
    if change == "drop" and parent is not root:
        del parent[key]
    elif change == "add" and isinstance(parent, dict) and parent is not root:
        parent[draw(KEYS)] = draw(DOCUMENTS)
    else:
        parent[key] = draw(DOCUMENTS)
    return root[""]


@examples(150)
@given(document=DOCUMENTS | DOCUMENTS.map(lambda document: {"rules": document}))
def test_any_document_is_rules_or_a_refusal(folder, document):
    rules_or_refusal(json.dumps(document).encode("utf-8"), folder)


@examples(150)
@given(document=broken_documents())
def test_a_good_document_with_one_thing_changed_is_rules_or_a_refusal(folder, document):
    rules_or_refusal(json.dumps(document).encode("utf-8"), folder)


@examples(50)
@given(document=strategies.rules_documents())
def test_every_good_document_is_read_for_what_it_says(folder, document):
    found = rules_or_refusal(json.dumps(document).encode("utf-8"), folder)

    assert isinstance(found, RulesFile), found
    assert len(found.rules) == len(document["rules"])
    for read, written in zip(found.rules, document["rules"], strict=True):
        said = read.model_dump(mode="json", exclude_unset=True)
        assert said == written


NASTY = st.sampled_from(
    [*"-?:,[]{}#&*!|>'\"%@`~ \n\t_+.=<0", "\r\n", "\0", "\ufeff", "\u2028", "\x85", "---\n", "...\n", "<<: ", "!!int ",
     "!!set ", "&a ", "*a ", "%YAML 1.1\n---\n", "%TAG ! x\n", "0x", "0o", "1e9", "-_", "1:2", ".inf", ".nan", "null",
     "2026-13-01", "2026-01-01T99:00:00", "\\ud800", "true", "''", '""', "? ", "- ", "\ud7ff", "🙂"]
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The shipped file with a few stretches of it replaced."""
    text = SHIPPED_TEXT
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from((0, 0, 1, 2, 20, 200))))
        text = text[:start] + draw(NASTY | st.lists(NASTY, max_size=4).map("".join)) + text[end:]
    return text


@examples(200)
@given(text=mutations())
def test_the_shipped_file_with_a_slip_of_the_keyboard_is_rules_or_a_refusal(folder, text):
    rules_or_refusal(text.encode("utf-8"), folder)


@examples(150)
@given(content=st.lists(NASTY).map(lambda parts: "".join(parts).encode()) | st.text().map(str.encode) | st.binary())
def test_any_bytes_are_rules_or_a_refusal(folder, content):
    rules_or_refusal(content, folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda rules: with_value(rules, "rules", rules["rules"][::-1]),
        lambda rules: with_value(rules, "rules", rules["rules"][:1]),
    ],
)
def test_another_text_is_another_ruleset(rules_path, change: Callable[[Any], Any]):
    hashes = set()
    for document in ({"rules": [rule("a"), rule("b")]}, change({"rules": [rule("a"), rule("b")]})):
        rules_path.write_text(json.dumps(document), encoding="utf-8")
        hashes.add(read_rules(rules_path).content_hash)
    assert len(hashes) == 2


def test_every_error_says_the_line_it_is_on_and_the_nearest_key(tmp_path):
    text = (
        "rules:\n  - name: nudge\n    triger: {event_type: a}\n    action:\n      type: send\n      template_name: T\n"
    )

    said = refusal(tmp_path, text)

    assert "rule nudge, trigger: the key is required and is missing (line 2)" in said
    assert "rule nudge, action.delivery_method: the key is required and is missing (line 4)" in said
    assert "found 'triger'; did you mean trigger? (line 3)" in said


class TestAFileThatIsBeingWritten:
    WHOLE = (
        "rules:\n- {name: a, trigger: {event_type: e}, "
        "action: {type: alert, template_name: T, delivery_method: internal}}\n"
    )

    def read(self, path: Path, *writes: str | None) -> tuple[list[float], RulesFile]:
        """Read it while somebody else writes it: one text, or nothing new, in each wait."""
        waits: list[float] = []
        coming = iter(writes)

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            text = next(coming, None)
            if text is not None:
                path.write_text(text, encoding="utf-8")

        return waits, read_settled_rules(path, settle_seconds=2, sleep=sleep)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "rules.yaml"

    def test_is_read_again_until_it_is_the_same_twice(self, path):
        path.write_text("rules:\n", encoding="utf-8")
        waits, rules_file = self.read(path, "rules:\n- {name: a,", self.WHOLE)
        assert waits == [2, 2, 2]
        assert [rule.name for rule in rules_file.rules] == ["a"]

    def test_is_waited_for_also_where_it_is_gone_for_a_moment(self, path):
        path.write_text("rules: []", encoding="utf-8")
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 1:
                path.unlink()
            if len(waits) == 2:
                path.write_text(self.WHOLE, encoding="utf-8")

        assert len(read_settled_rules(path, settle_seconds=2, sleep=sleep).rules) == 1
        assert len(waits) == 3

    def test_that_was_just_saved_is_read_after_one_wait(self, path):
        path.write_text(self.WHOLE, encoding="utf-8")
        assert self.read(path)[0] == [2]

    def test_that_keeps_changing_is_refused_with_what_to_do(self, path):
        path.write_text("", encoding="utf-8")
        with pytest.raises(
            RulesError, match="has kept changing for 10 s; nothing was decided, as it may be half written"
        ):
            self.read(path, *(str(number) for number in range(9)))

    def test_that_has_stood_still_is_not_waited_for_nor_is_any_when_waiting_is_off(self, path, monkeypatch):
        path.write_text(self.WHOLE, encoding="utf-8")

        def never(_seconds: float) -> None:
            raise AssertionError("it waits")

        assert len(read_settled_rules(path, sleep=never).rules) == 1
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3)
        assert len(read_settled_rules(path, settle_seconds=2, sleep=never).rules) == 1

    def test_that_is_missing_is_refused_at_once(self, path):
        with pytest.raises(RulesError, match="which cannot be read: No such file"):
            self.read(path)
