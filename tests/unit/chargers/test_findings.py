from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.factories import PIN, SYSTEM, make_charger, make_location, make_user, place_of
from voltyard.chargers import findings
from voltyard.chargers import findings_report as report
from voltyard.chargers import service as chargers
from voltyard.chargers.tables import findings as table
from voltyard.speech import Booted, FlawTold

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture
async def owner(ctx):
    return await make_user(ctx)


@pytest.fixture
async def charger(ctx, owner):
    location = await make_location(ctx, owner)
    return await make_charger(ctx, location.id)


def flaw(charger, kind="number_as_text", count=1, action="StartTransaction", sample="{}") -> FlawTold:
    return FlawTold(charger.id, kind, count, action, sample)


async def tell(ctx, *flaws):
    await ctx.db.work(SYSTEM, findings.told, flaws)


async def found(ctx, owner, charger):
    return await ctx.db.read(owner.actor, report.list_findings, charger.id)


async def rows(ctx):
    return await ctx.db.read(SYSTEM, lambda work: work.rows(sa.select(table)))


async def test_counts_add_up_and_times_stretch(ctx, clock, owner, charger):
    began = ctx.clock.now()
    await tell(ctx, flaw(charger, count=3), flaw(charger, count=2), flaw(charger, "no_payload", action=""))
    clock.advance(60)
    await tell(ctx, flaw(charger, count=10, sample='{"newest":1}'))
    newest, other = await found(ctx, owner, charger)
    assert (newest.flaw.kind, newest.count, newest.sample) == ("number_as_text", 15, '{"newest":1}')
    assert (newest.first_at, newest.last_at) == (began, began + timedelta(seconds=60))
    assert (other.flaw.kind, other.count) == ("no_payload", 1)


async def test_new_firmware_begins_anew(ctx, owner, charger):
    for firmware in ("1.0", "2.0"):
        booted = (place_of(charger), Booted("Voltyard", "Sim", firmware=firmware))
        await ctx.db.work(SYSTEM, chargers.boot, [booted])
        await tell(ctx, flaw(charger))
    assert {(each.firmware, each.count) for each in await found(ctx, owner, charger)} == {
        ("1.0", 1),
        ("2.0", 1),
    }


async def test_what_was_found_under_an_earlier_owner_is_not_shown_to_the_next_one(ctx, clock, owner, charger):
    await tell(ctx, flaw(charger))
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    next_owner = await make_user(ctx)
    home = await make_location(ctx, next_owner)
    clock.advance(1)
    await chargers.claim(ctx, next_owner.actor, home.id, identity=charger.identity, pin=PIN)
    assert await found(ctx, next_owner, charger) == []
    assert await ctx.db.read(next_owner.actor, report.list_by_model) == []
    await tell(ctx, flaw(charger, count=7))
    assert [each.count for each in await found(ctx, next_owner, charger)] == [7]


async def test_a_charger_that_is_gone_and_a_count_of_nothing_are_left_out(ctx, charger):
    await tell(
        ctx, FlawTold("chg_01JD00000000000000000000AA", "no_payload", 1, "", ""), flaw(charger, count=0)
    )
    assert await rows(ctx) == []


async def test_nothing_told_is_nothing_written(ctx):
    await tell(ctx)
    assert await rows(ctx) == []


async def test_secrets_in_samples_are_masked_and_samples_are_short(ctx, owner, charger):
    await tell(
        ctx,
        flaw(charger, sample='{"password":"hunter2"}'),
        flaw(charger, "no_payload", sample="x" * 5_000 + "\0"),
    )
    samples = {each.flaw.kind: each.sample for each in await found(ctx, owner, charger)}
    assert "hunter2" not in samples["number_as_text"]
    assert len(samples["no_payload"]) == findings.SAMPLE_LENGTH


async def test_a_charger_that_makes_up_actions_cannot_fill_the_table(ctx, charger):
    for step in range(3):
        await tell(
            ctx,
            *(
                flaw(charger, action=f"Made{LETTERS[step]}{LETTERS[each // 26]}{LETTERS[each % 26]}")
                for each in range(findings.ROWS_PER_CHARGER_MAX)
            ),
        )
    kept = await rows(ctx)
    assert len(kept) == findings.ROWS_PER_CHARGER_MAX + 1
    assert sum(row.times for row in kept) == 3 * findings.ROWS_PER_CHARGER_MAX


@pytest.mark.parametrize("action", ["not a JSON array", "3f2c-17", "17", "heartbeat", "A\0\ud800", "A" * 80])
async def test_what_is_no_name_of_a_message_is_left_out(sqlite_ctx, action):
    location = await make_location(sqlite_ctx)
    charger = await make_charger(sqlite_ctx, location.id)
    await tell(sqlite_ctx, flaw(charger, action=action))
    assert [row.action for row in await rows(sqlite_ctx)] == [""]


async def test_odd_texts_are_kept_in_a_form_that_every_database_holds(ctx, charger):
    await tell(ctx, flaw(charger, sample="\0\ud800"))
    (row,) = await rows(ctx)
    assert row.sample == "?"


async def test_findings_that_were_not_made_for_a_year_are_forgotten(ctx, clock, charger):
    await tell(ctx, flaw(charger))
    clock.advance(findings.KEPT.total_seconds() + 1)
    await tell(ctx, flaw(charger, "no_payload"))
    assert await ctx.db.work(SYSTEM, findings.forget_old) == 1
    assert await ctx.db.work(SYSTEM, findings.forget_old) == 0
    assert [row.kind for row in await rows(ctx)] == ["no_payload"]
