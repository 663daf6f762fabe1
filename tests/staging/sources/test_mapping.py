"""A producer's words become ours: where values are, how times are written, what is left out."""

from typing import Any

import pytest

from src.marketing_messaging_service.errors import SourcesError
from src.marketing_messaging_service.staging.sources.file import SourcesFile, parse_sources
from src.marketing_messaging_service.staging.sources.mapping import DroppedEventError, SourceMapping
from src.marketing_messaging_service.staging.sources.shipped import NATIVE, SEGMENT
from src.marketing_messaging_service.vocabulary import ReasonCode
from src.marketing_messaging_service.vocabulary.values import RefusedValueError, WrittenNumber

INSTANT = "2026-11-02T22:20:41Z"


def sources(mapping: str = "", entry: str = "files: '*.json'") -> SourcesFile:
    shop = f"mappings:\n  shop:\n{mapping}" if mapping else ""
    name = ", mapping: shop" if mapping else ""
    return parse_sources(f"sources:\n  - {{{entry}{name}}}\n{shop}", "sources.yaml")


def shop(mapping: str) -> SourceMapping:
    return sources("\n".join(f"    {line}" for line in mapping.splitlines())).sources[0].mapping


def native(**values: Any) -> dict[str, Any]:
    return {"user_id": "ana", "event_type": "signup", "event_timestamp": INSTANT, **values}


def time_read(mapping: str, value: object) -> object:
    return shop(mapping).map(native(event_timestamp=value)).document["event_timestamp"]


class TestNative:
    def test_a_document_in_our_own_words_stays_as_it_is(self):
        raw = native(message_id="m1", properties={"amount": WrittenNumber("3")}, user_traits={"country": "FR"})

        assert NATIVE.map(raw).document == raw

    def test_its_unknown_keys_are_named(self):
        assert NATIVE.map(native(app_version="3")).unknown_keys == ("app_version",)


class TestTypes:
    @pytest.mark.parametrize("raw", [None, ""])
    def test_an_event_that_names_none_has_the_one_that_the_mapping_says(self, raw):
        mapping = shop("{event_types: {otherwise: order_placed}}")

        assert mapping.map(native(event_type=raw)).document["event_type"] == "order_placed"
        assert mapping.map(native()).document["event_type"] == "signup"


class TestKeys:
    def test_each_value_is_found_where_the_mapping_says(self):
        mapping = shop(
            "{user_id: userId, event_type: event, event_timestamp: timestamp, message_id: messageId,\n"
            " properties: properties, user_traits: [context.traits, traits]}"
        )
        raw = {
            "userId": "ana",
            "event": "signup",
            "timestamp": INSTANT,
            "messageId": "m1",
            "properties": {"amount": "3"},
            "context": {"traits": {"country": "FR"}, "ip": "::1"},
            "traits": {"country": "DE", "email": "a@example.com"},
            "version": "2",
        }

        mapped = mapping.map(raw)

        assert mapped.document == native(
            message_id="m1",
            properties={"amount": "3"},
            user_traits={"country": "FR", "email": "a@example.com"},
        )
        assert mapped.unknown_keys == ("version",)

    def test_of_several_places_the_first_with_a_value_counts(self):
        mapping = shop("user_id: [uid, customer.id]")

        for raw in ({"uid": None}, {"uid": ""}, {}):
            assert mapping.map({**raw, "customer": {"id": "ana"}}).document["user_id"] == "ana"

    def test_an_id_that_is_a_whole_number_is_its_text(self):
        mapping = shop("{user_id: uid, message_id: mid, message_id_prefix: 'shop:'}")

        document = mapping.map({"uid": WrittenNumber("42"), "mid": WrittenNumber("7")}).document

        assert (document["user_id"], document["message_id"]) == ("42", "shop:7")

    def test_a_field_has_another_name_and_is_no_unknown_key_then(self):
        mapping = shop("fields: {properties.amount: properties.revenue, user_traits.country: context.geo.country}")
        raw = native(properties={"revenue": "3", "coupon": "x"}, context={"geo": {"country": "FR"}})

        mapped = mapping.map(raw)

        assert mapped.document["properties"] == {"coupon": "x", "amount": "3"}
        assert mapped.document["user_traits"] == {"country": "FR"}
        assert mapped.unknown_keys == ()

    def test_a_renamed_field_without_a_value_does_not_hide_the_one_under_its_own_name(self):
        mapping = shop("fields: {properties.amount: properties.revenue}")

        assert mapping.map(native(properties={"amount": "3"})).document["properties"] == {"amount": "3"}

    def test_what_is_no_object_where_one_should_stand_is_left_for_the_close_look(self):
        assert NATIVE.map(native(properties="none")).document["properties"] == "none"


