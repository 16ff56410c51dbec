from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from voltyard.kernel.bulk import among, parameters, prepare
from voltyard.kernel.db import UtcTime
from voltyard.kernel.jobs import Wake, enqueue, jobs
from voltyard.kernel.leases import leases

TABLE = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("is_good", sa.Boolean),
    sa.Column("at", UtcTime),
)
NOON = datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))
LEASES = [{"name": f"n{number}", "holder": "h", "until_at": NOON} for number in range(3)]


def test_each_value_is_converted_as_its_column_asks():
    prepared = prepare(sa.insert(TABLE), sqlite.dialect(), ("at", "id", "is_good"))
    row = {"is_good": True, "at": NOON, "id": "x"}
    taken = dict(zip(prepared.names, parameters(prepared, [row])[0], strict=True))
    assert taken == {"id": "x", "is_good": 1, "at": "2026-03-01T12:00:00.000000+00:00"}


def test_only_the_named_columns_are_filled():
    assert prepare(sa.insert(TABLE), sqlite.dialect(), ("id",)).names == ("id",)


def test_parameters_stand_in_the_order_of_the_statement():
    statement = sa.update(TABLE).where(TABLE.c.id == sa.bindparam("key")).values(is_good=sa.bindparam("good"))
    assert prepare(statement, sqlite.dialect()).names == ("good", "key")
    assert prepare(statement, postgresql.asyncpg.dialect()).names == ("good", "key")


async def test_what_is_written_in_bulk_is_read_back_as_it_was(ctx, system):
    await ctx.db.work(system, lambda work: work.insert_many(leases, LEASES))
    await ctx.db.work(
        system, lambda work: work.insert_new(leases, [LEASES[0] | {"holder": "other"}], key=("name",))
    )
    await ctx.db.work(
        system, lambda work: work.upsert(leases, [LEASES[1] | {"holder": "other"}], key=("name",))
    )
    rows = await ctx.db.read(system, lambda work: work.rows(sa.select(leases).order_by(leases.c.name)))
    assert [(row.name, row.holder, row.until_at) for row in rows] == [
        ("n0", "h", NOON.astimezone(UTC)),
        ("n1", "other", NOON.astimezone(UTC)),
        ("n2", "h", NOON.astimezone(UTC)),
    ]


async def test_no_rows_are_no_statement(ctx, system):
    def nothing(work):
        work.insert_many(leases, [])
        work.insert_new(leases, [], key=("name",))
        work.upsert(leases, [], key=("name",))
        work.run_many(sa.delete(leases), [])

    await ctx.db.work(system, nothing)


FIND = (
    sa.select(leases.c.name, leases.c.until_at.label("at"))
    .where(among(leases.c.name, "names"), leases.c.holder == sa.bindparam("holder"))
    .order_by(leases.c.name)
)


async def test_a_question_for_many_is_answered_with_the_types_of_its_columns(ctx, system):
    await ctx.db.work(system, lambda work: work.insert_many(leases, LEASES))

    def ask(work, *names, holder="h"):
        return work.find(FIND, names=names, holder=holder)

    rows = await ctx.db.read(system, ask, "n0", "n2", "none", 'n"1', "")
    assert [(row.name, row.at) for row in rows] == [
        ("n0", NOON.astimezone(UTC)),
        ("n2", NOON.astimezone(UTC)),
    ]
    assert await ctx.db.read(system, ask) == []
    assert await ctx.db.read(system, ask, "n0", holder="other") == []


NUMBERS = sa.select(jobs.c.id, jobs.c.claimed_until).where(among(jobs.c.tries, "tries"))


async def test_numbers_are_asked_for_as_well_and_nothing_stays_nothing(ctx, system):
    await ctx.db.work(system, lambda work: enqueue(work, Wake()))
    (row,) = await ctx.db.read(system, lambda work: work.find(NUMBERS, tries=[0, 7]))
    assert row.claimed_until is None
    assert await ctx.db.read(system, lambda work: work.find(NUMBERS, tries=[7])) == []


FIXED = sa.update(leases).where(leases.c.name == sa.bindparam("key")).values(holder="fixed")


async def test_a_statement_may_bring_values_of_its_own(ctx, system):
    await ctx.db.work(system, lambda work: work.insert_many(leases, LEASES))
    await ctx.db.work(system, lambda work: work.run_many(FIXED, [{"key": "n0"}, {"key": "n1"}]))
    rows = await ctx.db.read(system, lambda work: work.rows(sa.select(leases).order_by(leases.c.name)))
    assert [row.holder for row in rows] == ["fixed", "fixed", "h"]


async def test_a_question_for_many_uses_the_index_of_its_column(sqlite_ctx, system):
    def plan(work):
        text = str(FIND.compile(dialect=work.connection.dialect))
        return work.connection.exec_driver_sql(f"explain query plan {text}", ('["a"]', "h")).all()

    (detail, *_) = [row.detail for row in await sqlite_ctx.db.read(system, plan)]
    assert detail.startswith("SEARCH leases USING")
