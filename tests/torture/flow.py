"""The true flow, `python -m flows.hourly`, under the same faults; each run costs ten seconds of Prefect's start.

`python -m tests.torture.flow <order>` is the process in which it runs.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from tests.torture.forks import KILLED, Ending
from tests.torture.orders import Order
from tests.torture.scene import AS_OF, PROJECT, Scene

POINTS = "points-flow.txt"


def run_flow(order: Order, prefect_home: Path) -> Ending:
    """Run the flow in a process of its own, and leave nothing of it behind, not even Prefect's server."""
    scene = Scene(Path(order.folder))
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**own, **scene.settings(), "PREFECT_HOME": str(prefect_home)}
    output = scene.folder / "output-flow.txt"
    points = scene.folder / POINTS
    points.unlink(missing_ok=True)
    began = time.monotonic()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.flow", json.dumps(asdict(order))],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            exit_code = process.wait(timeout=order.longest_seconds)
        finally:
            _end_group(process)
    text = output.read_text(encoding="utf-8", errors="replace")
    passed = tuple(points.read_text(encoding="utf-8").splitlines()) if points.exists() else ()
    return Ending(exit_code, text, passed, time.monotonic() - began)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what the process has started: a killed flow leaves its temporary server running."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def main() -> None:
    """Run the flow with the fault of an order laid in wait for it."""
    # Imported here, because the parent has no need of Prefect.
    from flows import hourly  # noqa: PLC0415
    from tests.torture import victim  # noqa: PLC0415

    order = Order(**json.loads(sys.argv[1]))
    points = os.open(Path(order.folder) / POINTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    victim.prepare(order, points)
    sys.argv = ["hourly", "--as-of", AS_OF.isoformat()]
    sys.exit(hourly.main())


def killed_flow(scene: Scene, at: int, prefect_home: Path) -> tuple[str, list[str]]:
    """Let a flow kill itself at a point; return where it was, and what was not right."""
    ending = run_flow(Order(str(scene.folder), fault="kill", at=at), prefect_home)
    breaches = [] if ending.exit_code == KILLED else [f"ended with {ending.exit_code}: {ending.output}"]
    return ending.last_point, breaches


def terminated_flow(scene: Scene, at: int, prefect_home: Path) -> tuple[str, list[str]]:
    """Ask a flow to stop at a point: it says so, without a traceback, and ends with 1."""
    ending = run_flow(replace(Order(str(scene.folder)), fault="terminate", at=at), prefect_home)
    breaches = [told] if (told := ending.fault()) else []
    if ending.exit_code != 1 or "Stopped by SIGTERM at a safe point." not in ending.output:
        breaches.append(f"ended with {ending.exit_code}: {ending.output}")
    return ending.points[at] if at < len(ending.points) else ending.last_point, breaches


if __name__ == "__main__":
    main()
