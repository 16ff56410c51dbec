"""What holds for every route: problems, cross-site writes, limits, idempotency keys, sizes, headers."""

import asyncio
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI

from voltyard.api.app import build
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.kernel.limits import BODY_BYTES_MAX, REQUESTS_PER_MINUTE_MAX
from voltyard.kernel.settings import Settings
from voltyard.web import health
from voltyard.web.limits import Limits

from .conftest import Person, client

NEW = {"name": "Office"}


async def count_locations(person: Person) -> int:
    return len((await person.http.get("/locations")).json()["items"])


# --- problems ---


async def test_an_address_that_is_not_there_is_a_problem(anonymous: httpx2.AsyncClient):
    answer = await anonymous.get("/nothing")
    assert answer.status_code == 404
    assert answer.json()["code"] == "no_such_address"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_method_that_is_not_known_is_a_problem(owner: Person):
    answer = await owner.http.put("/me", json={})
    assert answer.status_code == 405
    assert answer.json()["code"] == "wrong_method"
    assert answer.headers["allow"]


async def test_a_fault_of_ours_shows_a_trace_id_only(ctx: Context):
    app = build(ctx)

    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    app.add_api_route("/broken", broken)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://voltyard.test") as nobody:
        answer = await nobody.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["code"] == "unexpected"
    assert answer.json()["trace"] == answer.headers["trace-id"]
    assert "hunter2" not in answer.text


