"""The lease: the right to write, held by one run at a time and recorded in the database itself.

The run lock keeps runs apart immediately, and is released even if its holder dies: a lock file for the runs of one
machine, a server's lock for all. The lease says who is at work and since when, also holds between machines that share a
file, and guards every transaction: if its run has lost the lease, it is rolled back. So a run whose lock the server has
dropped, because the connection broke, writes nothing beside the run that replaced it.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import getnode, uuid4

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    String,
    column,
    delete,
    event,
    insert,
    inspect,
    select,
    table,
    update,
)
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import (
    WHO_DOES_THE_REST,
    DatabaseError,
    LeaseLostError,
    RunInProgressError,
)
from src.marketing_messaging_service.infrastructure.database import (
    UtcDateTime,
    file_of,
    is_reading,
    read_transaction,
    utc_now,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.replacement import file_identity, refuse_another_file
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows

RENEWALS_A_LEASE = 4
"""How often a lease is renewed within the time that it lasts."""

LONGEST_LEASE = timedelta(days=1)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux identifies the current boot; all containers of a machine read the same."""

_MACHINE_LETTERS = 24

_AFTER_MACHINE = "-"
"""Separates the machine and the run's own part in a holder's id."""

LARGEST_SKEW = timedelta(minutes=1)
"""How far another machine's clock may be ahead of this one's without a remark."""

LEASE = table(
    "run_leases",
    column("lease_position", Integer),
    column("holder_id", String),
    column("holder_name", String),
    column("flow_run_id", String),
    column("host_name", String),
    column("process_number", Integer),
    column("acquired_at", UtcDateTime),
    column("renewed_at", UtcDateTime),
    column("expires_at", UtcDateTime),
)
"""The model RunLease describes the columns."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease."""

    holder_id: str
    holder_name: str
    host_name: str
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime
    seen_at: datetime = field(compare=False)
    """When this machine read it, by its own clock; the other times come from the holder's clock."""

    @property
    def duration(self) -> timedelta:
        """How long a heartbeat of the holder lasts; no setting makes it longer than a day."""
        return min(self.expires_at - self.renewed_at, LONGEST_LEASE)

    def __str__(self) -> str:
        told = f"{self.holder_name}, at work since {self.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
        ahead = self.expires_at - self.duration - self.seen_at
        if ahead < LARGEST_SKEW:
            return told
        return (
            f"{told} by the clock of the machine {self.host_name}, which is {_length(ahead)} ahead of this one's "
            f"(correct the wrong clock; if nothing is at work there, a run that may wait for more than "
            f"{self.duration.total_seconds():g} s, see RUN_LOCK_TIMEOUT_SECONDS, takes over)"
        )


def read_holder(engine: Engine) -> Holder | None:
    """Return who holds the lease; None if nobody does, or the database has no leases yet."""
    with read_transaction(engine) as connection:
        return _holder(connection) if inspect(connection).has_table(LEASE.name) else None


@contextmanager
def run_lease(
    engine: Engine,
    holder_name: str,
    *,
    flow_run_id: str | None,
    lease_seconds: float,
    wait: Callable[[Holder], bool],
) -> Iterator[None]:
    """Hold the lease, renewed by a thread and by each write transaction of the engine, and release it at the end.

    While another run holds it, `wait` is called repeatedly with the holder; it sleeps, and returns whether to continue
    waiting. The lease of a run killed on this machine since it booted is taken at once, because the caller holds the
    run lock; so is any lease where that lock covers all machines. Otherwise the lease of another machine, even one of
    the same name, is taken when it has expired, or when no heartbeat was seen for as long as one lasts: that machine's
    clock may be wrong. Raises RunInProgressError when the wait is over, and a write transaction of the engine raises
    LeaseLostError when another run has taken the lease meanwhile.
    """
    lease = _Lease(engine, holder_name, flow_run_id, lease_seconds)
    lease.acquire(wait)
    try:
        with lease.guarding_transactions(), lease.beating():
            yield
    finally:
        lease.release()


