"""Writes results as tables: in a terminal and, by `python -m benchmarks.tables`, in the README."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.process import PROJECT

RESULTS_PATH = PROJECT / "benchmarks" / "results.json"
README_PATH = PROJECT / "README.md"

Results = Mapping[str, Any]
"""What `make bench` writes as JSON."""

HEADER = f"  {'':44}{'lines':>10}{'rounds':>8}{'wall s':>9}{'×':>7}{'CPU s':>9}{'×':>7}{'peak MB':>9}"


def text(results: Results) -> str:
    """Return everything that was measured, for a terminal; × is against the first row of a table, line by line."""
    parts = [machine_line(results)]
    for section in results["sections"]:
        rows = section["measurements"]
        parts += ["", section["title"], HEADER]
        for row in rows:
            share = rows[0]["lines"] / row["lines"] if row["lines"] else 1.0
            parts.append(
                f"  {row['what']:44}{row['lines']:>10,}{row['rounds']:>8}{row['wall_seconds']:>9.2f}"
                f"{share * row['wall_seconds'] / rows[0]['wall_seconds']:>7.2f}{row['cpu_seconds']:>9.2f}"
                f"{share * row['cpu_seconds'] / rows[0]['cpu_seconds']:>7.2f}{row['peak_mb']:>9}"
            )
            if row["steps"]:
                parts.append("    " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["steps"].items()))
    parts += ["", "Figures"]
    for figure in results["figures"]:
        parts.append(f"  {figure['what']:66}{_value(figure):>9}  {_bound(figure)}")
    return "\n".join(parts)


def machine_line(results: Results) -> str:
    """Return the machine, the versions and the date of the measurements."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"{results['date']}, {results['cores']} cores ({results['machine']}); {versions}."


def in_readme(readme: str, results: Results) -> str:
    """Return the README with tables of these results between its marks."""
    parts = {"machine": machine_line(results), "figures": _figures(results), "peers": _peers(results)}
    for name, part in parts.items():
        mark, end = f"<!-- {name} of make bench -->", "<!-- end -->"
        before, found, rest = readme.partition(mark)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"README.md has no place for the {name} of make bench")
        readme = f"{before}{mark}\n\n{part}\n\n{end}{after}"
    return readme


def _figures(results: Results) -> str:
    lines = ["| figure | measured | asked |", "|---|---:|---:|"]
    for figure in results["figures"]:
        lines.append(f"| {figure['what']} | {_value(figure)} | {_asked(figure)} |")
    return "\n".join(lines)


def _peers(results: Results) -> str:
    tables = [section["measurements"] for section in results["sections"]]
    [rows] = [rows for rows in tables if rows[0]["key"] == "ours clean"]
    lines = ["| | wall per line | CPU per line | peak MB |", "|---|---:|---:|---:|"]
    for row in rows:
        share = rows[0]["lines"] / row["lines"]
        lines.append(
            f"| {row['what']} | {share * row['wall_seconds'] / rows[0]['wall_seconds']:.1f} "
            f"| {share * row['cpu_seconds'] / rows[0]['cpu_seconds']:.1f} | {row['peak_mb']} |"
        )
    return "\n".join(lines)


def _value(figure: Mapping[str, Any]) -> str:
    value, unit = figure["value"], figure["unit"]
    return f"{value:.0f} MB" if unit == "MB" else f"{value:.1f} s" if unit == "s" else f"{value:.2f}"


def _asked(figure: Mapping[str, Any]) -> str:
    if figure["bound"] is None:
        return "–"
    return f"{'≥' if figure['is_least'] else '≤'} {figure['bound']:g}"


def _bound(figure: Mapping[str, Any]) -> str:
    if figure["bound"] is None:
        return ""
    return f"asked {_asked(figure)}{'' if figure['holds'] else '  MISSED'}"


if __name__ == "__main__":
    results_read = json.loads(RESULTS_PATH.read_text(encoding="utf-8"))
    README_PATH.write_text(in_readme(README_PATH.read_text(encoding="utf-8"), results_read), encoding="utf-8")
