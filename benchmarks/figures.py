"""Works out from the measurements the figures that the pipeline must meet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.process import Sample
from benchmarks.rules_files import ONE_BUSY_USER
from benchmarks.sections import EXAMPLES, LARGE, MIDDLE, SMALL, Section

Samples = Mapping[str, Sequence[Sample]]
"""Samples by the key of their measurement."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it must be."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    """Its upper or lower limit; None if there is none."""
    is_least: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether it is within its limit; None if there is none."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.is_least else self.value <= self.bound


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A figure from one measurement, or from one against another."""

    what: str
    of: Callable[[Sample], float]
    key: str
    against: str | None = None
    unit: str = "×"
    bound: float | None = None
    is_least: bool = False
    is_per_line: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The keys of the measurements that it uses."""
        return (self.key,) if self.against is None else (self.key, self.against)

    def figure(self, samples: Samples, line_counts: Mapping[str, int]) -> Figure:
        """Return the figure, given samples and line counts of its measurements."""
        value = self._value(samples)
        if self.is_per_line and self.against is not None:
            value *= line_counts[self.against] / line_counts[self.key]
        return Figure(self.what, value, self.unit, self.bound, self.is_least)

    def _value(self, samples: Samples) -> float:
        measured = [self.of(sample) for sample in samples[self.key]]
        if self.against is None:
            return median(measured)
        compared = [self.of(sample) for sample in samples[self.against]]
        if len(measured) != len(compared):
            measured, compared = [median(measured)], [median(compared)]
        # Round by round, because the speed of a shared machine changes by a half within minutes.
        if self.unit == "×":
            return median(one / other for one, other in zip(measured, compared, strict=True))
        return median(one - other for one, other in zip(measured, compared, strict=True))


def wall(sample: Sample) -> float:
    """Return the wall time of a whole process, in seconds."""
    return sample.wall_seconds


def cpu(sample: Sample) -> float:
    """Return the CPU time of a whole process, in seconds."""
    return sample.cpu_seconds


def peak(sample: Sample) -> float:
    """Return the peak memory of a process, in MB of a million bytes."""
    return sample.peak_bytes / 1e6


def work(sample: Sample) -> float:
    """Return the sum of a job's steps, in seconds, without the start of the process."""
    return sum(sample.steps.values())


def load_step(sample: Sample) -> float:
    """Return how long loading took, in seconds."""
    return sample.steps["load"]


def stage_step(sample: Sample) -> float:
    """Return the seconds that reading the file took."""
    return sample.steps["stage"]


def decide_step(sample: Sample) -> float:
    """Return the step of deciding, in seconds."""
    return sample.steps["decide"]


def check_step(sample: Sample) -> float:
    """Return the step of the self-check, in seconds."""
    return sample.steps["check"]


def check_by_decide(sample: Sample) -> float:
    """Return how many times as long as deciding the self-check took."""
    return sample.steps["check"] / sample.steps["decide"]


def _growth(small: int) -> _Wanted:
    what = f"growth: seconds per line at {LARGE:,} / at {small:,}, start of the process aside"
    return _Wanted(what, work, f"ours {LARGE}", f"ours {small}", bound=1.2, is_per_line=True)