class TestEventTypes:
    def test_are_renamed(self):
        mapping = shop("event_types: {rename: {Order Completed: order_completed}}")

        assert mapping.map(native(event_type="Order Completed")).document["event_type"] == "order_completed"
        assert mapping.map(native(event_type="other")).document["event_type"] == "other"

    def test_are_dropped(self):
        with pytest.raises(DroppedEventError):
            shop("event_types: {drop: heartbeat}").map(native(event_type="heartbeat"))


class TestTimes:
    @pytest.mark.parametrize(
        ("form", "value", "instant"),
        [
            ("epoch_seconds", WrittenNumber("1793658041"), "2026-11-02T22:20:41.000000+00:00"),
            ("epoch_seconds", "1793658041.25", "2026-11-02T22:20:41.250000+00:00"),
            ("epoch_milliseconds", WrittenNumber("1793658041250"), "2026-11-02T22:20:41.250000+00:00"),
            ("epoch_milliseconds", WrittenNumber("-1"), "1969-12-31T23:59:59.999000+00:00"),
            ("epoch_seconds", WrittenNumber("0.0000019"), "1970-01-01T00:00:00.000001+00:00"),
            ("{timezone: Europe/Paris}", "2026-11-02T23:20:41", "2026-11-02T22:20:41.000000+00:00"),
            ("{timezone: Europe/Paris}", "2026-11-02 23:20:41", "2026-11-02T22:20:41.000000+00:00"),
            # A given offset counts.
            ("{timezone: Europe/Paris}", INSTANT, INSTANT),
            # The clocks go back: of the two 02:30 the first.
            ("{timezone: Europe/Paris}", "2026-10-25T02:30:00", "2026-10-25T00:30:00.000000+00:00"),
            (
                "{format: '%d.%m.%Y %H:%M', timezone: Europe/Paris}",
                "02.11.2026 23:20",
                "2026-11-02T22:20:00.000000+00:00",
            ),
            ("{format: '%d.%m.%Y %H:%M %z'}", "02.11.2026 23:20 +0100", "2026-11-02T23:20:00.000000+01:00"),
            ("{format: '%Y%m%d', timezone: UTC}", WrittenNumber("20261102"), "2026-11-02T00:00:00.000000+00:00"),
        ],
    )
    def test_are_read_as_the_mapping_says(self, form, value, instant):
        assert time_read(f"timestamp_form: {form}", value) == instant

    @pytest.mark.parametrize(
        ("form", "value", "reason"),
        [
            ("epoch_seconds", "yesterday", ReasonCode.INVALID_TIMESTAMP),
            ("epoch_seconds", True, ReasonCode.INVALID_TIMESTAMP),
            ("epoch_seconds", WrittenNumber("1e9"), ReasonCode.INVALID_TIMESTAMP),
            ("epoch_seconds", WrittenNumber("1793658041250"), ReasonCode.TIMESTAMP_OUT_OF_RANGE),
            ("{timezone: Europe/Paris}", "2026-03-29T02:30:00", ReasonCode.INVALID_TIMESTAMP),
            ("{format: '%d.%m.%Y', timezone: UTC}", "2026-11-02", ReasonCode.INVALID_TIMESTAMP),
            ("{format: '%d.%m.%Y', timezone: UTC}", [], ReasonCode.WRONG_TYPE),
        ],
    )
    def test_are_refused_with_a_reason(self, form, value, reason):
        with pytest.raises(RefusedValueError) as refused:
            time_read(f"timestamp_form: {form}", value)

        assert refused.value.reason_code is reason

    def test_a_time_that_is_missing_is_left_for_the_close_look(self):
        assert time_read("timestamp_form: epoch_seconds", None) is None


class TestSegment:
    def track(self, **values: Any) -> dict[str, Any]:
        return {"type": "track", "event": "Order Completed", "userId": "ana", "timestamp": INSTANT, **values}

    def test_a_track_call_is_called_by_its_event(self):
        mapped = SEGMENT.map(self.track(messageId="m1", context={"traits": {"email": "a@example.com"}}))

        assert mapped.document == {
            "user_id": "ana",
            "event_type": "Order Completed",
            "event_timestamp": INSTANT,
            "message_id": "m1",
            "properties": {},
            "user_traits": {"email": "a@example.com"},
        }

    @pytest.mark.parametrize("call", ["identify", "page", "screen", "group"])
    def test_the_other_calls_are_called_what_they_are(self, call):
        raw = {"type": call, "userId": "ana", "timestamp": INSTANT, "traits": {"country": "FR"}}

        mapped = SEGMENT.map(raw)

        assert mapped.document["event_type"] == call
        assert mapped.document["user_traits"] == ({"country": "FR"} if call == "identify" else {})

    def test_without_a_corrected_time_the_device_s_own_counts(self):
        raw = {"type": "page", "userId": "ana", "originalTimestamp": INSTANT}

        assert SEGMENT.map(raw).document["event_timestamp"] == INSTANT

    def test_somebody_with_an_anonymous_id_alone_is_refused(self):
        with pytest.raises(RefusedValueError) as refused:
            SEGMENT.map({"type": "page", "anonymousId": "anon-1", "timestamp": INSTANT})

        assert refused.value.reason_code is ReasonCode.ANONYMOUS_USER
        assert "There is no userId, only anonymousId" in refused.value.explanation

    def test_a_mapping_may_take_the_anonymous_id(self):
        mapping = shop("{extends: segment, anonymous_user: take}")

        assert mapping.map({"type": "page", "anonymousId": "anon-1"}).document["user_id"] == "anon-1"
        assert mapping.map({"type": "page", "anonymousId": "anon-1", "userId": "ana"}).document["user_id"] == "ana"


