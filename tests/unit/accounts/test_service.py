import pytest

from tests.factories import SYSTEM, make_user
from voltyard.accounts import factors
from voltyard.accounts import service as accounts
from voltyard.accounts.service import EmailTaken, WrongPassword
from voltyard.kernel.actor import ANYONE, Kind
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.errors import Invalid, NotFound, Unauthenticated
from voltyard.kernel.limits import SESSION_DAYS

PASSWORD = "correct horse battery"
DAY_S = 86_400.0


# --- people ---------------------------------------------------------------------------------------


async def test_a_registered_person_owns_a_personal_team(ctx: Context):
    person = await accounts.register(ctx, "Anna@Example.com", password=None, name="Anna", team="Anna's house")
    assert (person.email, person.name, person.language, person.theme) == (
        "anna@example.com",
        "Anna",
        "en",
        "auto",
    )
    assert not person.is_admin
    (team,) = person.teams
    assert (team.name, team.is_personal, team.role) == ("Anna's house", True, "owner")
    assert await ctx.db.read(SYSTEM, accounts.user, person.id) == person


async def test_without_a_name_the_address_names_person_and_team(ctx: Context):
    person = await accounts.register(ctx, "bob@example.com", password=None, name="  ")
    assert (person.name, person.teams[0].name) == ("bob", "bob")


async def test_an_address_is_taken_in_any_case(ctx: Context):
    await accounts.register(ctx, "anna@example.com", password=None)
    with pytest.raises(EmailTaken):
        await accounts.register(ctx, " ANNA@Example.COM ", password=None)
    found = await ctx.db.read(SYSTEM, accounts.user_by_email, "Anna@Example.com")
    assert found.email == "anna@example.com"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "anna",
        "anna@",
        "@example.com",
        "anna@example",
        "an na@example.com",
        "anna@example..com",
        "anna\x00@example.com",
        f"{'a' * 65}@example.com",
        f"anna@{'a' * 250}.com",
    ],
)
async def test_what_is_no_address_is_refused(sqlite_ctx: Context, email: str):
    with pytest.raises(Invalid) as refused:
        await accounts.register(sqlite_ctx, email, password=None)
    assert refused.value.errors[0][0] == "/email"


async def test_a_short_password_is_refused(sqlite_ctx: Context):
    with pytest.raises(Invalid) as refused:
        await accounts.register(sqlite_ctx, "anna@example.com", password="123456789")
    assert refused.value.errors[0][0] == "/password"
    await accounts.register(sqlite_ctx, "anna@localhost", password="1234567890")


async def test_long_names_and_control_characters_fit_both_databases(ctx: Context):
    person = await accounts.register(
        ctx, "anna@example.com", password=None, name="A\x00nna " + "x" * 200, team="T\x00" * 200
    )
    assert person.name == ("Anna " + "x" * 200)[:120]
    assert person.teams[0].name == "T" * 120


async def test_nobody_is_found_under_an_unknown_id_or_address(ctx: Context):
    person = await make_user(ctx)
    for unknown in (person.user.id[:-4] + "ZZZZ", "usr_", person.team_id):
        with pytest.raises(NotFound):
            await ctx.db.read(SYSTEM, accounts.user, unknown)
    with pytest.raises(NotFound):
        await ctx.db.read(SYSTEM, accounts.user_by_email, "nobody@example.com")


# --- log-ins --------------------------------------------------------------------------------------


async def test_a_person_logs_in_in_any_case_and_is_known_by_the_cookie(ctx: Context):
    person = await accounts.register(ctx, "anna@example.com", password=PASSWORD, is_admin=True)
    found, secret = await factors.log_in(ctx, " Anna@EXAMPLE.com ", PASSWORD)
    assert found == person
    actor, same = await ctx.db.read(ANYONE, accounts.actor_of_session, secret, ctx.settings.secret_key())
    assert same == person
    assert (actor.kind, actor.subject_id, actor.team_ids) == (Kind.USER, person.id, (person.teams[0].id,))
    assert (actor.is_admin, actor.door, actor.token_id[:4]) == (True, "portal", "ses_")


