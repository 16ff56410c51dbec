"""The database: one ``Work`` is one transaction and one plain function.

A room's function takes ``work`` first and is called as ``await db.work(actor, function, …)``. It is
not a coroutine, so nothing but the database can be awaited in a transaction: the language keeps
that rule. On SQLite the function runs in the one writer thread (``read`` in a reader's thread); on
PostgreSQL it runs in SQLAlchemy's greenlet over asyncpg. Same function, same SQL.

Events that a Work emits are told after its commit, at most once. A Work that raises leaves nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from voltyard.kernel.actor import Actor
from voltyard.kernel.bulk import Found, Prepared, found_rows, parameters, prepare, prepare_find
from voltyard.kernel.bus import Bus
from voltyard.kernel.clock import Clock
from voltyard.kernel.errors import Conflict, Invalid, NotFound, Unavailable, VoltyardError
from voltyard.kernel.wire import Message, encode

P = ParamSpec("P")
T = TypeVar("T")

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
READERS = 4
TRIES_MAX = 4
SERIALISATION_STATES = frozenset({"40001", "40P01"})
BUSY_S = 10.0
"""How long another process may hold SQLite's lock, unless the address says ``?timeout=…``."""
# The classes of SQLSTATE (PostgreSQL, appendix A) and the names of SQLite's result codes.
UNAVAILABLE_STATES = ("08", "25006", "28", "3D", "40", "53", "55P03", "57", "58")
UNAVAILABLE_NAMES = tuple(
    f"SQLITE_{name}"
    for name in (
        *("BUSY", "LOCKED", "FULL", "IOERR", "CANTOPEN", "READONLY", "CORRUPT", "NOTADB", "NOMEM"),
        *("PROTOCOL", "INTERRUPT"),
    )
)
UNIQUE_NAMES = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID")


class DatabaseUnavailable(Unavailable):
    """The database did not do its work: locked, full, or gone."""

    title = "The database is not available just now"


class AlreadyThere(Conflict):
    """Another row already holds this unique value."""

    title = "That exists already"


class NotThere(NotFound):
    """The row names another one that does not exist."""

    title = "It belongs to something that does not exist"


class Unstorable(Invalid):
    """A value is longer, larger or stranger than its column can hold."""

    title = "A value cannot be stored"


