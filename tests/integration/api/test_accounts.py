"""/me and /tokens."""

import httpx2
import pytest

from tests.factories import SYSTEM
from voltyard.accounts import factors
from voltyard.accounts import service as accounts
from voltyard.kernel.context import Context

from .conftest import Person


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/me"), ("PATCH", "/me"), ("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/tok_1")],
)
async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, method: str, path: str):
    answer = await anonymous.request(
        method, path, json={"name": "x"} if method in {"PATCH", "POST"} else None
    )
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthenticated"


async def test_one_sees_oneself(owner: Person):
    answer = await owner.http.get("/me")
    assert answer.status_code == 200
    assert answer.json()["email"] == "owner@example.com"
    assert answer.json()["teams"][0]["is_personal"] is True


async def test_one_changes_ones_language(owner: Person):
    answer = await owner.http.patch("/me", json={"language": "nl", "name": "Olga"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["language"], answer.json()["name"]) == ("nl", "Olga")
    assert (await owner.http.get("/me")).json()["language"] == "nl"


async def test_a_language_that_is_not_there_is_pointed_at(owner: Person):
    answer = await owner.http.patch("/me", json={"language": "tlh"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/language"


async def test_an_unknown_field_is_pointed_at(owner: Person):
    answer = await owner.http.patch("/me", json={"is_admin": True})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/is_admin"
    assert (await owner.http.get("/me")).json()["is_admin"] is False


async def test_a_token_shows_its_secret_once_and_works_until_it_is_revoked(
    owner: Person, anonymous: httpx2.AsyncClient
):
    made = (await owner.http.post("/tokens", json={"name": "script"})).json()
    shown = {"Authorization": f"Bearer {made['token']}"}
    assert (await anonymous.get("/me", headers=shown)).json()["id"] == owner.user.id
    listed = (await owner.http.get("/tokens")).json()
    assert listed["next"] is None
    assert made["id"] in [token["id"] for token in listed["items"]]
    assert all("token" not in token for token in listed["items"])
    assert (await owner.http.delete(f"/tokens/{made['id']}")).status_code == 204
    assert (await anonymous.get("/me", headers=shown)).status_code == 401


async def test_a_token_of_somebody_else_is_not_there(owner: Person, stranger: Person):
    made = (await owner.http.post("/tokens", json={"name": "script"})).json()
    assert (await stranger.http.delete(f"/tokens/{made['id']}")).status_code == 404


async def test_the_use_of_a_token_is_noted(ctx: Context, owner: Person):
    await owner.http.get("/me")
    used = [token.used_at for token in await ctx.db.read(owner.actor, accounts.list_tokens)]
    assert used == [ctx.clock.now()]


async def test_a_cookie_opens_the_door_too(session: httpx2.AsyncClient, owner: Person):
    assert (await session.get("/me")).json()["id"] == owner.user.id


async def test_a_session_that_is_over_opens_nothing(session: httpx2.AsyncClient, ctx: Context):
    ctx.clock.advance(31 * 24 * 3600)
    assert (await session.get("/me")).status_code == 401


# --- how one gets in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/me/password", {"present": "a", "password": "b"}),
        ("POST", "/me/email", {"email": "a@example.com", "present": "b"}),
        ("GET", "/sessions", None),
        ("DELETE", "/sessions", None),
        ("DELETE", "/sessions/ses_1", None),
    ],
)
async def test_nobody_gets_at_how_somebody_gets_in(anonymous: httpx2.AsyncClient, method, path, body):
    assert (await anonymous.request(method, path, json=body)).status_code == 401


async def test_ones_password_is_changed_with_the_present_one(ctx: Context, owner: Person, session):
    await accounts.put_password(ctx, SYSTEM, owner.user.email, "first password")
    wrong = await owner.http.post("/me/password", json={"present": "no", "password": "second password"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_password")
    short = await owner.http.post("/me/password", json={"present": "first password", "password": "x"})
    assert short.json()["errors"][0]["pointer"] == "/password"
    good = await owner.http.post(
        "/me/password", json={"present": "first password", "password": "second password"}
    )
    assert good.status_code == 204
    assert (await factors.log_in(ctx, owner.user.email, "second password"))[0].id == owner.user.id


async def test_another_address_needs_mail(ctx: Context, owner: Person):
    await accounts.put_password(ctx, SYSTEM, owner.user.email, "first password")
    answer = await owner.http.post("/me/email", json={"email": "x@example.com", "present": "first password"})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_mail")


async def test_ones_browsers_are_listed_and_logged_out(owner: Person, stranger: Person, session):
    (one,) = (await owner.http.get("/sessions")).json()["items"]
    assert (await stranger.http.get("/sessions")).json()["items"] == []
    assert (await stranger.http.delete(f"/sessions/{one['id']}")).status_code == 404
    assert (await owner.http.delete(f"/sessions/{one['id']}")).status_code == 204
    assert (await session.get("/me")).status_code == 401
    assert (await owner.http.delete("/sessions")).status_code == 204
    assert (await owner.http.get("/me")).status_code == 200, "a token stays"
