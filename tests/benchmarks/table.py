"""Samples as a table that a person reads."""

from collections.abc import Mapping, Sequence
from statistics import median

from tests.benchmarks.process import Sample
from tests.benchmarks.sections import Measurement, Section

HEADER = (
    f"{'':44}{'lines':>10}{'runs':>5}{'seconds':>9}{'spread':>8}{'× time':>8}{'CPU s':>8}{'× CPU':>7}{'peak MB':>9}"
)

Samples = Mapping[Measurement, Sequence[Sample]]


def table(section: Section, samples: Samples) -> str:
    """Return a section's table, each measurement compared with the first."""
    first = section.measurements[0]
    lines = [section.title, HEADER]
    for measurement in section.measurements:
        lines.append(_line(measurement, samples[measurement], first, samples[first]))
        if measurement.shows_steps:
            lines.append(_steps_line(samples[measurement]))
    lines += [f"{what:44}{'not installed':>15}" for what in section.absent]
    return "\n".join(lines)


def _line(measurement: Measurement, samples: Sequence[Sample], first: Measurement, firsts: Sequence[Sample]) -> str:
    seconds, cpu_seconds = _seconds(samples), _cpu_seconds(samples)
    # A job without lines is there for its memory alone.
    share = first.lines / measurement.lines if measurement.lines else 0.0
    peak = median(sample.peak_bytes for sample in samples) / 1e6
    return (
        f"{measurement.what:44}{measurement.lines:>10,}{len(samples):>5}{seconds:>9.2f}{_spread(samples):>8}"
        f"{share * seconds / _seconds(firsts):>8.2f}"
        f"{cpu_seconds:>8.2f}{share * cpu_seconds / _cpu_seconds(firsts):>7.2f}{peak:>9.0f}"
    )


def _seconds(samples: Sequence[Sample]) -> float:
    return median(sample.seconds for sample in samples)


def _cpu_seconds(samples: Sequence[Sample]) -> float:
    return median(sample.cpu_seconds for sample in samples)


def _spread(samples: Sequence[Sample]) -> str:
    if len(samples) < 2:
        return "–"
    all_seconds = [sample.seconds for sample in samples]
    return f"{(max(all_seconds) - min(all_seconds)) / _seconds(samples):.0%}"


def _steps_line(samples: Sequence[Sample]) -> str:
    """Return the steps of a measurement with their share of its time."""
    whole = _seconds(samples)
    steps = {name: median(sample.steps[name] for sample in samples) for name in samples[0].steps}
    return "    " + ", ".join(f"{name} {seconds:.2f} ({seconds / whole:.0%})" for name, seconds in steps.items())
