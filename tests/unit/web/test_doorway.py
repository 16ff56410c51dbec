import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from voltyard.kernel.errors import Conflict, VoltyardError
from voltyard.kernel.limits import BODY_BYTES_MAX
from voltyard.web.door import Door
from voltyard.web.doorway import GuardedRoute, furnish, larger


@pytest.fixture
def app(door: Door) -> FastAPI:
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/fine")
    async def fine() -> str:
        return "fine"

    @router.get("/framed")
    async def framed() -> Response:
        return Response("x", headers={"Content-Security-Policy": "default-src 'self'"})

    @router.get("/refused")
    async def refused() -> None:
        raise Conflict("not now", why="busy")

    @router.get("/broken")
    async def broken() -> None:
        raise RuntimeError("hunter2")

    @router.get("/late")
    async def late(afterwards: BackgroundTasks) -> str:
        afterwards.add_task(broken)
        return "done"

    @router.get("/halfway")
    async def halfway() -> Response:
        async def pieces():
            yield b"half"
            raise RuntimeError("hunter2")

        return StreamingResponse(pieces())

    app = FastAPI()
    app.include_router(router)
    furnish(app, door)
    return app


def client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://voltyard.test")


async def test_every_answer_carries_a_trace_and_safe_headers(app: FastAPI):
    async with client(app) as nobody:
        answers = [await nobody.get(path) for path in ("/fine", "/refused", "/broken", "/nowhere")]
    assert [answer.status_code for answer in answers] == [200, 409, 500, 404]
    assert len({answer.headers["trace-id"] for answer in answers}) == 4
    for answer in answers:
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"


async def test_a_page_may_have_a_policy_of_its_own(app: FastAPI):
    async with client(app) as nobody:
        answer = await nobody.get("/framed")
    assert answer.headers["content-security-policy"] == "default-src 'self'"


async def test_a_fault_shows_nothing_of_itself(app: FastAPI):
    async with client(app) as nobody:
        answer = await nobody.get("/broken")
    assert answer.json()["code"] == "unexpected"
    assert "hunter2" not in answer.text


async def test_what_fails_after_the_answer_harms_nobody(app: FastAPI):
    async with client(app) as nobody:
        answer = await nobody.get("/late")
    assert (answer.status_code, answer.json()) == (200, "done")


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(app: FastAPI):
    async with client(app) as nobody:
        with pytest.raises(RuntimeError):
            await nobody.get("/halfway")


async def test_a_door_refuses_in_its_own_words(door: Door):
    def render(_request: Request, error: VoltyardError) -> Response:
        return PlainTextResponse(f"sorry: {error.code()}", 418)

    app = FastAPI()
    furnish(app, door, render)
    async with client(app) as nobody:
        answer = await nobody.get("/nowhere")
    assert (answer.status_code, answer.text) == (418, "sorry: no_such_address")


@pytest.mark.parametrize(("path", "status"), [("/long", 200), ("/short", 413)])
async def test_one_address_may_take_more_than_the_others(door: Door, path: str, status: int):
    inner = FastAPI()

    @inner.post("/long")
    @inner.post("/short")
    async def take(request: Request) -> int:
        return len(await request.body())

    furnish(inner, door, limit=larger({("POST", "/long"): BODY_BYTES_MAX + 10}))
    outer = FastAPI()
    outer.mount("/below", inner)
    async with client(outer) as nobody:
        answer = await nobody.post(f"/below{path}", content=b"x" * (BODY_BYTES_MAX + 1))
        assert answer.status_code == status
        beyond = await nobody.post("/below/long", content=b"x" * (BODY_BYTES_MAX + 11))
    assert beyond.json()["bytes_max"] == BODY_BYTES_MAX + 10