def problem_of(wrong: DBAPIError) -> VoltyardError | None:
    """Return what a driver's error means in our words; None for a mistake in our own statements."""
    state = getattr(wrong.orig, "sqlstate", None) or ""
    name = getattr(wrong.orig, "sqlite_errorname", None) or ""
    if state == "23505" or name in UNIQUE_NAMES:
        return AlreadyThere()
    if state == "23503" or name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotThere()
    if state.startswith("22") or name == "SQLITE_TOOBIG":
        return Unstorable()
    is_gone = wrong.connection_invalidated or (isinstance(wrong, InterfaceError) and not state)
    if is_gone or state.startswith(UNAVAILABLE_STATES) or name.startswith(UNAVAILABLE_NAMES):
        return DatabaseUnavailable()
    return None


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware instant in UTC; naive values are refused.

    ``timestamptz`` on PostgreSQL; on SQLite text of one fixed width, which sorts as time does.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the column type of this database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(32))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Turn an instant into what the driver takes."""
        if value is None:
            return None
        zone = value.tzinfo
        assert zone is not None, "naive datetime refused"
        if dialect.name == "sqlite":
            # Nearly all are in UTC already; each message binds several of them.
            return (value if zone is UTC else value.astimezone(UTC)).isoformat(timespec="microseconds")
        return value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Turn what the driver gave into an aware instant in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value)
        instant: datetime = value
        return instant.astimezone(UTC)


class Work:
    """One transaction: a connection, the time it began, and who acts."""

    __slots__ = ("_prepared", "actor", "connection", "events", "now")

    def __init__(
        self,
        connection: sa.Connection,
        now: datetime,
        actor: Actor,
        prepared: dict[Hashable, Prepared | Found] | None = None,
    ) -> None:
        self.connection = connection
        self._prepared = {} if prepared is None else prepared
        self.now = now
        self.actor = actor
        self.events: list[tuple[str, Message]] = []

    @property
    def is_sqlite(self) -> bool:
        """Say whether this is the embedded database."""
        return self.connection.dialect.name == "sqlite"

    def emit(self, subject: str, event: Message) -> None:
        """Tell an event once this Work is committed, at most once."""
        self.events.append((subject, event))

    def rows(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """Run a statement and return all its rows."""
        return self.connection.execute(statement).all()

    def find(self, statement: sa.Select[Any], **values: Any) -> list[Any]:
        """Run a question of the hot path with these parameters and return its rows.

        It is compiled once and kept: give one that a module holds, with ``bulk.among`` where it asks for
        many ids. The rows are tuples with the names of its columns.
        """
        found = self._prepared.get(statement)
        if found is None:
            found = self._prepared[statement] = prepare_find(statement, self.connection.dialect)
        assert isinstance(found, Found)
        taken = parameters(found.prepared, [values])[0]
        return found_rows(found, self.connection.exec_driver_sql(found.prepared.text, taken).all())

    def row(self, statement: sa.Executable) -> sa.Row[Any] | None:
        """Run a statement and return its first row, if any."""
        return self.connection.execute(statement).first()

    def value(self, statement: sa.Executable) -> Any:
        """Run a statement and return the first column of its first row, or None."""
        return self.connection.execute(statement).scalar()

    def run(self, statement: sa.Executable) -> int:
        """Run a statement that changes rows and return how many."""
        return self.connection.execute(statement).rowcount

    def run_many(self, statement: sa.ClauseElement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each row of parameters, in one go; no rows, no statement.

        The statement is compiled once and kept: give one that a module holds, not a new one each time.
        """
        if rows:
            self._run_prepared(statement, lambda: statement, None, rows)

    def _run_prepared(
        self,
        name: Hashable,
        write: Callable[[], sa.ClauseElement],
        columns: Sequence[str] | None,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        prepared = self._prepared.get(name)
        if prepared is None:
            prepared = self._prepared[name] = prepare(write(), self.connection.dialect, columns)
        assert isinstance(prepared, Prepared)
        self.connection.exec_driver_sql(prepared.text, parameters(prepared, rows))

    def insert(self, table: sa.Table, **values: Any) -> None:
        """Insert one row."""
        self.connection.execute(sa.insert(table), values)

    def insert_many(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns."""
        if rows:
            columns = tuple(rows[0])
            self._run_prepared(("insert", table.name, columns), lambda: sa.insert(table), columns, rows)

    def insert_new(
        self, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, key: Iterable[str] = ()
    ) -> None:
        """Insert rows, all with the same columns, and leave out those whose unique ``key`` exists already."""
        if not rows:
            return
        columns, unique = tuple(rows[0]), list(key) or None

        def write() -> sa.ClauseElement:
            return self._own_insert(table).on_conflict_do_nothing(index_elements=unique)

        self._run_prepared(("insert_new", table.name, columns, tuple(key)), write, columns, rows)

    def upsert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]) -> None:
        """Insert rows, all with the same columns, or overwrite those whose ``key`` exists already."""
        if not rows:
            return
        columns = tuple(rows[0])
        others = [name for name in columns if name not in key]
        if not others:
            self.insert_new(table, rows, key=key)
            return

        def write() -> sa.ClauseElement:
            insert = self._own_insert(table)
            return insert.on_conflict_do_update(
                index_elements=list(key), set_={name: insert.excluded[name] for name in others}
            )

        self._run_prepared(("upsert", table.name, columns, tuple(key)), write, columns, rows)

    def numbers(self, table: sa.Table, count: int) -> list[int]:
        """Reserve as many numbers of a table that counts by itself, for rows that are inserted in this Work.

        They rise; a Work that is undone leaves a gap on PostgreSQL.
        """
        if count <= 0:
            return []
        (column,) = table.primary_key.columns
        if self.connection.dialect.name == "sqlite":
            last = self.connection.exec_driver_sql(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)
            ).scalar()
            return list(range((last or 0) + 1, (last or 0) + 1 + count))
        sequence = sa.func.nextval(sa.func.pg_get_serial_sequence(table.name, column.name))
        found = self.connection.execute(
            sa.select(sequence).select_from(sa.func.generate_series(1, count).alias("each"))
        )
        return sorted(found.scalars())

    def _own_insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Return an insert in this database's own dialect, which knows conflicts."""
        return sqlite.insert(table) if self.connection.dialect.name == "sqlite" else postgresql.insert(table)


class _Store(Protocol):
    """Where transactions run: the part that differs between the two databases."""

    async def write(self, act: Callable[[sa.Connection], T]) -> T: ...

    async def read(self, act: Callable[[sa.Connection], T]) -> T: ...

    async def close(self) -> None: ...


class _SqliteStore:
    """One writer thread with its own connection, and a few readers beside it (WAL)."""

    def __init__(self, url: sa.URL) -> None:
        path = Path(url.database or "voltyard.db")
        path.parent.mkdir(parents=True, exist_ok=True)
        busy_s = float(str(url.query.get("timeout", BUSY_S)))
        self._writer_engine = _sqlite_engine(path, busy_s, begin="BEGIN IMMEDIATE", is_writer=True)
        self._reader_engine = _sqlite_engine(path, busy_s, begin="BEGIN", is_writer=False)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="voltyard-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="voltyard-reader")
        self._connection: sa.Connection | None = None

    def _write(self, act: Callable[[sa.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._writer_engine.connect()
        with self._connection.begin():
            return act(self._connection)

    def _read(self, act: Callable[[sa.Connection], T]) -> T:
        with self._reader_engine.connect() as connection, connection.begin() as transaction:
            try:
                return act(connection)
            finally:
                transaction.rollback()

    async def write(self, act: Callable[[sa.Connection], T]) -> T:
        return await _whole(asyncio.get_running_loop().run_in_executor(self._writer, self._write, act))

    async def read(self, act: Callable[[sa.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, act)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._writer_engine.dispose()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._close)
        self._writer.shutdown()
        self._readers.shutdown()
        self._reader_engine.dispose()


async def _whole(running: asyncio.Future[T]) -> T:
    """Wait for a transaction to its end even when the caller is cancelled: its outcome is decided there."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not running.done():
            await asyncio.wait([running])
        raise


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _sqlite_engine(path: Path, busy_s: float, *, begin: str, is_writer: bool) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"check_same_thread": False, "timeout": busy_s, "isolation_level": None},
        pool_size=1 if is_writer else READERS,
        max_overflow=0,
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # SQLite's own knows only ASCII: nobody would find Østergade.
        connection.create_function("lower", 1, _lower, deterministic=True)
        for pragma in (
            "journal_mode=WAL",
            # FULL: a committed StopTransaction survives a power cut, not only a crash of the process.
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16000",
            # A busy server rewrites the same pages all the time: many rewrites share one copy to the file.
            "wal_autocheckpoint=8000",
            "temp_store=MEMORY",
            f"query_only={'OFF' if is_writer else 'ON'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", start)
    return engine


class _PostgresStore:
    """A pool of asyncpg connections; the plain function runs in SQLAlchemy's greenlet."""

    def __init__(self, url: sa.URL) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"), pool_size=20, max_overflow=10, pool_pre_ping=False
        )
        # Repeatable read: all statements of one read see the same instant.
        self._read_engine = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    async def _run(self, connection: AsyncConnection, act: Callable[[sa.Connection], T]) -> T:
        async with connection.begin():
            return await connection.run_sync(act)

    async def _try_write(self, act: Callable[[sa.Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await self._run(connection, act)

    async def write(self, act: Callable[[sa.Connection], T]) -> T:
        for tries in range(1, TRIES_MAX + 1):
            try:
                return await self._try_write(act)
            except DBAPIError as wrong:
                state = getattr(wrong.orig, "sqlstate", None)
                if state not in SERIALISATION_STATES or tries == TRIES_MAX:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    async def read(self, act: Callable[[sa.Connection], T]) -> T:
        async with self._read_engine.connect() as connection:
            return await self._run(connection, act)

    async def close(self) -> None:
        await self._engine.dispose()


class Database:
    """The one way to the tables."""

    def __init__(self, url: str, *, clock: Clock, bus: Bus) -> None:
        parsed = sa.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._clock = clock
        self._bus = bus
        self._prepared: dict[Hashable, Prepared | Found] = {}
        self._store: _Store = _SqliteStore(parsed) if self.is_sqlite else _PostgresStore(parsed)

    async def work(
        self, actor: Actor, act: Callable[Concatenate[Work, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``act(work, …)`` in one transaction, commit, tell its events, and return its result.

        The transaction is the function's alone: if it raises, nothing of it stays. It may run again
        after a serialisation failure, so it keeps its hands off everything but ``work``.
        Raises: whatever ``act`` raises; AlreadyThere; NotThere; Unstorable; DatabaseUnavailable.
        """

        def run(connection: sa.Connection) -> tuple[T, list[tuple[str, Message]]]:
            work = Work(connection, self._clock.now(), actor, self._prepared)
            return act(work, *args, **kwargs), work.events

        result, events = await self._guarded(self._store.write(run))
        for subject, event in events:
            await self._bus.publish(subject, event)
        return result

    async def read(
        self, actor: Actor, act: Callable[Concatenate[Work, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``act(work, …)`` against one consistent snapshot that cannot be written to."""

        def run(connection: sa.Connection) -> T:
            return act(Work(connection, self._clock.now(), actor, self._prepared), *args, **kwargs)

        return await self._guarded(self._store.read(run))

    async def _guarded(self, running: Awaitable[T]) -> T:
        try:
            return await running
        except DBAPIError as wrong:
            problem = problem_of(wrong)
            if problem is None:
                raise
            raise problem from wrong
        except (OSError, TimeoutError, PoolTimeout) as wrong:
            raise DatabaseUnavailable from wrong
        except (OverflowError, UnicodeEncodeError) as wrong:  # SQLite's driver, before any statement runs
            raise Unstorable from wrong

    async def close(self) -> None:
        """Let running transactions end and give the connections back."""
        await self._store.close()


def pack(value: object) -> str:
    """Write a plain value as JSON text for a text column."""
    return encode(value).decode()
