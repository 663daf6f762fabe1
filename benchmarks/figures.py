"""The figures that the pipeline is held to, out of the measurements."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.process import Sample
from benchmarks.sections import LARGE, MIDDLE, SMALL, Section

Samples = Mapping[str, Sequence[Sample]]
"""Samples by the key of their measurement."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it must be."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    """What it must not exceed, or not fall below; None where nothing is asked."""
    is_least: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether it is as it must be, None where nothing is asked."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.is_least else self.value <= self.bound


def wall(samples: Sequence[Sample]) -> float:
    """Return the median of the wall time of whole processes, in seconds."""
    return median(sample.wall_seconds for sample in samples)


def cpu(samples: Sequence[Sample]) -> float:
    """Return the median of the CPU time of whole processes, in seconds."""
    return median(sample.cpu_seconds for sample in samples)


def peak(samples: Sequence[Sample]) -> float:
    """Return the median of the peak memory, in MB of a million bytes."""
    return median(sample.peak_bytes for sample in samples) / 1e6


def work(samples: Sequence[Sample]) -> float:
    """Return the median of the steps of a job together, in seconds; what the process takes to start is left out."""
    return median(sum(sample.steps.values()) for sample in samples)


def figures(samples: Samples, line_counts: Mapping[str, int]) -> list[Figure]:
    """Return the figures that the given measurements allow."""
    all_figures: list[tuple[tuple[str, ...], Callable[[], Figure]]] = [
        *(
            (
                (f"ours {size}", f"floor {size}"),
                lambda size=size, bound=bound: Figure(
                    f"ours / floor, wall, {size:,} into an empty database",
                    wall(samples[f"ours {size}"]) / wall(samples[f"floor {size}"]),
                    "×",
                    bound,
                ),
            )
            for size, bound in ((LARGE, 1.25), (MIDDLE, None))
        ),
        (
            ("ours late", "floor late"),
            lambda: Figure(
                "ours / floor, wall, 100k on 5M", wall(samples["ours late"]) / wall(samples["floor late"]), "×", 1.5
            ),
        ),
        *(
            (
                (key, "ours clean"),
                lambda key=key, what=what, bound=bound: Figure(
                    f"{what} / ours, wall, 100k", wall(samples[key]) / wall(samples["ours clean"]), "×", bound, True
                ),
            )
            for key, what, bound in (("dlt", "dlt merge", 6.0), ("pandas", "pandas script", 3.0))
        ),
        *(
            (
                (f"decide {key}", "decide none"),
                lambda key=key, what=what, bound=bound: Figure(
                    f"deciding 100k on 5M / on none{what}, the step",
                    work(samples[f"decide {key}"]) / work(samples["decide none"]),
                    "×",
                    bound,
                ),
            )
            for key, what, bound in (("history", "", 2.0), ("few", ", a fiftieth of the users", None))
        ),
        (("memory long",), lambda: Figure("peak memory, 1M", peak(samples["memory long"]), "MB", 400)),
        (
            ("memory long", "memory longest"),
            lambda: Figure(
                "peak memory, 4M / 1M", peak(samples["memory longest"]) / peak(samples["memory long"]), "×", 1.15
            ),
        ),
        (
            ("idle", "imports"),
            lambda: Figure(
                "a run with nothing new / its imports, wall", wall(samples["idle"]) / wall(samples["imports"]), "×"
            ),
        ),
        *(
            (
                (f"ours {small}", f"ours {large}"),
                lambda small=small, large=large: Figure(
                    f"growth: seconds a line at {large:,} / at {small:,}, start of the process aside",
                    _per_line(samples, line_counts, large) / _per_line(samples, line_counts, small),
                    "×",
                    1.2,
                ),
            )
            for small, large in ((SMALL, LARGE), (MIDDLE, LARGE))
        ),
        (
            (f"flow {LARGE}", f"ours {LARGE}"),
            lambda: Figure(
                "Prefect's cost: the flow less ours, wall, 1M",
                wall(samples[f"flow {LARGE}"]) - wall(samples[f"ours {LARGE}"]),
                "s",
            ),
        ),
    ]
    return [make() for needed, make in all_figures if all(samples.get(key) for key in needed)]


def _per_line(samples: Samples, line_counts: Mapping[str, int], size: int) -> float:
    return work(samples[f"ours {size}"]) / line_counts[f"ours {size}"]


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
                    "wall_seconds": round(wall(samples[each.key]), 3),
                    "wall_seconds_of_rounds": [round(sample.wall_seconds, 3) for sample in samples[each.key]],
                    "cpu_seconds": round(cpu(samples[each.key]), 3),
                    "peak_mb": round(peak(samples[each.key])),
                    "steps": _steps(samples[each.key]),
                }
                for each in section.measurements
            ],
        }
        for section in sections
    ]


def _steps(samples: Sequence[Sample]) -> dict[str, float]:
    return {name: round(median(sample.steps[name] for sample in samples), 3) for name in samples[0].steps}
