import httpx2
import pytest
from fastapi import APIRouter, FastAPI

from voltyard.accounts import service as accounts
from voltyard.kernel.actor import system
from voltyard.web.auth import SignedIn
from voltyard.web.door import Door
from voltyard.web.doorway import furnish
from voltyard.web.idempotency import HEADER, REPLAYED, OnceRoute


@pytest.fixture
async def counted(door: Door):
    router = APIRouter(route_class=OnceRoute)
    count = {"done": 0}

    @router.post("/things", status_code=201)
    async def make(caller: SignedIn) -> dict[str, int]:
        count["done"] += 1
        if count["done"] == 2:
            raise RuntimeError
        return dict(count)

    @router.put("/things")
    async def put() -> dict[str, int]:
        count["done"] += 1
        return dict(count)

    app = FastAPI()
    app.include_router(router)
    furnish(app, door)
    user = await accounts.register(door.ctx, "ann@example.com", password=None)
    _, token = await door.ctx.db.work(system("test"), accounts.add_token, "script", door.key, user.id)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="http://voltyard.test",
        headers={"Authorization": f"Bearer {token}"},
    ) as ann:
        yield ann, count


async def test_a_post_with_a_key_is_carried_out_once(counted):
    ann, count = counted
    first = await ann.post("/things", headers={HEADER: "a"})
    again = await ann.post("/things", headers={HEADER: "a"})
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"done": 1})
    assert (REPLAYED in first.headers, REPLAYED in again.headers) == (False, True)
    assert count["done"] == 1


async def test_a_post_that_broke_is_carried_out_again(counted):
    ann, count = counted
    await ann.post("/things")
    assert (await ann.post("/things", headers={HEADER: "a"})).status_code == 500
    assert (await ann.post("/things", headers={HEADER: "a"})).status_code == 201
    assert count["done"] == 3


async def test_other_methods_and_strangers_have_no_keys(counted):
    ann, count = counted
    for _ in range(2):
        await ann.put("/things", headers={HEADER: "a"})
    assert count["done"] == 2
    nobody = {HEADER: "a", "Authorization": ""}
    assert (await ann.post("/things", headers=nobody)).status_code == 401


async def test_another_address_is_another_request(counted):
    ann, _ = counted
    await ann.post("/things", headers={HEADER: "a"})
    assert (await ann.post("/things?x=1", headers={HEADER: "a"})).status_code == 409
