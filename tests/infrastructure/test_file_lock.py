"""One at a time on a file."""

import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import DatabaseError, RunInProgressError
from src.marketing_messaging_service.infrastructure.file_lock import file_lock, lock_path

REPOSITORY = Path(__file__).resolve().parents[2]

HOLD_UNTIL_KILLED = """
import sys
from pathlib import Path
from src.marketing_messaging_service.infrastructure.file_lock import file_lock
with file_lock(Path(sys.argv[1]), 0, lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def not_expected_to_wait() -> None:
    """Fail: the lock was expected to be free."""
    pytest.fail("the lock was not free")


def test_a_free_lock_is_held_without_waiting_and_freed_at_the_end(tmp_path):
    for _ in range(2):
        with file_lock(tmp_path / "messaging.db", 0, not_expected_to_wait):
            assert (tmp_path / "messaging.db.lock").exists()


def test_the_lock_is_freed_when_the_run_fails(tmp_path):
    with pytest.raises(KeyError), file_lock(tmp_path / "messaging.db", 0, not_expected_to_wait):
        raise KeyError
    with file_lock(tmp_path / "messaging.db", 0, not_expected_to_wait):
        pass


def test_runs_on_different_databases_do_not_wait_for_each_other(tmp_path):
    with (
        file_lock(tmp_path / "one.db", 0, not_expected_to_wait),
        file_lock(tmp_path / "two.db", 0, not_expected_to_wait),
    ):
        pass


def test_a_second_run_hears_once_that_it_waits_and_then_gets_its_turn(tmp_path):
    second_waits = threading.Event()
    told: list[str] = []

    def on_wait() -> None:
        told.append("waiting")
        second_waits.set()

    def second_run() -> str:
        with file_lock(tmp_path / "messaging.db", 30, on_wait):
            return "had its turn"

    with ThreadPoolExecutor(1) as pool:
        with file_lock(tmp_path / "messaging.db", 0, not_expected_to_wait):
            second = pool.submit(second_run)
            assert second_waits.wait(timeout=30)
            assert not second.done()
        assert second.result(timeout=30) == "had its turn"
    assert told == ["waiting"]


def test_a_second_run_gives_up_with_a_sentence_when_the_first_does_not_end_in_time(tmp_path):
    told: list[str] = []
    with (
        file_lock(tmp_path / "messaging.db", 0, not_expected_to_wait),
        pytest.raises(RunInProgressError) as caught,
        file_lock(tmp_path / "messaging.db", 0.1, lambda: told.append("waiting")),
    ):
        pytest.fail("two runs held the lock at once")
    assert told == ["waiting"]
    assert str(caught.value) == (
        f"Another run is at work on {tmp_path}/messaging.db and did not end within 0.1 s; nothing was done. "
        "What it leaves pending is taken by the next run."
    )


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    database_path = tmp_path / "messaging.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_UNTIL_KILLED, str(database_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunInProgressError), file_lock(database_path, 0, lambda: None):
            pass
        holder.kill()
    with file_lock(database_path, 0, not_expected_to_wait):
        pass


def test_one_database_reached_by_a_link_has_one_lock(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(tmp_path / "messaging.db")
    monkeypatch.chdir(tmp_path)
    assert lock_path(Path("messaging.db")) == lock_path(link) == tmp_path / "messaging.db.lock"


def test_a_missing_folder_is_an_error_that_says_so(tmp_path):
    with (
        pytest.raises(DatabaseError, match=r"The folder .*/missing of DATABASE_URL does not exist; create it"),
        file_lock(tmp_path / "missing" / "messaging.db", 0, not_expected_to_wait),
    ):
        pass


def refusal(folder: Path, setting: str = "DATABASE_URL") -> str:
    """The sentence that the lock of the database in a folder is refused with."""
    with (
        pytest.raises(DatabaseError) as caught,
        file_lock(folder / "messaging.db", 0, not_expected_to_wait, setting=setting),
    ):
        pass
    return str(caught.value)


def test_a_lock_file_that_is_a_folder_is_an_error_that_says_so(tmp_path):
    (tmp_path / "messaging.db.lock").mkdir()
    assert refusal(tmp_path) == (
        f"The lock file {tmp_path}/messaging.db.lock of DATABASE_URL cannot be written to (it is a folder). Delete it "
        "while no run is at work, then run again."
    )


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_lock_file_that_is_a_link_is_an_error_that_says_so_and_is_not_followed(tmp_path, target):
    (tmp_path / "there").touch()
    (tmp_path / "messaging.db.lock").symlink_to(tmp_path / target)
    assert "cannot be written to (it is a link, and links are not followed there). Delete it while" in refusal(tmp_path)
    assert not (tmp_path / "nowhere").exists()


AS_NOBODY = """
import os, sys
from pathlib import Path
from src.marketing_messaging_service.infrastructure.file_lock import file_lock
from src.marketing_messaging_service.errors import DatabaseError
os.setgid(65534)
os.setuid(65534)
try:
    with file_lock(Path(sys.argv[1]), 0, lambda: None):
        print("held")
except DatabaseError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only the superuser can become somebody else")
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_lock_file_of_another_user_is_an_error_that_says_so(mode):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "messaging.db.lock").touch(mode=mode)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(folder / "messaging.db")],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == (
        f"The lock file {folder}/messaging.db.lock of DATABASE_URL cannot be written to (it belongs to the user root, "
        "but this run's user is nobody: start all runs as one user). Delete it while no run is at work, then "
        "run again.\n"
    )


def test_the_setting_that_leads_to_the_lock_is_named(tmp_path):
    (tmp_path / "messaging.db.lock").mkdir()
    assert "messaging.db.lock of PUBLISH_PATH cannot be written to" in refusal(tmp_path, "PUBLISH_PATH")
    assert "/missing of PUBLISH_PATH does not exist" in refusal(tmp_path / "missing", "PUBLISH_PATH")
