"""What a file held that did not become an event: rejected lines and unknown keys."""

from tests.loading.raw_files import raw, rows


def test_a_rejected_line_is_kept_with_its_number_and_the_reason(engine, load):
    load("a.jsonl", raw("m1"), "", "[1, 2]", '{"user_id": "u"')
    found = rows(
        engine,
        "SELECT load_id, line_number, raw_line, raw_bytes, reason_code, field_name FROM rejected_rows ORDER BY id",
    )
    assert found == [
        (1, 3, "[1, 2]", None, "not_an_object", None),
        (1, 4, '{"user_id": "u"', None, "invalid_json", None),
    ]


def test_a_rejected_field_is_named_and_explained(engine, load):
    load("a.jsonl", raw("m1", properties={"attempt_number": 2.5}))
    [(reason_code, field_name, explanation)] = rows(
        engine, "SELECT reason_code, field_name, explanation FROM rejected_rows"
    )
    assert (reason_code, field_name) == ("not_a_whole_number", "properties.attempt_number")
    assert "2.5" in explanation


def test_bytes_that_are_no_text_are_kept_exactly_beside_a_readable_form(engine, load):
    line = b'{"user_id": "caf\xe9\x00"}'
    load("a.jsonl", line)
    assert rows(engine, "SELECT raw_line, raw_bytes, typeof(raw_line), typeof(raw_bytes) FROM rejected_rows") == [
        ('{"user_id": "caf\\xe9\\x00"}', line, "text", "blob")
    ]


def test_rejected_lines_are_counted_by_reason_most_frequent_first(load):
    result = load("a.jsonl", "{", raw("m1", user_id=""), "[]", raw("m2", user_id=""), raw("m3", user_id=""), "[]")
    assert list(result.rejected_by_reason.items()) == [("empty_text", 3), ("not_an_object", 2), ("invalid_json", 1)]
    assert result.rejected_count == 6


def test_a_file_of_rejected_lines_alone_brings_no_events(engine, load):
    result = load("a.jsonl", "{", "[]")
    assert (result.read_count, result.inserted_count, result.rejected_count) == (2, 0, 2)
    assert rows(engine, "SELECT inserted_count, rejected_count, first_event_id, last_event_id FROM loads") == [
        (0, 2, None, None)
    ]


def test_the_same_line_rejected_in_two_files_is_kept_for_both(engine, load):
    load("a.jsonl", "{")
    load("b.jsonl", "", "{")
    assert rows(engine, "SELECT load_id, line_number FROM rejected_rows ORDER BY id") == [(1, 1), (2, 2)]


def test_unknown_keys_are_counted_by_path_for_each_load(engine, load):
    result = load(
        "a.jsonl", raw("m1", coupon=1), raw("m2", coupon=2, properties={"shop": 1}, user_traits={"plan": None})
    )
    load("b.jsonl", raw("m3", coupon=1))
    assert result.unknown_keys == {"coupon": 2, "properties.shop": 1, "user_traits.plan": 1}
    assert rows(engine, "SELECT load_id, key_path, occurrence_count FROM unknown_keys ORDER BY 1, 2") == [
        (1, "coupon", 2),
        (1, "properties.shop", 1),
        (1, "user_traits.plan", 1),
        (2, "coupon", 1),
    ]