async def test_a_wrong_password_an_unknown_address_and_nonsense_give_the_same_error(ctx: Context):
    await accounts.register(ctx, "anna@example.com", password=PASSWORD)
    await accounts.register(ctx, "token.only@example.com", password=None)
    told = set()
    for email, password in (
        ("anna@example.com", "wrong horse battery"),
        ("anna@example.com", "\ud800" * 10),
        ("nobody@example.com", PASSWORD),
        ("token.only@example.com", PASSWORD),
        ("token.only@example.com", ""),
        ("anna\x00@example.com", PASSWORD),
        ("", ""),
    ):
        with pytest.raises(WrongPassword) as refused:
            await factors.log_in(ctx, email, password)
        told.add((refused.value.code(), refused.value.detail, tuple(refused.value.facts.items())))
    assert len(told) == 1


async def test_a_session_ends_after_its_time_and_is_then_forgotten(ctx: Context, clock: FakeClock):
    await accounts.register(ctx, "anna@example.com", password=PASSWORD)
    key = ctx.settings.secret_key()
    _, secret = await factors.log_in(ctx, "anna@example.com", PASSWORD)
    clock.advance(SESSION_DAYS * DAY_S - 1)
    _, later = await factors.log_in(ctx, "anna@example.com", PASSWORD)
    await ctx.db.read(ANYONE, accounts.actor_of_session, secret, key)
    assert await ctx.db.work(SYSTEM, accounts.forget_old_sessions) == 0
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        await ctx.db.read(ANYONE, accounts.actor_of_session, secret, key)
    assert await ctx.db.work(SYSTEM, accounts.forget_old_sessions) == 1
    await ctx.db.read(ANYONE, accounts.actor_of_session, later, key)


async def test_logging_out_closes_this_session_only_and_may_be_repeated(ctx: Context):
    await accounts.register(ctx, "anna@example.com", password=PASSWORD)
    key = ctx.settings.secret_key()
    _, here = await factors.log_in(ctx, "anna@example.com", PASSWORD)
    _, there = await factors.log_in(ctx, "anna@example.com", PASSWORD)
    for _ in range(2):
        await ctx.db.work(ANYONE, accounts.log_out, here, key)
    with pytest.raises(Unauthenticated):
        await ctx.db.read(ANYONE, accounts.actor_of_session, here, key)
    await ctx.db.read(ANYONE, accounts.actor_of_session, there, key)


async def test_a_session_of_another_installation_is_not_known(ctx: Context):
    await accounts.register(ctx, "anna@example.com", password=PASSWORD)
    _, secret = await factors.log_in(ctx, "anna@example.com", PASSWORD)
    with pytest.raises(Unauthenticated):
        await ctx.db.read(ANYONE, accounts.actor_of_session, secret, b"the key of another installation")


# --- tokens ---------------------------------------------------------------------------------------


async def test_a_token_is_made_used_and_revoked(ctx: Context, clock: FakeClock):
    person, key = await make_user(ctx), ctx.settings.secret_key()
    token, secret = await ctx.db.work(person.actor, accounts.add_token, "  heat pump  ", key)
    assert (token.name, token.created_at, token.used_at) == ("heat pump", clock.now(), None)

    actor, found = await ctx.db.read(ANYONE, accounts.actor_of_token, secret, key)
    assert found == person.user
    assert (actor.kind, actor.subject_id, actor.token_id, actor.door) == (
        Kind.TOKEN,
        person.user.id,
        token.id,
        "api",
    )
    assert actor.team_ids == (person.team_id,)

    await ctx.db.work(actor, accounts.note_token_use, token.id)
    first_use = clock.now()
    clock.advance(60)
    await ctx.db.work(actor, accounts.note_token_use, token.id)
    assert [each.used_at for each in await ctx.db.read(person.actor, accounts.list_tokens)] == [first_use]
    clock.advance(600)
    await ctx.db.work(actor, accounts.note_token_use, token.id)
    assert [each.used_at for each in await ctx.db.read(person.actor, accounts.list_tokens)] == [clock.now()]

    await ctx.db.work(person.actor, accounts.revoke_token, token.id)
    with pytest.raises(Unauthenticated):
        await ctx.db.read(ANYONE, accounts.actor_of_token, secret, key)
    assert await ctx.db.read(person.actor, accounts.list_tokens) == []
    with pytest.raises(NotFound):
        await ctx.db.work(person.actor, accounts.revoke_token, token.id)