class TestTheContentId:
    def test_is_made_of_all_that_the_mapping_does_not_leave_out(self):
        mapping = shop("content_id: {leave_out: [attempt, meta.sent]}")
        raw = native(attempt=1, meta={"sent": 2, "app": 3})

        assert mapping.content(raw) == native(meta={"app": 3})
        assert mapping.content(native(meta=1)) == native(meta=1)


class TestWhichFile:
    @pytest.mark.parametrize(
        ("pattern", "path", "fits"),
        [
            ("*.json", "a.json", True),
            ("*.json", "2026/11/a.JSON", True),
            ("*.json", "a.json.gz", False),
            ("segment/**", "segment/2026/a.gz", True),
            ("segment/**", "other/segment/a.gz", False),
            ("**/segment/*.gz", "other/segment/a.gz", True),
            ("segment/*.gz", "segment/2026/a.gz", False),
            ("e?.json", "e1.json", True),
            ("a[1].json", "a[1].json", True),
        ],
    )
    def test_is_reported_by_a_pattern_of_its_path(self, pattern, path, fits):
        found = sources(entry=f"files: '{pattern}'").source_of(path)

        assert (found is not None) is fits

    def test_the_first_source_that_fits_counts(self):
        both = parse_sources("sources: [{files: 'a*', mapping: segment}, {files: '*'}]", "sources.yaml")

        assert [source and source.mapping for source in map(both.source_of, ("a.json", "b.json"))] == [SEGMENT, NATIVE]


def with_mapping(text: str) -> str:
    return f"sources: [{{files: a}}]\nmappings:\n  a: {text}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file: expected keys with values, found nothing"),
        ("sources: []", "key sources: expected a list that is not empty, found [] (line 1)"),
        (
            "sources: [{files: a, maping: native}]",
            "source number 1, maping: unknown key; expected one of files, format, mapping, found 'maping'; did you "
            "mean mapping? (line 1)",
        ),
        (
            "sources: [{files: a, mapping: shop}]",
            "source number 1, mapping: expected one of native, segment, found 'shop'",
        ),
        ("sources: [{files: a, format: xml}]", "source number 1, format: expected one of"),
        ("sources: [{files: a}]\nmappings:\n  segment: {}", "mapping segment: the project's own mapping has this name"),
        (with_mapping("{extends: b}\n  b: {extends: a}"), "mapping a, extends: it extends itself"),
        (
            with_mapping("{timestamp_form: unix}"),
            "mapping a, timestamp_form: expected iso, epoch_seconds, epoch_milliseconds, or the keys format and "
            "timezone, found 'unix' (line 3)",
        ),
        (
            with_mapping("{timestamp_form: {format: '%Y'}}"),
            "mapping a, timestamp_form.format: expected a timezone beside it, because a time without an offset names "
            "no instant, found '%Y' (line 3)",
        ),
        (
            with_mapping("{timestamp_form: {timezone: Mars/Base}}"),
            "mapping a, timestamp_form.timezone: expected the name of a time zone, such as Europe/Paris, found "
            "'Mars/Base' (line 3)",
        ),
        (
            with_mapping("{fields: {properties.colour: x}}"),
            "mapping a, fields.properties.colour: expected fields of the payload",
        ),
        (
            with_mapping("{fields: {properties.amount: {on_invalid: drop}}}"),
            "mapping a, fields.properties.amount.on_invalid: expected reject or null, found 'drop' (line 3)",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(SourcesError) as refused:
        parse_sources(text, "sources.yaml")

    assert str(refused.value).startswith("sources.yaml cannot be used; no file was taken.")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(("written", "is_optional"), [("null", True), ("'null'", True), ("reject", False)])
def test_an_invalid_value_of_a_field_may_cost_the_value_alone(written, is_optional):
    mapping = shop(f"fields: {{user_traits.country: {{on_invalid: {written}}}}}")

    assert mapping.optional_fields == ({"user_traits.country"} if is_optional else set())
