"""The ways in which a run can end, and what else it can say: what each means, and what to do."""

from enum import StrEnum
from typing import Self


class RunEnding(StrEnum):
    """A way in which a run can end, or something that it can say, with its state in Prefect and its sentence.

    To add one, add it only here: the table of docs/operations.md is made from this, in this order.
    """

    state: str
    """The state that the Prefect UI shows, or where else it appears."""
    meaning: str
    remedy: str

    def __new__(cls, sentence: str, state: str, meaning: str, remedy: str) -> Self:
        """Return the sentence, with `…` for what differs, and its meaning."""
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
    NOT_TAKEN = (
        "… files not taken because of their names: …",
        "Completed",
        "no pattern of sources.yaml takes files named like that; behind each name is what the file seems to be",
        "rename a file of events, or add a pattern (docs/sources.md): the next run takes it; move any other file away",
    )
    NOT_READ = (
        "… files of which no line can be read: …",
        "Completed",
        "they are still there, and an earlier run has failed because of them",
        "what the sentence says behind each name, then put the corrected file in its place; the next run takes it",
    )
    BEING_WRITTEN = (
        "… files still being written, left for the next run.",
        "Completed",
        "they changed while the run looked at them (`LANDING_SETTLE_SECONDS`)",
        "nothing",
    )
    IN_THE_FUTURE = (
        "… events are more than … h in the future of as_of and wait until their times have come…",
        "Completed",
        "a clock is wrong, of a producer or of this machine; as_of is the time of the run",
        "have the clock corrected; a later run decides the events when their time has come",
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
        "the run's age limit, `max_event_age_hours`, held them back",
        "nothing, if they may stay unsent (they are in `suppressions`, with the reason `expired`); else start a "
        "backfill of their time with `decide_again` and a larger `max_event_age_hours`",
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
        "get the producer fixed; correct the rejected lines, which are in `rejected_rows`, and replay them or deliver "
        "them in another file ([how](raw-events.md#reading-rejected-lines-again))",
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
        "look at the run that the sentence names; nothing for *hourly*; start any other run again",
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
        "the process was killed, mostly for lack of memory, or by a person; the next run puts the report on this run's "
        "page",
        "look for the reason in the machine's log (`journalctl -k`); nothing for *hourly*; start any other run again",
    )
    WORKER_DIED = (
        "The worker, or the whole machine, stopped in the middle of this run. …",
        "Crashed",
        "worker or machine went down; this was found out when the worker was started again",
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
        "start the worker; then nothing for *hourly*; start any other run again",
    )
    WITHOUT_A_WORD = (
        "It ended without a word. …",
        "Crashed; `killed` in `runs`",
        "the run was killed, by a power cut for example, so it could not say why",
        "nothing for *hourly*; start any other run again",
    )
    DEFECT = (
        "A defect, please report it: …",
        "Failed, with a traceback",
        "a mistake in this program; the run's transaction was rolled back",
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
        "BROKEN: … of … promises: …",
        "*check* Failed",
        "the database breaks a promise; the report names the rows",
        "first copy the database as it is, then do what the report says; if that does not help, restore a copy "
        "([how](#what-to-back-up)), or ask",
    )
    READERS = (
        "a warning in the log: messaging.db-wal holds … MB",
        "Completed",
        "another program has been reading the database for a whole run or longer, so the file grows",
        "end that program, or its query; the next run empties the file",
    )