async def test_a_secret_is_kept_nowhere(sqlite_ctx: Context):
    ctx = sqlite_ctx
    person, key = await make_user(ctx), ctx.settings.secret_key()
    _, secret = await ctx.db.work(person.actor, accounts.add_token, "heat pump", key)
    kept = b"".join(path.read_bytes() for path in ctx.settings.data.rglob("voltyard.db*"))
    assert person.user.email.encode() in kept
    assert secret.encode() not in kept
    assert secret.removeprefix("vyt_").encode() not in kept


async def test_a_token_needs_a_name(ctx: Context):
    person, key = await make_user(ctx), ctx.settings.secret_key()
    for name in ("", "   ", "\x00"):
        with pytest.raises(Invalid):
            await ctx.db.work(person.actor, accounts.add_token, name, key)
    token, _ = await ctx.db.work(person.actor, accounts.add_token, "x" * 300, key)
    assert token.name == "x" * 120


async def test_tokens_are_listed_newest_first_and_to_their_owner_only(ctx: Context, clock: FakeClock):
    one, other, key = await make_user(ctx), await make_user(ctx), ctx.settings.secret_key()
    made = []
    for name in ("a", "b", "c"):
        token, _ = await ctx.db.work(one.actor, accounts.add_token, name, key)
        made.append(token)
        clock.advance(1)
    assert await ctx.db.read(one.actor, accounts.list_tokens) == made[::-1]
    assert await ctx.db.read(other.actor, accounts.list_tokens) == []


async def test_a_foreign_token_cannot_be_revoked(ctx: Context):
    one, other, key = await make_user(ctx), await make_user(ctx), ctx.settings.secret_key()
    token, secret = await ctx.db.work(one.actor, accounts.add_token, "heat pump", key)
    for wrong in (token.id, "tok_nonsense", one.user.id):
        with pytest.raises(NotFound):
            await ctx.db.work(other.actor, accounts.revoke_token, wrong)
    await ctx.db.read(ANYONE, accounts.actor_of_token, secret, key)


async def test_only_the_system_makes_tokens_for_somebody(ctx: Context):
    one, other, key = await make_user(ctx), await make_user(ctx), ctx.settings.secret_key()
    _, secret = await ctx.db.work(SYSTEM, accounts.add_token, "first token", key, one.user.id)
    actor, _ = await ctx.db.read(ANYONE, accounts.actor_of_token, secret, key)
    assert actor.subject_id == one.user.id
    with pytest.raises(AssertionError):
        await ctx.db.work(other.actor, accounts.add_token, "a foreign token", key, one.user.id)


# --- preferences ----------------------------------------------------------------------------------


async def test_people_choose_name_language_and_theme(ctx: Context):
    person, other = await make_user(ctx), await make_user(ctx)
    changed = await ctx.db.work(
        person.actor, lambda work: accounts.set_preferences(work, name=" Anna ", language="da", theme="dark")
    )
    assert (changed.name, changed.language, changed.theme) == ("Anna", "da", "dark")
    same = await ctx.db.work(person.actor, accounts.set_preferences)
    assert same == changed
    assert await ctx.db.read(SYSTEM, accounts.user, other.user.id) == other.user


@pytest.mark.parametrize(
    ("field", "value"), [("name", " "), ("name", "\x00"), ("language", "xx"), ("theme", "pink")]
)
async def test_a_preference_that_is_not_there_is_refused(sqlite_ctx: Context, field: str, value: str):
    person = await make_user(sqlite_ctx)
    with pytest.raises(Invalid) as refused:
        await sqlite_ctx.db.work(person.actor, lambda work: accounts.set_preferences(work, **{field: value}))
    assert refused.value.errors[0][0] == f"/{field}"
    assert await sqlite_ctx.db.read(SYSTEM, accounts.user, person.user.id) == person.user
