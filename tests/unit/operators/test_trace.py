"""One message on its whole way."""

from __future__ import annotations

import pytest

from tests.factories import SYSTEM, make_transaction
from tests.unit.operators.office import make_linked, say
from voltyard.kernel.errors import NotFound
from voltyard.operators import serving, trace
from voltyard.operators.serving import Record
from voltyard.transactions import service as transactions


async def test_a_message_is_followed_by_its_number_its_transaction_and_its_id(ctx):
    charger, link = await make_linked(ctx)
    number = await make_transaction(ctx, charger)
    call = await ctx.db.work(SYSTEM, say, charger.id, "StartTransaction", '{"a":1}', number)
    record = Record(
        link.id, charger.id, call, call_number=call, transaction_number=number, message_id="x:1",
        action="StartTransaction", answer='{"transactionId":9001}',
    )  # fmt: skip
    await ctx.db.work(serving.ACTOR, serving.record, [record])
    (transaction,) = await ctx.db.read(SYSTEM, transactions.list_transactions)
    for what in (str(call), transaction.id):
        said, told = await ctx.db.read(SYSTEM, trace.walk, what)
        assert (said.leg, said.is_outward, said.payload) == ("charger", False, '{"a":1}')
        assert (told.leg, told.is_outward, told.answer) == ("Office", True, '{"transactionId":9001}')
    assert [step.leg for step in await ctx.db.read(SYSTEM, trace.walk, "x:1")] == ["Office"]
    assert [step.leg for step in await ctx.db.read(SYSTEM, trace.walk, link.id)] == ["Office"]
    for nothing in ("cmd_x", "nobody", "999999"):
        with pytest.raises(NotFound):
            await ctx.db.read(SYSTEM, trace.walk, nothing)
