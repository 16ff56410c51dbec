"""What the database promises: one suite on SQLite and PostgreSQL, with tables of its own rooms."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
import pytest_asyncio
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.util.concurrency import await_

from dev_servers import free_port
from tests.factories import SYSTEM
from voltyard.accounts.tables import teammates
from voltyard.chargers.tables import connectors
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.db import (
    TRIES_MAX,
    AlreadyThere,
    Database,
    DatabaseUnavailable,
    NotThere,
    Unstorable,
    UtcTime,
    Work,
)
from voltyard.kernel.errors import Conflict, VoltyardError
from voltyard.kernel.leases import leases
from voltyard.kernel.wire import Message

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WAIT_S = 10.0


class Told(Message, frozen=True):
    number: int


class Refusal(Conflict):
    """What a room raises in the middle of a Work."""

    title = "No"


def put(work: Work, name: str, holder: str = "h", until_at: datetime = NOW) -> None:
    work.insert(leases, name=name, holder=holder, until_at=until_at)


def names(work: Work) -> list[str]:
    return [row.name for row in work.rows(sa.select(leases.c.name).order_by(leases.c.name))]


async def stored(ctx) -> list[str]:
    return await ctx.db.read(SYSTEM, names)


def pause_in(db: Database, wait: asyncio.Event) -> None:
    """Wait inside a Work for something outside of it, as no Work in the house ever does."""
    if db.is_sqlite:
        asyncio.run_coroutine_threadsafe(wait.wait(), loops[0]).result(WAIT_S)
    else:
        await_(wait.wait())


loops: list[asyncio.AbstractEventLoop] = []


@pytest_asyncio.fixture(autouse=True)
async def this_loop():
    loops[:] = [asyncio.get_running_loop()]
    yield
    loops.clear()


# --- commit and rollback --------------------------------------------------------------------------


async def test_what_a_work_did_is_there_afterwards_and_its_result_is_returned(ctx):
    def act(work: Work, one: str, *, two: str) -> str:
        put(work, one)
        put(work, two)
        return f"{one} and {two}"

    assert await ctx.db.work(SYSTEM, act, "a", two="b") == "a and b"
    assert await stored(ctx) == ["a", "b"]


async def test_a_work_knows_who_acts_and_when(ctx, clock):
    clock.advance(5)
    assert await ctx.db.work(SYSTEM, lambda work: (work.actor, work.now)) == (SYSTEM, clock.now())
    assert await ctx.db.read(SYSTEM, lambda work: (work.actor, work.now)) == (SYSTEM, clock.now())


@pytest.mark.parametrize("wrong", [Refusal("no"), ValueError("no"), KeyError("no")])
async def test_a_work_that_raises_leaves_nothing_and_its_error_comes_out_as_it_is(ctx, wrong):
    def act(work: Work) -> None:
        put(work, "a")
        raise wrong

    with pytest.raises(type(wrong)) as caught:
        await ctx.db.work(SYSTEM, act)
    assert caught.value is wrong
    assert await stored(ctx) == []
    await ctx.db.work(SYSTEM, put, "b")
    assert await stored(ctx) == ["b"]


async def test_a_work_sees_what_it_did_and_others_do_not_until_it_is_committed(ctx):
    goes_on, is_in = asyncio.Event(), asyncio.Event()

    def act(work: Work) -> list[str]:
        put(work, "a")
        loops[0].call_soon_threadsafe(is_in.set)
        pause_in(ctx.db, goes_on)
        return names(work)

    working = asyncio.create_task(ctx.db.work(SYSTEM, act))
    await is_in.wait()
    assert await stored(ctx) == []
    goes_on.set()
    assert await working == ["a"]
    assert await stored(ctx) == ["a"]


# --- events ---------------------------------------------------------------------------------------


async def test_events_are_told_after_the_commit_in_their_order(ctx, bus):
    listening = await bus.listen("x.>", queue_max=10)
    goes_on, is_in = asyncio.Event(), asyncio.Event()

    def act(work: Work) -> None:
        put(work, "a")
        for number in range(3):
            work.emit("x.y", Told(number))
        loops[0].call_soon_threadsafe(is_in.set)
        pause_in(ctx.db, goes_on)

    working = asyncio.create_task(ctx.db.work(SYSTEM, act))
    hearing = asyncio.create_task(listening.next())
    await is_in.wait()
    assert not hearing.done()
    goes_on.set()
    await working
    assert await hearing == ("x.y", Told(0))
    assert [await listening.next() for _ in range(2)] == [("x.y", Told(1)), ("x.y", Told(2))]
    assert await stored(ctx) == ["a"]


async def test_a_work_that_raises_tells_nothing(ctx, bus):
    listening = await bus.listen(">", queue_max=10)

    def act(work: Work) -> None:
        work.emit("x", Told(1))
        raise Refusal

    with pytest.raises(Refusal):
        await ctx.db.work(SYSTEM, act)
    await ctx.db.work(SYSTEM, lambda work: work.emit("x", Told(2)))
    assert await listening.next() == ("x", Told(2))


# --- reads ----------------------------------------------------------------------------------------


async def test_a_read_cannot_write(ctx):
    with pytest.raises(DatabaseUnavailable):
        await ctx.db.read(SYSTEM, put, "a")
    assert await stored(ctx) == []
    await ctx.db.work(SYSTEM, put, "b")


async def test_a_read_sees_one_instant_whatever_is_written_meanwhile(ctx):
    await ctx.db.work(SYSTEM, put, "a")
    goes_on, is_in = asyncio.Event(), asyncio.Event()

    def act(work: Work) -> tuple[list[str], list[str]]:
        before = names(work)
        loops[0].call_soon_threadsafe(is_in.set)
        pause_in(ctx.db, goes_on)
        return before, names(work)

    reading = asyncio.create_task(ctx.db.read(SYSTEM, act))
    await is_in.wait()
    await ctx.db.work(SYSTEM, put, "b")
    goes_on.set()
    assert await reading == (["a"], ["a"])
    assert await stored(ctx) == ["a", "b"]


async def test_many_readers_go_on_beside_a_write(ctx):
    goes_on, is_in = asyncio.Event(), asyncio.Event()

    def act(work: Work) -> None:
        put(work, "a")
        loops[0].call_soon_threadsafe(is_in.set)
        pause_in(ctx.db, goes_on)

    writing = asyncio.create_task(ctx.db.work(SYSTEM, act))
    await is_in.wait()
    async with asyncio.timeout(WAIT_S):
        assert await asyncio.gather(*(stored(ctx) for _ in range(50))) == [[]] * 50
    goes_on.set()
    await writing
    assert await asyncio.gather(*(stored(ctx) for _ in range(50))) == [["a"]] * 50


# --- several at once ------------------------------------------------------------------------------


async def test_works_at_once_lose_nothing(ctx):
    await ctx.db.work(SYSTEM, put, "counter", "0")

    def add(work: Work) -> None:
        row = work.row(sa.select(leases.c.holder).where(leases.c.name == "counter").with_for_update())
        work.run(sa.update(leases).values(holder=str(int(row.holder) + 1)))

    await asyncio.gather(*(ctx.db.work(SYSTEM, add) for _ in range(40)))
    assert await ctx.db.read(SYSTEM, lambda work: work.value(sa.select(leases.c.holder))) == "40"


async def test_of_two_who_insert_the_same_one_is_refused(ctx):
    outcomes = await asyncio.gather(
        *(ctx.db.work(SYSTEM, put, "a") for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["AlreadyThere", "NoneType"]
    assert await stored(ctx) == ["a"]


async def test_works_that_block_one_another_are_run_again(postgres_url, clock, bus):
    database = Database(postgres_url, clock=clock, bus=bus)
    for name in ("a", "b"):
        await database.work(SYSTEM, put, name)
    both_hold_one = asyncio.Barrier(2)
    tries = []

    def act(work: Work, first: str, second: str) -> None:
        tries.append(first)
        work.run(sa.text("set local deadlock_timeout = '10ms'"))
        work.run(sa.update(leases).where(leases.c.name == first).values(holder=first + second))
        if len(tries) <= 2:
            await_(both_hold_one.wait())
        work.run(sa.update(leases).where(leases.c.name == second).values(holder=first + second))

    await asyncio.gather(database.work(SYSTEM, act, "a", "b"), database.work(SYSTEM, act, "b", "a"))
    assert len(tries) == 3
    holders = await database.read(SYSTEM, lambda work: work.rows(sa.select(leases.c.holder).distinct()))
    assert len(holders) == 1
    await database.close()


async def test_a_work_is_not_run_again_for_ever(postgres_url, clock, bus):
    database = Database(postgres_url, clock=clock, bus=bus)
    tries = []

    def act(work: Work) -> None:
        tries.append(1)
        work.run(sa.text("do $$ begin raise exception using errcode = '40001'; end $$"))

    with pytest.raises(DatabaseUnavailable):
        await database.work(SYSTEM, act)
    assert len(tries) == TRIES_MAX
    await database.close()


# --- a caller that goes away ----------------------------------------------------------------------


async def test_a_cancelled_caller_does_not_tear_a_transaction(ctx):
    goes_on, is_in = asyncio.Event(), asyncio.Event()

    def act(work: Work) -> None:
        put(work, "a")
        loops[0].call_soon_threadsafe(is_in.set)
        pause_in(ctx.db, goes_on)
        put(work, "b")

    working = asyncio.create_task(ctx.db.work(SYSTEM, act))
    await is_in.wait()
    working.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.wait([working], timeout=WAIT_S)
    assert working.cancelled()
    await ctx.db.work(SYSTEM, put, "c")
    # On SQLite it runs to its end, on PostgreSQL it is rolled back; on neither a half stays.
    assert await stored(ctx) == (["a", "b", "c"] if ctx.db.is_sqlite else ["c"])


async def test_callers_that_go_away_while_they_queue_harm_nobody(ctx):
    working = [asyncio.create_task(ctx.db.work(SYSTEM, put, f"n{number}")) for number in range(30)]
    await asyncio.sleep(0)
    for task in working[::2]:
        task.cancel()
    await asyncio.wait(working, timeout=WAIT_S)
    assert {f"n{number}" for number in range(1, 30, 2)} <= set(await stored(ctx))


async def test_a_cancelled_read_leaves_the_readers_well(ctx):
    goes_on, is_in = asyncio.Event(), asyncio.Event()

    def act(work: Work) -> None:
        loops[0].call_soon_threadsafe(is_in.set)
        pause_in(ctx.db, goes_on)

    reading = asyncio.create_task(ctx.db.read(SYSTEM, act))
    await is_in.wait()
    reading.cancel()
    await asyncio.wait([reading], timeout=WAIT_S)
    goes_on.set()
    assert await asyncio.gather(*(stored(ctx) for _ in range(20))) == [[]] * 20


# --- what the database refuses --------------------------------------------------------------------


async def test_a_second_row_with_a_unique_value_is_already_there(ctx):
    await ctx.db.work(SYSTEM, put, "a")
    with pytest.raises(AlreadyThere):
        await ctx.db.work(SYSTEM, put, "a")


async def test_a_row_that_names_nothing_is_refused_for_that_reason(ctx):
    with pytest.raises(NotThere):
        await ctx.db.work(
            SYSTEM, lambda work: work.insert(teammates, team_id="t", user_id="u", role="r", since_at=NOW)
        )


@pytest.mark.parametrize("number", [2**40, 2**70])
async def test_a_number_too_large_for_its_column_is_unstorable(ctx, number):
    values = {
        "charger_id": "c",
        "number": number,
        "status": "",
        "error": "",
        "status_at": NOW,
        "heard_at": NOW,
    }
    is_held_by_sqlite = ctx.db.is_sqlite and number < 2**63  # which then misses the charger
    with pytest.raises(NotThere if is_held_by_sqlite else Unstorable):
        await ctx.db.work(SYSTEM, lambda work: work.insert(connectors, **values))


@pytest.mark.parametrize("name", ["x" * 200, "a\x00b", "\ud800"])
async def test_a_text_that_its_column_cannot_hold_is_unstorable_where_that_matters(ctx, name):
    try:
        await ctx.db.work(SYSTEM, put, name)
    except Unstorable:
        assert await stored(ctx) == []
    else:
        assert ctx.db.is_sqlite
        assert await stored(ctx) == [name]


@pytest.mark.parametrize("statement", ["selec 1", "select * from nowhere"])
async def test_a_mistake_of_ours_is_not_taken_for_trouble_of_the_database(ctx, statement):
    with pytest.raises(DBAPIError):
        await ctx.db.work(SYSTEM, lambda work: work.run(sa.text(statement)))


async def test_a_missing_value_is_a_mistake_of_ours(ctx):
    with pytest.raises(DBAPIError):
        await ctx.db.work(SYSTEM, put, "a", None)


# --- time -----------------------------------------------------------------------------------------


async def test_a_naive_time_is_refused(ctx):
    with pytest.raises((StatementError, AssertionError)):
        await ctx.db.work(SYSTEM, put, "a", until_at=NOW.replace(tzinfo=None))
    with pytest.raises((StatementError, AssertionError)):
        await ctx.db.work(
            SYSTEM,
            lambda work: work.insert_new(
                leases, [{"name": "a", "holder": "", "until_at": NOW.replace(tzinfo=None)}]
            ),
        )
    assert await stored(ctx) == []


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(1900, 1, 2), datetime(2999, 12, 30), timezones=zones)  # noqa: DTZ001


@given(st.lists(instants, min_size=1, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
async def test_instants_come_back_as_they_went_in_utc_and_sort_as_time_does(ctx, told):
    def act(work: Work) -> tuple[list[datetime], list[str], int]:
        work.run(sa.delete(leases))
        rows = [{"name": f"{n:03}", "holder": "h", "until_at": at} for n, at in enumerate(told)]
        work.insert_new(leases, rows, key=("name",))
        back = [row.until_at for row in work.rows(sa.select(leases.c.until_at).order_by(leases.c.name))]
        by_time = [
            row.name for row in work.rows(sa.select(leases.c.name).order_by(leases.c.until_at, leases.c.name))
        ]
        later = work.value(sa.select(sa.func.count()).where(leases.c.until_at > told[0]))
        return back, by_time, later

    back, by_time, later = await ctx.db.work(SYSTEM, act)
    assert back == told
    assert all(at.utcoffset() == timedelta(0) for at in back)
    assert by_time == [f"{n:03}" for n, _ in sorted(enumerate(told), key=lambda pair: (pair[1], pair[0]))]
    assert later == sum(at > told[0] for at in told)


def test_no_time_stays_no_time():
    dialect = sa.create_engine("sqlite://").dialect
    assert UtcTime().process_bind_param(None, dialect) is None
    assert UtcTime().process_result_value(None, dialect) is None


# --- statements for many rows ---------------------------------------------------------------------


def rows(*pairs: tuple[str, str]) -> list[dict[str, object]]:
    return [{"name": name, "holder": holder, "until_at": NOW} for name, holder in pairs]


async def held(ctx) -> dict[str, str]:
    found = await ctx.db.read(SYSTEM, lambda work: work.rows(sa.select(leases.c.name, leases.c.holder)))
    return {row.name: row.holder for row in found}


async def test_insert_new_leaves_out_what_is_there_already(ctx):
    await ctx.db.work(SYSTEM, put, "a", "old")
    for key in (("name",), ()):
        await ctx.db.work(
            SYSTEM, lambda work, key=key: work.insert_new(leases, rows(("a", "x"), ("b", "y")), key=key)
        )
    assert await held(ctx) == {"a": "old", "b": "y"}


async def test_upsert_overwrites_what_is_there_already_and_the_last_of_several_counts(ctx):
    await ctx.db.work(SYSTEM, put, "a", "old")
    await ctx.db.work(
        SYSTEM, lambda work: work.upsert(leases, rows(("a", "x"), ("b", "y"), ("a", "z")), key=("name",))
    )
    assert await held(ctx) == {"a": "z", "b": "y"}


async def test_an_upsert_of_nothing_but_keys_inserts_what_is_new(ctx):
    key = ("name", "holder", "until_at")
    table = sa.Table("pairs", sa.MetaData(), *(sa.Column(c, leases.c[c].type, primary_key=True) for c in key))

    def act(work: Work) -> int:
        table.create(work.connection)
        for _ in range(2):
            work.upsert(table, rows(("a", "x")), key=key)
        return work.value(sa.select(sa.func.count()).select_from(table))

    assert await ctx.db.work(SYSTEM, act) == 1


async def test_many_rows_are_inserted_and_changed_in_one_go(ctx):
    change = sa.update(leases).where(leases.c.name == sa.bindparam("key")).values(holder=sa.bindparam("new"))

    def act(work: Work) -> None:
        work.insert_many(leases, rows(("a", "x"), ("b", "y"), ("c", "z")))
        work.run_many(change, [{"key": "a", "new": "1"}, {"key": "c", "new": "3"}])

    await ctx.db.work(SYSTEM, act)
    assert await held(ctx) == {"a": "1", "b": "y", "c": "3"}


async def test_no_rows_are_no_statement(ctx):
    def act(work: Work) -> None:
        work.insert_many(leases, [])
        work.insert_new(leases, [], key=("name",))
        work.upsert(leases, [], key=("name",))
        work.run_many(sa.update(leases), [])

    await ctx.db.work(SYSTEM, act)
    assert await stored(ctx) == []


async def test_small_letters_are_found_in_every_alphabet(ctx):
    lowered = await ctx.db.read(
        SYSTEM, lambda work: work.value(sa.select(sa.func.lower(sa.literal("ØSTERGÅRD Straße"))))
    )
    assert lowered == "østergård straße"


async def test_values_rows_and_counts_come_back(ctx):
    def act(work: Work) -> None:
        put(work, "a")
        put(work, "b")
        assert work.value(sa.select(sa.func.count()).select_from(leases)) == 2
        assert work.value(sa.select(leases.c.name).where(leases.c.name == "z")) is None
        assert work.row(sa.select(leases).where(leases.c.name == "z")) is None
        assert work.row(sa.select(leases).where(leases.c.name == "a")).holder == "h"
        assert work.run(sa.update(leases).values(holder="x")) == 2
        assert work.run(sa.delete(leases).where(leases.c.name == "z")) == 0

    await ctx.db.work(SYSTEM, act)


# --- when the database is gone --------------------------------------------------------------------


async def test_a_database_that_another_process_has_locked_is_unavailable_and_then_well_again(
    sqlite_url, clock, bus
):
    database = Database(f"{sqlite_url}?timeout=0.05", clock=clock, bus=bus)
    await database.work(SYSTEM, put, "a")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await database.work(SYSTEM, put, "b")
    assert await database.read(SYSTEM, names) == ["a"]
    other.execute("rollback")
    other.close()
    await database.work(SYSTEM, put, "c")
    assert await database.read(SYSTEM, names) == ["a", "c"]
    await database.close()


async def test_a_connection_that_is_cut_is_unavailable_and_then_well_again(postgres_url, clock, bus):
    database = Database(postgres_url, clock=clock, bus=bus)

    def act(work: Work) -> None:
        put(work, "a")
        work.run(sa.text("select pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DatabaseUnavailable):
        await database.work(SYSTEM, act)
    with pytest.raises(DatabaseUnavailable):
        await database.read(SYSTEM, act)
    await database.work(SYSTEM, put, "b")
    assert await database.read(SYSTEM, names) == ["b"]
    await database.close()


@pytest.mark.parametrize("wrong", ["nobody@127.0.0.1:{port}/postgres", "postgres@{server}/nowhere"])
async def test_a_server_or_database_that_is_not_there_is_unavailable(postgres_server, clock, bus, wrong):
    server = postgres_server.split("@")[1].split("/")[0]
    url = "postgresql://" + wrong.format(port=free_port(), server=server)
    database = Database(url, clock=clock, bus=bus)
    for act in (database.work, database.read):
        with pytest.raises(DatabaseUnavailable):
            await act(SYSTEM, names)
    await database.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path, bus):
    (tmp_path / "voltyard.db").write_bytes(b"not a database at all, only text" * 100)
    database = Database(f"sqlite:///{tmp_path / 'voltyard.db'}", clock=FakeClock(), bus=bus)
    with pytest.raises(DatabaseUnavailable):
        await database.work(SYSTEM, names)
    await database.close()


async def test_closing_lets_a_running_work_end(ctx, database_url, clock, bus):
    database = Database(database_url, clock=clock, bus=bus)
    working = [asyncio.create_task(database.work(SYSTEM, put, f"n{number}")) for number in range(5)]
    await asyncio.wait(working, timeout=WAIT_S)
    await database.close()
    assert all(task.exception() is None for task in working)
    assert len(await stored(ctx)) == 5


async def test_a_work_of_sqlite_runs_in_the_one_writer_thread(sqlite_ctx):
    found = await asyncio.gather(
        *(sqlite_ctx.db.work(SYSTEM, lambda _work: threading.current_thread().name) for _ in range(10))
    )
    assert len(set(found)) == 1
    assert found[0].startswith("voltyard-writer")


def test_errors_of_the_database_are_ours():
    assert issubclass(AlreadyThere, VoltyardError)
    assert DatabaseUnavailable.code() == "database_unavailable"