class _Lease:
    def __init__(self, engine: Engine, holder_name: str, flow_run_id: str | None, lease_seconds: float) -> None:
        self._engine = engine
        self._holder_id = f"{_machine()}{_AFTER_MACHINE}{uuid4().hex}"
        self._holder_name = holder_name
        self._flow_run_id = flow_run_id
        self._duration = timedelta(seconds=lease_seconds)
        self._file = file_identity(file_of(engine))
        self._is_alone = dialect_named(engine.dialect.name).lock_spans_machines
        self._seen: Holder | None = None
        self._seen_since = 0.0

    def acquire(self, wait: Callable[[Holder], bool]) -> None:
        """Take the lease, waiting for it as long as `wait` allows."""
        while (holder := self._try_to_acquire()) is not None:
            if not wait(holder):
                raise RunInProgressError(f"Another run is at work: {holder}.")

    def _try_to_acquire(self) -> Holder | None:
        """Take the lease unless somebody holds it; return the holder, or None if it was taken."""
        now = utc_now()
        with read_transaction(self._engine) as connection:
            holder = _holder(connection)
        if holder is not None and not (self._may_take(holder, now) or self._has_stood_still(holder)):
            return holder
        try:
            with write_transaction(self._engine) as connection:
                current = _holder(connection)
                if current != holder:
                    return current or holder
                self._take(connection, now)
        except DatabaseError as error:
            # The holder may be busy in a transaction for longer than the lease lasts. Waiting does not help with any
            # other trouble, such as a full disk that kept a failed run from releasing its lease.
            if holder is None or not error.may_pass:
                raise
            return holder
        return None

    def _take(self, connection: Connection, now: datetime) -> None:
        connection.execute(delete(LEASE))
        entered = connection.execute(
            insert(LEASE).values(
                lease_position=1,
                holder_id=self._holder_id,
                holder_name=self._holder_name,
                flow_run_id=self._flow_run_id,
                host_name=socket.gethostname(),
                process_number=os.getpid(),
                acquired_at=now,
                renewed_at=now,
                expires_at=now + self._duration,
            )
        )
        refuse_lost_rows(connection, {LEASE.name: (1, entered.rowcount)})

    def _may_take(self, holder: Holder, now: datetime) -> bool:
        return self._is_alone or _is_of_this_machine(holder) or holder.expires_at <= now

    def _has_stood_still(self, holder: Holder) -> bool:
        """Whether a holder has not renewed its lease for as long as it lasts, by this machine's own watch."""
        if holder != self._seen:
            self._seen, self._seen_since = holder, time.monotonic()
        return time.monotonic() - self._seen_since >= max(holder.duration, self._duration).total_seconds()

    @contextmanager
    def guarding_transactions(self) -> Iterator[None]:
        """Make each transaction of the engine renew the lease before its commit, and fail when it is lost.

        A long transaction keeps the thread from renewing, but the same lock keeps everybody else from taking the lease;
        renewing within the transaction leaves no gap.
        """

        def renew(connection: Connection) -> None:
            if not is_reading(connection):
                # Otherwise the commit would go into a file that was moved away.
                refuse_another_file(file_of(self._engine), self._file)
                self._renew(connection)

        event.listen(self._engine, "commit", renew)
        try:
            yield
        finally:
            event.remove(self._engine, "commit", renew)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renew the lease from a thread, again and again."""
        is_over = threading.Event()
        heart = threading.Thread(target=self._beat, args=(is_over,), name="run lease", daemon=True)
        heart.start()
        try:
            yield
        finally:
            is_over.set()
            heart.join()

    def _beat(self, is_over: threading.Event) -> None:
        interval = self._duration.total_seconds() / RENEWALS_A_LEASE
        while not is_over.wait(interval):
            # Busy: the run itself writes, and renews. Lease lost, or disk trouble: its next transaction will say so.
            with suppress(DatabaseError, LeaseLostError, DBAPIError), write_transaction(self._engine):
                pass

    def _renew(self, connection: Connection) -> None:
        now = utc_now()
        renewed = connection.execute(
            update(LEASE)
            .where(LEASE.c.holder_id == self._holder_id)
            .values(renewed_at=now, expires_at=now + self._duration)
        )
        if renewed.rowcount != 1:
            seconds = self._duration.total_seconds()
            raise LeaseLostError(
                "Another run took over, because the connection with which this one held the database broke. Its "
                f"uncommitted work was rolled back. {WHO_DOES_THE_REST}"
                if self._is_alone
                else f"Another run took over, because this one sent no heartbeat for {seconds:g} s. Its uncommitted "
                f"work was rolled back. {WHO_DOES_THE_REST}"
            )

    def release(self) -> None:
        """Release the lease, if it is still held; one that cannot be released expires."""
        with suppress(DatabaseError, DBAPIError), write_transaction(self._engine) as connection:
            connection.execute(delete(LEASE).where(LEASE.c.holder_id == self._holder_id))


def _is_of_this_machine(holder: Holder) -> bool:
    """Whether the holder ran on this machine since it last booted, so that the lock file kept them apart.

    Machines and containers that are copies of each other share a name, and their process numbers mean nothing here. If
    it is not certain that the holder was on this machine, it is taken to be on another one, whose lease is waited for.
    """
    machine, _, rest = holder.holder_id.partition(_AFTER_MACHINE)
    return bool(rest) and machine == _machine() and holder.host_name == socket.gethostname()


def _machine() -> str:
    """Return an id of this machine's current boot, different from all other boots and machines."""
    try:
        name = _BOOT_ID.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        # If there is none: the address of a network card or, without a card, a number of this process.
        name = f"{getnode()}"
    return sha256(name.encode()).hexdigest()[:_MACHINE_LETTERS]


def _holder(connection: Connection) -> Holder | None:
    row = connection.execute(
        select(
            LEASE.c.holder_id,
            LEASE.c.holder_name,
            LEASE.c.host_name,
            LEASE.c.acquired_at,
            LEASE.c.renewed_at,
            LEASE.c.expires_at,
        )
    ).first()
    return None if row is None else Holder(**row._mapping, seen_at=utc_now())


def _length(time_span: timedelta) -> str:
    """A length of time in the largest unit of which it has at least two."""
    seconds = time_span.total_seconds()
    for unit, length in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // 60:.0f} minutes"
