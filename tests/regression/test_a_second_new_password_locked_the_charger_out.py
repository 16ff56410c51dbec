"""A charger whose answer to a new password was lost was locked out by the next attempt to change it.

Only the newest password that was sent counted beside the old one; the one before it, which the charger had
taken, was forgotten. All that it may have taken count now, until it shows one of them.
"""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_charger, make_location
from tests.unit.chargers.papers import Answering
from voltyard.chargers import credentials, security, security_store
from voltyard.chargers import service as chargers
from voltyard.chargers.credentials import CANDIDATES_MAX, Answered, after_answer
from voltyard.kernel.errors import ChargerOffline
from voltyard.kernel.ids import new_id
from voltyard.speech import Entry, Hello, SetKey

OLD = "0011223344556677"


async def knock(ctx, charger, password: str) -> Entry:
    sent = base64.b64encode(password.encode()).decode()
    hello = Hello(charger.identity, new_id("soc"), "gateway", "ocpp1.6", "192.0.2.1", sent)
    key = ctx.settings.secret_key()
    return (await ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False))[0].entry


@pytest.mark.parametrize("then", ["silent", "rejects", "away"])
async def test_what_a_charger_may_have_taken_counts_whatever_is_tried_next(ctx, then):
    charger = await make_charger(ctx, (await make_location(ctx)).id, password=OLD)
    async with Answering(ctx, charger.id) as there:
        there.wrong = ChargerOffline()  # it took the password; its answer was lost
        await security.rotate_password(ctx, SYSTEM, charger.id)
        taken = there.asked[0].value
        if then == "rejects":
            there.wrong = None
            there.reject()
        if then != "away":
            await security.rotate_password(ctx, SYSTEM, charger.id)
    if then == "away":
        await security.rotate_password(ctx, SYSTEM, charger.id)
    assert await knock(ctx, charger, taken) is Entry.WELCOME
    assert await knock(ctx, charger, OLD) is Entry.WRONG_PASSWORD


async def test_answers_that_are_written_down_in_the_wrong_order_change_nothing(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id, password=OLD)
    key = ctx.settings.secret_key()
    first, second = (SetKey("AuthorizationKey", text * 20) for text in ("aa", "bb"))

    def both(work):
        for ask in (first, second):
            credentials.about_to_set(work, charger.id, ask, key)
        for ask in (second, first):
            credentials.was_set(work, charger.id, ask, Answered.OBEYED, key)
        return security_store.find_credentials(work, charger.id)

    await ctx.db.work(SYSTEM, both)
    assert await knock(ctx, charger, second.value) is Entry.WELCOME


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(list(Answered)), st.booleans()), max_size=CANDIDATES_MAX))
def test_the_password_in_a_charger_is_always_one_of_those_that_count(rounds):
    counts, candidates, held = "old", (), "old"
    for number, (answered, is_taken) in enumerate(rounds):
        sent = f"new{number}"
        candidates = credentials.with_candidate(candidates, sent)
        if answered is Answered.OBEYED or (answered is not Answered.REFUSED and is_taken):
            held = sent
        counts, candidates = after_answer(counts, candidates, sent, answered)
        assert held in {counts, *candidates}
