"""/chargers/{id}/findings and /findings."""

import csv
import io

import httpx2
import pytest

from voltyard.chargers import findings
from voltyard.kernel.context import Context
from voltyard.speech import FlawTold

from .conftest import SYSTEM, Person

SAMPLE = '{"idTag":"04AABBCC","meterStart":"7"}'


@pytest.fixture
async def odd_id(ctx: Context, charger_id: str) -> str:
    told = [
        FlawTold(charger_id, "number_as_text", 41, "StartTransaction", SAMPLE),
        FlawTold(charger_id, "no_subprotocol", 1, "", ""),
    ]
    await ctx.db.work(SYSTEM, findings.told, told)
    return charger_id


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, odd_id: str):
    for path in (f"/chargers/{odd_id}/findings", "/findings"):
        assert (await anonymous.get(path)).status_code == 401


async def test_a_foreign_team_sees_nothing(stranger: Person, odd_id: str):
    assert (await stranger.http.get(f"/chargers/{odd_id}/findings")).status_code == 404
    assert (await stranger.http.get("/findings")).json() == {"items": [], "next": None}


async def test_a_guest_sees_what_was_found_without_the_samples(guest: Person, odd_id: str):
    items = (await guest.http.get(f"/chargers/{odd_id}/findings")).json()["items"]
    assert {each["kind"] for each in items} == {"number_as_text", "no_subprotocol"}
    assert {each["sample"] for each in items} == {""}


async def test_findings_are_told_in_words_with_counts(owner: Person, odd_id: str):
    answer = await owner.http.get(f"/chargers/{odd_id}/findings")
    found = {each["kind"]: each for each in answer.json()["items"]}["number_as_text"]
    assert found["text"] == "Sends numbers as text; we convert them."
    assert (found["severity"], found["quirk"], found["count"]) == ("harmless", "Q24", 41)
    assert (found["action"], found["sample"]) == ("StartTransaction", SAMPLE)
    by_model = (await owner.http.get("/findings")).json()["items"]
    assert {(each["kind"], each["chargers"], each["count"]) for each in by_model} == {
        ("number_as_text", 1, 41),
        ("no_subprotocol", 1, 1),
    }


async def test_findings_may_be_had_as_tables(owner: Person, odd_id: str):
    for path, name in (
        (f"/chargers/{odd_id}/findings", f"findings-{odd_id}.csv"),
        ("/findings", "findings.csv"),
    ):
        answer = await owner.http.get(path, params={"format": "csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert name in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert {row["kind"] for row in rows} == {"number_as_text", "no_subprotocol"}
    assert (await owner.http.get("/findings", params={"format": "xml"})).status_code == 422
