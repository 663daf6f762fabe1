"""The ways in which a run can end, and what it can say besides: what each means, and what to do."""

from enum import StrEnum
from typing import Self


class RunEnding(StrEnum):
    """A way in which a run can end, or something that it can say, by its state in Prefect and how its sentence reads.

    One is added here and nowhere else: docs/operations.md has its table from here, in this order.
    """

    state: str
    """The state that the Prefect UI shows, or where else it is said."""
    meaning: str
    remedy: str

    def __new__(cls, sentence: str, state: str, meaning: str, remedy: str) -> Self:
        """Return the sentence, in which `…` stands for what differs, with what it means."""
        member = str.__new__(cls, sentence)
        member._value_ = sentence
        member.state = state
        member.meaning = meaning
        member.remedy = remedy
        return member

    WORK = "… files: … lines = …", "Completed", "new files were taken and their events decided", "nothing"
    NOTHING_NEW = (
        "Nothing new: … files in landing, all taken before.",
        "Completed",
        "no file came since the previous run (*no files in landing*: the folder is empty)",
        "nothing; *watch* says when that lasts too long",
    )
    REPLAYED = (
        "… rejected lines read again: … taken, … still rejected. …",
        "Completed",
        "a replay took the lines that are now events; the rest stays rejected",
        "see in the report why lines are rejected; correct sources.yaml, or the lines with `--export` and `--from`",
    )
    NOTHING_TO_REPLAY = (
        "There are no rejected lines … that wait for a replay. Nothing was taken.",
        "Completed",
        "no rejected line has that reason, file and time, or all of them were replayed",
        "nothing",
    )
    EXPIRED = (
        "… messages were not sent, because their events are older than the limit of … h.",
        "Completed",
        "the run's limit of age, `max_event_age_hours`, held them back",
        "look for the reason `expired` in `suppressions`; a larger `max_event_age_hours` lets later files of that age "
        "through; a backfill of their time with `decide_again` and such a limit lets the rules decide them again",
    )
    UNUSUAL = (
        "Unusual: … at this hour of the last four weeks it was … to ….",
        "Completed; *watch* Failed",
        "the share of rejected lines, or of messages, is outside the range of the last four weeks",
        "look at the rejected lines by reason and file in the report, and at the rules; nothing was held back",
    )
    PROBLEMS = (
        "… problems. …",
        "Failed",
        "something is wrong with a file or the rules; everything else was done",
        "what each problem says; the next run takes what was corrected",
    )
    REJECTED = (
        "…: … of … lines could not be read (… %), which is more than the … % that max_rejected_percent allows. …",
        "Failed",
        "a producer writes lines that are not events; the others were taken",
        "have the producer corrected, and the rejected lines, which `rejected_rows` holds, delivered in another file "
        "or replayed",
    )
    RETRIED = (
        "…: An earlier attempt of this run took it, and a retry reads no line again. …",
        "Failed",
        "*Retry* was pressed on a run that failed because of rejected lines; they are still rejected",
        "the same: deliver the corrected lines in another file, which the next run takes, or replay them",
    )
    WAITED = (
        "Another run is at work…",
        "Cancelled",
        "a run before it took longer than `RUN_LOCK_TIMEOUT_SECONDS`",
        "look at the run that the sentence names; start a backfill again; *hourly* carries on without help",
    )
    CANCELLED = (
        "Stopped by Cancel, or together with its worker. …",
        "Cancelled, or Crashed",
        "somebody cancelled the run, or its worker was stopped; what it had committed stays",
        "nothing for *hourly*; start any other run again",
    )
    STOPPED = (
        "Stopped by … at a safe point. …",
        "on a terminal",
        "Ctrl-C, or a signal to a run from the command line",
        "start it again",
    )
    NOT_BEGUN = (
        "no sentence, no log",
        "Cancelled",
        "it was cancelled before a worker took it",
        "nothing",
    )
    KILLED = (
        "Process exited with status code: …",
        "Crashed",
        "something killed the process: too little memory, or a person; the next run puts the report on this run's page",
        "look at the machine's log (`journalctl -k`); nothing for *hourly*; start any other run again",
    )
    WORKER_DIED = (
        "The worker, or the whole machine, stopped in the middle of this run. …",
        "Crashed",
        "found when the worker was started again",
        "nothing for *hourly*; start any other run again",
    )
    STOPPED_WITH_UP = (
        "Stopped together with its worker. …",
        "Crashed",
        "`make up` was ended by Ctrl-C while the run was at work",
        "nothing for *hourly*; start any other run again",
    )
    NO_SIGN_OF_LIFE = (
        "The run has given no sign of life. …",
        "Crashed",
        "worker and run died, and nobody started the worker again",
        "start the worker",
    )
    WITHOUT_A_WORD = (
        "It ended without a word. …",
        "Crashed; `killed` in `runs`",
        "the report of a run that was killed",
        "nothing for *hourly*; start any other run again",
    )
    DEFECT = (
        "A defect, please report it: …",
        "Failed, with a traceback",
        "something that nobody foresaw; the run's transaction was rolled back",
        "report it with the log; start the run again, which may well succeed",
    )
    LATE = ("no sentence, no log; the state stays", "Late", "no worker takes the run", "start the worker")
    RUNNING = (
        "nothing in the log for hours; the state stays",
        "Running",
        "its worker died, and was not started again",
        "start the worker",
    )
    BROKEN = (
        "BROKEN: … of … invariants: …",
        "*check* Failed",
        "the database does not hold a promise; the report names the rows",
        "what the report says; keep a copy of the file as it is, put one back, or ask",
    )
    READERS = (
        "a warning in the log: messaging.db-wal holds … MB",
        "Completed",
        "a program kept one snapshot open for the whole of a run or longer",
        "end that program, or what it is reading; the next run empties the file",
    )
