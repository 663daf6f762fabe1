"""The long form: `python -m tests.torture --help`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.torture.rig import Rig, Verdict
from tests.torture.sections import SECTIONS

SERVERS = 2
"""How many victims, or crowds of them, are at work at once."""

MOST_TOLD = 5
"""How many breaches of a section are reported in full."""


def main() -> int:
    """Run the sections, print what became of each, and return the exit code, which is 0 only without a breach."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description="The promises of the pipeline under faults."
    )
    parser.add_argument("--seed", type=int, default=1, help="what every chance follows from; 1 unless given")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    options = parser.parse_args()
    verdicts: dict[str, tuple[Verdict, float]] = {}
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), options.seed, SERVERS) as rig:
        for name in options.only:
            began = time.monotonic()
            verdict = SECTIONS[name](rig)
            verdicts[name] = verdict, time.monotonic() - began
            _tell(name, *verdicts[name])
    _tell_all(verdicts, options.seed)
    return 1 if any(verdict.breaches for verdict, _ in verdicts.values()) else 0


def _tell(name: str, verdict: Verdict, seconds: float) -> None:
    print(f"{name}: {verdict.count} {verdict.told}; {len(verdict.breaches)} breaches, {seconds:.0f} s")
    for line in verdict.details:
        print(f"    {line}")
    for breach in verdict.breaches[:MOST_TOLD]:
        print(f"    BREACH {breach}")
    print(flush=True)


def _tell_all(verdicts: Mapping[str, tuple[Verdict, float]], seed: int) -> None:
    print(f"{'section':<16}{'count':>9}{'breaches':>10}{'seconds':>9}")
    for name, (verdict, seconds) in verdicts.items():
        print(f"{name:<16}{verdict.count:>9}{len(verdict.breaches):>10}{seconds:>9.0f}")
    breaches = sum(len(verdict.breaches) for verdict, _ in verdicts.values())
    total = sum(seconds for _, seconds in verdicts.values())
    print(f"{'all':<16}{'':>9}{breaches:>10}{total:>9.0f}")
    print(f"Seed {seed}: {'every promise held' if not breaches else 'BROKEN'}.")


if __name__ == "__main__":
    sys.exit(main())