_WANTED = (
    _Wanted(
        f"ours / floor, wall, {LARGE:,} into an empty database", wall, f"ours {LARGE}", f"floor {LARGE}", bound=1.25
    ),
    _Wanted(f"ours / floor, wall, {MIDDLE:,} into an empty database", wall, f"ours {MIDDLE}", f"floor {MIDDLE}"),
    _Wanted("ours / floor, wall, 100k on 5M", wall, "ours late", "floor late", bound=1.5),
    _Wanted("dlt merge / ours, wall, 100k", wall, "dlt", "ours clean", bound=6.0, is_least=True),
    _Wanted("pandas script / ours, wall, 100k", wall, "pandas", "ours clean", bound=3.0, is_least=True),
    _Wanted("deciding 100k on 5M / on none, the step", work, "decide history", "decide none", bound=2.0),
    _Wanted("deciding 100k on 5M / on none, a fiftieth of the users, the step", work, "decide few", "decide none"),
    _Wanted("self-check / deciding, 100k by 50 rules that look back", check_by_decide, "check many_rules", bound=1.5),
    _Wanted("self-check / deciding, 100k by the shipped rules", check_by_decide, "check shipped_rules"),
    _Wanted(
        "self-check, 200 versions of the rules / 100",
        check_step,
        "check many_versions",
        "check few_versions",
        bound=2.5,
    ),
    _Wanted(
        "self-check, 10,000 events of a user and as many late / 5,000",
        check_step,
        "check many_late",
        "check few_late",
        bound=2.5,
    ),
    *(
        _Wanted(
            f"deciding 1M by {name} / by the shipped rules, the step",
            work,
            f"examples {name}",
            "examples shipped",
            bound=2.5,
        )
        for name in EXAMPLES
    ),
    *(
        _Wanted(f"deciding 200,000 matches of one user under {name}", work, f"one user {name}", unit="s", bound=10)
        for name in ONE_BUSY_USER
    ),
    _Wanted("deciding 100k by 300 rules / by one", decide_step, "many 300 rules", "many 1 rule", bound=150),
    _Wanted(
        "deciding 100k by one rule and 299 that no event triggers / by one",
        decide_step,
        "many 1 rule, and 299 whose trigger no event has",
        "many 1 rule",
    ),
    *(
        _Wanted(f"self-check / deciding, 100k by {name}", check_by_decide, f"many {name}", bound=1.5)
        for name in ("300 rules", "300 rules of one template")
    ),
    _Wanted(
        "deciding 100k on 5M with waiting, latest traits and limits / by the shipped rules, the step",
        work,
        "back looking",
        "back shipped",
        bound=3.0,
    ),
    _Wanted("peak memory, 1M", peak, "memory long", unit="MB", bound=400),
    _Wanted("peak memory, 4M / 1M", peak, "memory longest", "memory long", bound=1.15),
    *(
        _Wanted(
            f"staging {what} / JSON lines in our own words, an event",
            stage_step,
            f"format {kind}",
            "format lines",
            bound=bound,
        )
        for kind, what, bound in (
            ("csv", "CSV", 2.0),
            ("parquet", "Parquet", 2.0),
            ("segment", "calls of Segment", 8.0),
        )
    ),
    *(
        _Wanted(f"peak memory, {what} / JSON lines", peak, f"format {kind}", "format lines", bound=1.15)
        for kind, what in (("csv", "CSV"), ("parquet", "Parquet"))
    ),
    *(
        _Wanted(
            f"staging {what} on two Dask workers / in one process, the step",
            stage_step,
            f"dask {name} on_two_workers",
            f"dask {name} here",
        )
        for name, what in (("large", "16 large files"), ("small", "5,000 small files"))
    ),
    _Wanted("two loaders / one, PostgreSQL, the step", load_step, "several two", "several one", bound=0.65),
    _Wanted("two shards / one, PostgreSQL, the step", decide_step, "several two", "several one", bound=0.65),
    _Wanted("a run with nothing new / its imports, wall", wall, "idle", "imports"),
    _growth(SMALL),
    _growth(MIDDLE),
    _Wanted("10,000 small files / one file with their lines, the flow, wall", wall, "flow many files", "flow one file"),
    _Wanted(
        "10,000 small files less one file with their lines, the flow, wall",
        wall,
        "flow many files",
        "flow one file",
        unit="s",
        bound=20,
    ),
    _Wanted("Prefect's cost: the flow less ours, wall, 1M", wall, f"flow {LARGE}", f"ours {LARGE}", unit="s"),
)


def figures(samples: Samples, line_counts: Mapping[str, int]) -> list[Figure]:
    """Return the figures that the given measurements allow."""
    return [wanted.figure(samples, line_counts) for wanted in _WANTED if all(samples.get(key) for key in wanted.needs)]


def as_record(sections: Sequence[Section], samples: Samples) -> list[dict[str, Any]]:
    """Return sections with the medians of their measurements, for JSON."""
    return [
        {
            "title": section.title,
            "measurements": [
                {
                    "key": each.key,
                    "what": each.what,
                    "lines": each.line_count,
                    "rounds": len(samples[each.key]),
                    "wall_seconds": round(median(map(wall, samples[each.key])), 3),
                    "wall_seconds_of_rounds": [round(sample.wall_seconds, 3) for sample in samples[each.key]],
                    "cpu_seconds": round(median(map(cpu, samples[each.key])), 3),
                    "peak_mb": round(median(map(peak, samples[each.key]))),
                    "steps": _steps(samples[each.key]),
                }
                for each in section.measurements
            ],
        }
        for section in sections
    ]


def _steps(samples: Sequence[Sample]) -> dict[str, float]:
    return {name: round(median(sample.steps[name] for sample in samples), 3) for name in samples[0].steps}
