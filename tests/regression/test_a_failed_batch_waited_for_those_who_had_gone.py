"""With a locked database a batch of a hundred sayings held its lane for a thousand seconds.

After it had failed, each saying was tried for ten seconds of its own, although every asker had long given up.
"""

import asyncio

from tests.unit.kernel.test_batch import Store, inside, running
from voltyard.kernel.errors import Unavailable


async def test_what_nobody_waits_for_is_not_tried_again(sqlite_ctx, system):
    store = Store()
    store.bad["a"] = Unavailable("locked")
    store.gate.clear()
    async with running(sqlite_ctx, system, store) as batch:
        joining = [asyncio.create_task(batch.join(item)) for item in ("a", "b", "c")]
        await inside(store)
        for each in joining:
            each.cancel()
        await asyncio.gather(*joining, return_exceptions=True)
        store.gate.set()
        assert await batch.join("next") == "NEXT"
    assert store.batches == [["a", "b", "c"], ["next"]]
