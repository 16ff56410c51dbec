from __future__ import annotations

import csv
import io

import pytest

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user, place_of
from voltyard.chargers import findings
from voltyard.chargers import findings_report as report
from voltyard.chargers import service as chargers
from voltyard.chargers.flaws import Severity
from voltyard.kernel.errors import NotFound
from voltyard.locations.access import Level
from voltyard.speech import Booted, FlawTold


async def tell(ctx, charger, kind="number_as_text", sample='{"idTag":"04"}'):
    await ctx.db.work(SYSTEM, findings.told, [FlawTold(charger.id, kind, 2, "Authorize", sample)])


async def test_samples_are_for_those_who_see_sensitive_data(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id)
    await tell(ctx, charger)
    for level, sample in ((Level.BASIC, ""), (Level.SENSITIVE, '{"idTag":"04"}')):
        member = await make_member(ctx, location.id, level)
        (found,) = await ctx.db.read(member.actor, report.list_findings, charger.id)
        assert found.sample == sample
    stranger = await make_user(ctx)
    with pytest.raises(NotFound):
        await ctx.db.read(stranger.actor, report.list_findings, charger.id)


async def test_findings_of_a_model_are_added_up_over_what_one_may_see(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    elsewhere = await make_location(ctx)
    for place in (location, location, elsewhere):
        charger = await make_charger(ctx, place.id)
        await ctx.db.work(SYSTEM, chargers.boot, [(place_of(charger), Booted("ABB", "Terra", firmware="1"))])
        await tell(ctx, charger)
    (found,) = await ctx.db.read(owner.actor, report.list_by_model)
    assert (found.vendor, found.model, found.firmware) == ("ABB", "Terra", "1")
    assert (found.flaw.kind, found.chargers, found.count) == ("number_as_text", 2, 4)
    rows = list(csv.DictReader(io.StringIO(report.as_model_csv([found]))))
    assert (rows[0]["chargers"], rows[0]["count"], rows[0]["quirk"]) == ("2", "4", "Q24")


async def test_a_table_holds_no_formula(sqlite_ctx):
    owner = await make_user(sqlite_ctx)
    charger = await make_charger(sqlite_ctx, (await make_location(sqlite_ctx, owner)).id)
    await tell(sqlite_ctx, charger, sample="=HYPERLINK(1)")
    found = await sqlite_ctx.db.read(owner.actor, report.list_findings, charger.id)
    (row,) = csv.DictReader(io.StringIO(report.as_csv(found)))
    assert row["sample"] == "'=HYPERLINK(1)"
    assert row["first_at"].endswith("+00:00")


async def test_the_worst_of_several_counts(sqlite_ctx):
    owner = await make_user(sqlite_ctx)
    charger = await make_charger(sqlite_ctx, (await make_location(sqlite_ctx, owner)).id)
    assert report.most_severe([]) is None
    for kind, severity in (
        ("number_as_text", Severity.HARMLESS),
        ("repaired_json", Severity.WORTH_KNOWING),
        ("unreadable_frame", Severity.HARMFUL),
    ):
        await tell(sqlite_ctx, charger, kind)
        found = await sqlite_ctx.db.read(owner.actor, report.list_findings, charger.id)
        assert report.most_severe(found) is severity
