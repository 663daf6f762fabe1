"""Figures follow from samples, and the README shows those that were written last."""

import json

import pytest

from benchmarks.figures import Figure, figures
from benchmarks.process import PROJECT, JobError, Sample, run_job
from benchmarks.tables import README_PATH, RESULTS_PATH, in_readme, text


def sample(wall_seconds: float, **steps: float) -> Sample:
    """One run of a process."""
    return Sample(wall_seconds, wall_seconds, 100_000_000, steps)


def test_a_ratio_is_the_median_of_those_of_the_rounds_and_is_held_against_what_is_asked():
    samples = {
        "ours 1000000": [sample(9.0), sample(10.0), sample(30.0)],
        "floor 1000000": [sample(9.0), sample(8.0), sample(15.0)],
    }
    [figure] = [each for each in figures(samples, {}) if "floor" in each.what]
    assert figure == Figure("ours / floor, wall, 1,000,000 into an empty database", 1.25, "×", 1.25)
    assert figure.holds


def test_what_was_measured_another_number_of_times_is_compared_by_its_median():
    samples = {"flow 1000000": [sample(30.0)], "ours 1000000": [sample(9.0), sample(10.0), sample(25.0)]}
    [figure] = figures(samples, {})
    assert (figure.value, figure.unit, figure.holds) == (20.0, "s", None)


def test_growth_is_seconds_a_line_of_the_work_alone():
    samples = {"ours 10000": [sample(9, load=1.0)], "ours 1000000": [sample(9, load=100.0, decide=50.0)]}
    [figure] = figures(samples, {"ours 10000": 10_000, "ours 1000000": 1_000_000})
    assert figure.value == pytest.approx(1.5)
    assert figure.holds is False


def test_the_self_check_is_held_against_the_deciding_beside_it():
    samples = {"check many_rules": [sample(9, decide=2.0, check=3.5), sample(9, decide=2.0, check=2.0)]}
    [figure] = figures(samples, {})
    assert (figure.value, figure.bound, figure.holds) == (1.375, 1.5, True)


def test_what_was_not_measured_has_no_figure():
    assert figures({}, {}) == []


def test_at_least_and_at_most_are_distinguished():
    assert Figure("x", 7, "×", 6, is_least=True).holds
    assert not Figure("x", 5, "×", 6, is_least=True).holds
    assert Figure("x", 7, "×").holds is None


def test_a_job_that_fails_says_why(tmp_path):
    with pytest.raises(JobError, match=r"No module named 'benchmarks\.jobs\.nothing'"):
        run_job("nothing:at_all", tmp_path, tmp_path)


def test_the_readme_shows_the_results_that_were_written_last():
    results = json.loads(RESULTS_PATH.read_text(encoding="utf-8"))
    readme = README_PATH.read_text(encoding="utf-8")
    assert in_readme(readme, results) == readme


def test_the_results_in_the_project_are_those_of_the_full_sizes():
    results = json.loads(RESULTS_PATH.read_text(encoding="utf-8"))
    lines = {each["key"]: each["lines"] for section in results["sections"] for each in section["measurements"]}
    assert lines["ours 1000000"] == 1_000_000
    assert "ours / floor, wall, 1,000,000 into an empty database" in text(results)


def test_nothing_in_the_results_names_a_folder_of_the_machine():
    assert str(PROJECT.parent) not in RESULTS_PATH.read_text(encoding="utf-8")
