"""What the benchmark decides by is as files of rules are, and its events are of their types."""

import json

import pytest

from benchmarks.raw_events import EVENT_TYPES, write_raw_file
from benchmarks.rules_files import LOOKING_BACK, MANY_RULES, ONE_BUSY_USER, ONE_TYPE, write_rules
from benchmarks.shapes import NEW_TYPES, of_every_rules_file, of_one_type
from src.marketing_messaging_service.decisions import read_rules

FILES = {**ONE_BUSY_USER, "looking back": LOOKING_BACK} | {
    name: rules for name, rules in MANY_RULES.items() if len(rules["rules"]) == 1
}


@pytest.mark.parametrize("rules", FILES.values(), ids=FILES)
def test_what_the_benchmark_decides_by_is_a_file_of_rules(tmp_path, rules):
    read = read_rules(write_rules(tmp_path / "rules.yaml", rules))
    assert len(read.enabled_rules) == len(rules["rules"])


def test_many_rules_are_three_hundred():
    assert [len(rules["rules"]) for rules in MANY_RULES.values()] == [1, 300, 300, 300]


@pytest.fixture
def events(tmp_path, request):
    file = write_raw_file(tmp_path / "events.jsonl", 2_000, seed=1, malformed=False, shape=request.param)
    return [json.loads(line) for line in file.path.read_text().splitlines()]


@pytest.mark.parametrize("events", [of_every_rules_file], indirect=True)
def test_events_for_every_rules_file_are_of_the_usual_types_and_those_of_the_examples(events):
    types = {event["event_type"] for event in events}
    assert types == {*NEW_TYPES, *EVENT_TYPES}
    assert all("order_id" in event["properties"] for event in events if event["event_type"] in NEW_TYPES)


@pytest.mark.parametrize("events", [of_one_type], indirect=True)
def test_every_event_of_one_type_is_of_it(events):
    assert {event["event_type"] for event in events} == {ONE_TYPE}