async def test_a_database_that_is_gone_says_when_to_come_back(ctx: Context):
    gone = Database("postgresql://nobody@127.0.0.1:1/none", clock=ctx.clock, bus=ctx.bus)
    transport = httpx2.ASGITransport(build(replace(ctx, db=gone)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://voltyard.test") as nobody:
        answer = await nobody.get("/me", headers={"Authorization": "Bearer x"})
    await gone.close()
    assert answer.status_code == 503
    assert answer.json()["code"] == "database_unavailable"
    assert answer.headers["retry-after"] == "5"


async def test_a_body_that_is_too_large_is_refused(owner: Person):
    answer = await owner.http.post("/locations", json={"name": "x" * BODY_BYTES_MAX})
    assert answer.status_code == 413
    assert answer.json()["bytes_max"] == BODY_BYTES_MAX


async def test_a_body_that_grows_too_large_is_refused(owner: Person):
    async def pieces():
        for _ in range(3):
            yield b"x" * (BODY_BYTES_MAX // 2)

    answer = await owner.http.post(
        "/locations", content=pieces(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


async def test_answers_carry_safe_headers(anonymous: httpx2.AsyncClient):
    for path in ("/me", "/openapi.json"):
        headers = (await anonymous.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers


async def test_https_is_kept_once_it_is_used(ctx: Context):
    settings = ctx.settings.model_copy(update={"public_url": "https://voltyard.test"})
    assert isinstance(settings, Settings)
    app = build(replace(ctx, settings=settings))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://voltyard.test") as nobody:
        assert "strict-transport-security" in (await nobody.get("/me")).headers


# --- writes in somebody's name ---


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "none"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://voltyard.test"}, 403),
        ({"Origin": "http://voltyard.test"}, 201),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_a_write_with_a_cookie_comes_from_our_own_page(
    session: httpx2.AsyncClient, headers: dict[str, str], status: int
):
    answer = await session.post("/locations", json=NEW, headers=headers)
    assert answer.status_code == status
    assert status == 201 or answer.json()["code"] == "foreign_page"


async def test_a_token_is_exempt(owner: Person):
    answer = await owner.http.post("/locations", json=NEW, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 201


async def test_a_useless_token_does_not_let_the_cookie_in(session: httpx2.AsyncClient):
    headers = {"Authorization": "Bearer nonsense", "Sec-Fetch-Site": "cross-site"}
    assert (await session.post("/locations", json=NEW, headers=headers)).status_code == 401


async def test_reading_with_a_cookie_is_free(session: httpx2.AsyncClient):
    assert (await session.get("/me", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


# --- limits ---

FEW = 5


@pytest.fixture
def few(api: FastAPI, ctx: Context) -> None:
    """Let everybody ask five times a minute."""
    limits = Limits(ctx.clock, trusted_proxies=ctx.settings.trusted_proxies, requests_per_minute=FEW)
    api.state.door = replace(api.state.door, limits=limits)


async def test_the_limit_is_told(owner: Person):
    headers = (await owner.http.get("/me")).headers
    assert headers["ratelimit-policy"] == f'"requests";q={REQUESTS_PER_MINUTE_MAX};w=60'
    assert headers["ratelimit"] == f'"requests";r={REQUESTS_PER_MINUTE_MAX - 1};t=1'


@pytest.mark.usefixtures("few")
async def test_a_limit_is_each_persons_own_and_refills(ctx: Context, owner: Person, stranger: Person):
    for left in range(FEW - 1, -1, -1):
        answer = await owner.http.get("/me")
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith(f'"requests";r={left};')
    refused = await owner.http.get("/me")
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many"
    assert refused.headers["retry-after"] == "12"
    assert refused.headers["ratelimit"] == '"requests";r=0;t=60'
    assert (await stranger.http.get("/me")).status_code == 200
    ctx.clock.advance(12)
    assert (await owner.http.get("/me")).status_code == 200


@pytest.mark.usefixtures("few")
async def test_nobody_is_limited_by_address_whatever_token_they_invent(anonymous: httpx2.AsyncClient):
    for number in range(FEW):
        await anonymous.get("/me", headers={"Authorization": f"Bearer {number}"})
    assert (await anonymous.get("/me", headers={"Authorization": "Bearer x"})).status_code == 429


@pytest.mark.usefixtures("few")
async def test_only_a_trusted_proxy_is_believed(app: FastAPI):
    async def ask(peer: str) -> list[int]:
        transport = httpx2.ASGITransport(app, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://voltyard.test/api/v1") as one:
            return [
                (await one.get("/me", headers={"X-Forwarded-For": f"192.0.2.{number}"})).status_code
                for number in range(FEW + 1)
            ]

    assert await ask("127.0.0.1") == [401] * (FEW + 1)
    assert await ask("198.51.100.9") == [401] * FEW + [429]


# --- idempotency keys ---


async def test_the_same_key_does_it_once(owner: Person):
    key = {"Idempotency-Key": "one"}
    first = await owner.http.post("/locations", json=NEW, headers=key)
    second = await owner.http.post("/locations", json=NEW, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await count_locations(owner) == 1


async def test_a_key_belongs_to_one_request(owner: Person):
    key = {"Idempotency-Key": "one"}
    await owner.http.post("/locations", json=NEW, headers=key)
    answer = await owner.http.post("/locations", json={"name": "Other"}, headers=key)
    assert answer.status_code == 409
    assert answer.json()["code"] == "key_reused"
    assert await count_locations(owner) == 1


async def test_a_key_belongs_to_one_person(owner: Person, stranger: Person):
    key = {"Idempotency-Key": "one"}
    mine = await owner.http.post("/locations", json=NEW, headers=key)
    theirs = await stranger.http.post("/locations", json=NEW, headers=key)
    assert mine.json()["id"] != theirs.json()["id"]


async def test_two_at_once_do_it_once(owner: Person):
    key = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(*(owner.http.post("/locations", json=NEW, headers=key) for _ in range(6)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert done
    assert len({answer.json()["id"] for answer in done}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"key_in_use"}
    assert await count_locations(owner) == 1


async def test_a_refused_request_may_be_sent_again_with_its_key(owner: Person):
    key = {"Idempotency-Key": "one"}
    wrong = await owner.http.post("/locations", json={"name": "x", "country": "N1"}, headers=key)
    assert wrong.status_code == 422
    assert (await owner.http.post("/locations", json=NEW, headers=key)).status_code == 201


async def test_a_secret_is_not_kept(owner: Person):
    key = {"Idempotency-Key": "one"}
    first = await owner.http.post("/tokens", json={"name": "script"}, headers=key)
    second = await owner.http.post("/tokens", json={"name": "script"}, headers=key)
    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "answer_not_kept"
    tokens = (await owner.http.get("/tokens")).json()["items"]
    assert [token["name"] for token in tokens].count("script") == 1


async def test_a_key_is_forgotten_after_a_day(ctx: Context, owner: Person):
    key = {"Idempotency-Key": "one"}
    first = await owner.http.post("/locations", json=NEW, headers=key)
    ctx.clock.advance(24 * 3600 + 1)
    second = await owner.http.post("/locations", json=NEW, headers=key)
    assert first.json()["id"] != second.json()["id"]


async def test_a_key_that_is_too_long_is_pointed_at(owner: Person):
    answer = await owner.http.post("/locations", json=NEW, headers={"Idempotency-Key": "k" * 256})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/Idempotency-Key"


# --- for those who watch ---


async def test_health_is_told(ctx: Context, owner: Person):
    await owner.http.get(f"/chargers/{'chg_' + '0' * 26}")
    outer = FastAPI()
    health.add(outer, ctx)
    async with client(outer) as nobody:
        nobody.base_url = "http://voltyard.test"
        assert (await nobody.get("/healthz")).text == "ok\n"
        ready = await nobody.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"database": "ok", "bus": "ok"})
        metrics = (await nobody.get("/metrics")).text
        assert 'door="api",method="GET",route="/chargers/{charger_id}",status="404"' in metrics
