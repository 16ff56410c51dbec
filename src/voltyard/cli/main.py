"""The command ``voltyard``. A refused command says what to do and exits with the kind's code."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import sys
import traceback
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from voltyard.kernel.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooMany,
    Unauthenticated,
    Unavailable,
    VoltyardError,
)
from voltyard.kernel.settings import Settings

T = TypeVar("T")

EXIT_CODES: tuple[tuple[type[VoltyardError], int], ...] = (
    (Unauthenticated, 4),
    (Forbidden, 4),
    (NotFound, 3),
    (Conflict, 3),
    (Invalid, 2),
    (TooMany, 5),
    (Unavailable, 5),
)

cli = typer.Typer(
    help="Voltyard: the central system, operator proxy, portal and power manager for chargers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
users = typer.Typer(help="People.", no_args_is_help=True)
tokens = typer.Typer(help="API tokens.", no_args_is_help=True)
inventory = typer.Typer(help="Chargers that were delivered.", no_args_is_help=True)
one_charger = typer.Typer(help="What only whoever runs the installation may do.", no_args_is_help=True)
sim = typer.Typer(help="Virtual chargers.", no_args_is_help=True)
cli.add_typer(users, name="user")
cli.add_typer(tokens, name="token")
cli.add_typer(inventory, name="inventory")
cli.add_typer(one_charger, name="charger")
cli.add_typer(sim, name="sim")

Data = Annotated[Path | None, typer.Option("--data", help="Folder for the embedded database and files.")]


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on standard error and exit."""
    print(f"voltyard: {message}", file=sys.stderr)
    raise SystemExit(code)


def load(**changes: Any) -> Settings:
    """Read the settings, with what the command line says on top."""
    try:
        return Settings(**{name: value for name, value in changes.items() if value is not None})
    except ValidationError as wrong:
        lines = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']) or 'settings'}: {error['msg']}"
            for error in wrong.errors()
        )
        fail(f"these settings cannot work: {lines}", 2)


def guarded(act: Callable[[], T]) -> T:
    """Run an act and turn a refusal into words and an exit code."""
    try:
        return act()
    except VoltyardError as wrong:
        code = next((code for kind, code in EXIT_CODES if isinstance(wrong, kind)), 5)
        fail(wrong.detail, code)
    except OSError as wrong:
        fail(str(wrong), 5)


def in_parts(settings: Settings, act: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run an act with the database ready, as a command beside a running server may."""
    from voltyard import app
    from voltyard.kernel.log import set_up

    set_up(level="warning")

    async def main() -> T:
        await app.upgrade(settings)
        async with app.parts(settings) as ctx:
            return await act(ctx)

    return guarded(lambda: asyncio.run(main()))


@cli.command()
def serve(
    roles: Annotated[str | None, typer.Option(help="all, or names with commas.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Portal and REST.")] = None,
    ocpp_port: Annotated[int | None, typer.Option(help="Chargers.")] = None,
    ocpp_tls_port: Annotated[int | None, typer.Option(help="Chargers over TLS; 0 for none.")] = None,
    data: Data = None,
) -> None:
    """Serve; with no database or NATS named, everything runs in this one process."""
    from voltyard import app

    settings = load(
        roles=roles,
        host=host,
        http_port=http_port,
        ocpp_port=ocpp_port,
        ocpp_tls_port=ocpp_tls_port,
        data=data,
    )
    guarded(lambda: app.run_server(settings))


@cli.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the newest form of its tables."""
    from voltyard import app

    settings = load(data=data)
    guarded(lambda: asyncio.run(app.upgrade(settings)))
    print("the database is up to date")


@cli.command()
def trace(
    what: Annotated[
        str, typer.Argument(help="A number of the log, or the id of a message, command, transaction or link.")
    ],
    data: Data = None,
) -> None:
    """Follow one message through: what the charger said and what each operator got of it."""
    from voltyard.kernel.actor import system
    from voltyard.operators.trace import Step, walk

    async def act(ctx: Any) -> list[Step]:
        found: list[Step] = await ctx.db.read(system("terminal"), walk, what)
        return found

    for step in in_parts(load(data=data), act):
        arrow = "→" if step.is_outward else "←"
        took = "" if step.latency_ms is None else f" in {step.latency_ms:.0f} ms"
        number = "" if step.number is None else f" #{step.number}"
        print(f"{step.at:%Y-%m-%d %H:%M:%S.%f} {arrow} {step.leg}{number} {step.action} {step.message_id}")
        print(f"    {step.payload}")
        if step.note:
            print(f"    changed: {step.note}")
        print(f"    {step.status}{took}: {step.answer or '–'}")


@cli.command()
def check(data: Data = None) -> None:
    """Show the settings that count, secrets hidden, and try the database and the bus."""
    from voltyard import app
    from voltyard.kernel.actor import system

    settings = load(data=data)
    for name, value in sorted(settings.model_dump().items()):
        print(f"{name:28} {value}")

    async def main() -> None:
        async with app.parts(settings) as ctx:
            await ctx.db.read(system("check"), lambda work: work.now)

    guarded(lambda: asyncio.run(main()))
    print("database and bus answer")


@cli.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 1,
    speed: Annotated[float, typer.Option(help="How much faster than life the cars charge.")] = 10.0,
    http_port: Annotated[int | None, typer.Option(help="Portal and REST.")] = None,
    ocpp_port: Annotated[int | None, typer.Option(help="Chargers.")] = None,
    ocpp_tls_port: Annotated[
        int, typer.Option(help="Chargers over TLS; another free one if it is taken, none if 0.")
    ] = 8888,
    data: Annotated[Path, typer.Option(help="Folder of the demo; emptied at the start.")] = Path(".demo"),
) -> None:
    """Serve with a simulated world: locations, people, chargers, cars and cards."""
    from voltyard.cli import demo as world

    settings = load(
        data=data / "data",
        http_port=http_port,
        ocpp_port=ocpp_port,
        ocpp_tls_port=world.free_port(ocpp_tls_port),
        host="127.0.0.1",
        log_level="warning",
    )
    guarded(lambda: world.run(settings, seed=seed, speed=speed))


def typed_password(is_on_stdin: bool) -> str:
    """Return a password from standard input, or from who sits at the terminal, asked twice."""
    if is_on_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@users.command("add")
def add_user(
    email: Annotated[str, typer.Argument(help="With which they log in.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    team: Annotated[str, typer.Option(help="Name of the personal team.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May claim waiting chargers without PIN.")] = False,
    data: Data = None,
) -> None:
    """Add a person with a personal team; print their ids."""
    from voltyard.accounts import service as accounts

    password = typed_password(password_stdin)
    person = in_parts(
        load(data=data),
        lambda ctx: accounts.register(ctx, email, password=password, team=team, is_admin=admin),
    )
    print(f"user {person.id}")
    for each in person.teams:
        print(f"team {each.id}")


@users.command("password")
def set_password(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data: Data = None,
) -> None:
    """Set a person's password, for who cannot get in; all their browsers are logged out."""
    from voltyard.accounts import service as accounts
    from voltyard.kernel.actor import system

    password = typed_password(password_stdin)
    actor = system("cli")
    person = in_parts(load(data=data), lambda ctx: accounts.put_password(ctx, actor, email, password))
    print(f"the password of {person.email} is set")


@users.command("factor-off")
def turn_factor_off(
    email: Annotated[str, typer.Argument(help="Of the person who has lost phone and recovery codes.")],
    data: Data = None,
) -> None:
    """Turn a person's second factor off."""
    from voltyard.accounts import factors
    from voltyard.kernel.actor import system

    actor = system("cli")
    person = in_parts(load(data=data), lambda ctx: ctx.db.work(actor, factors.put_off, email))
    print(f"the second factor of {person.email} is off")


@tokens.command("add")
def add_token(
    email: Annotated[str, typer.Argument(help="Of the person for whom it acts.")],
    name: Annotated[str, typer.Option(help="What it is for, as the list of tokens shows it.")],
    data: Data = None,
) -> None:
    """Make an API token for a person; it is printed this once."""
    from voltyard.accounts import service as accounts
    from voltyard.kernel.actor import system

    settings = load(data=data)
    actor = system("cli")

    async def main(ctx: Any) -> str:
        person = await ctx.db.read(actor, accounts.user_by_email, email)
        _, secret = await ctx.db.work(actor, accounts.add_token, name, settings.secret_key(), person.id)
        return str(secret)

    print(in_parts(settings, main))


@inventory.command("import")
def import_inventory(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8, its columns named in the first line.")],
    data: Data = None,
) -> None:
    """Import delivered chargers from CSV: identity,pin,password,vendor,model; only identity is needed."""
    from voltyard.chargers import service as chargers
    from voltyard.kernel.actor import system

    settings = load(data=data)
    delivered = guarded(lambda: read_inventory(file))
    skipped = in_parts(
        settings,
        lambda ctx: ctx.db.work(system("cli"), chargers.register, delivered, settings.secret_key()),
    )
    print(f"{len(delivered) - len(skipped)} imported, {len(skipped)} were there already")
    for identity in skipped:
        print(f"  there already: {identity}")


def read_inventory(file: Path) -> list[Any]:
    """Read delivered chargers from a CSV file. Raises: Invalid with the line that is wrong; OSError."""
    from voltyard.chargers.service import Delivered, identity_key

    columns = ("identity", "pin", "password", "vendor", "model")
    delivered: list[Delivered] = []
    known: set[str] = set()
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, strict=True)
            names = [name.strip() for name in rows.fieldnames or ()]
            if "identity" not in names or len(set(names)) < len(names) or not set(names) <= set(columns):
                raise Invalid(f"the first line of {file} must be: {','.join(columns)}")
            rows.fieldnames = names
            for row in rows:
                try:
                    one = _delivered(row, columns, known)
                except Invalid as wrong:
                    raise Invalid(f"{file}, line {rows.line_num}: {wrong.detail}") from wrong
                known.add(identity_key(one.identity))
                delivered.append(one)
    except UnicodeDecodeError as wrong:
        raise Invalid(f"{file} is not a text in UTF-8") from wrong
    except csv.Error as wrong:
        raise Invalid(f"{file} is not CSV: {wrong}") from wrong
    return delivered


def _delivered(row: dict[str, Any], columns: Sequence[str], known: Collection[str]) -> Any:
    """Make a delivered charger of a row. Raises: Invalid."""
    from voltyard.chargers.service import Delivered, check_identity, identity_key

    if None in row:
        raise Invalid("there are more values than columns")
    values = {name: (row.get(name) or "").strip() for name in columns}
    identity = check_identity(values.pop("identity"))
    if identity_key(identity) in known:
        raise Invalid(f"{identity!r} stands there twice")
    return Delivered(identity, **values)


@one_charger.command("lower-profile")
def lower_profile(
    identity: Annotated[str, typer.Argument(help="The charger's identity.")],
    profile: Annotated[int, typer.Argument(min=0, max=2, help="The security profile to enforce.")],
    data: Data = None,
) -> None:
    """Enforce a lower security profile, for a charger that cannot come with the present one any more."""
    from voltyard.chargers import security
    from voltyard.kernel.actor import system

    async def act(ctx: Any) -> None:
        await ctx.db.work(system("terminal"), security.lower_profile, identity, profile)

    in_parts(load(data=data), act)
    print(f"security profile {profile} is enforced for {identity} from now on")


@one_charger.command("root")
def show_root(data: Data = None) -> None:
    """Print the root certificate that chargers have to trust to come over TLS."""
    from voltyard.chargers import certificates

    print(in_parts(load(data=data), certificates.root_pem), end="")


@sim.command("charger")
def sim_charger(
    url: Annotated[str, typer.Option(help="ws://host:8887/ocpp, without the identity.")],
    identity: Annotated[str, typer.Option(help="The name it is known by; it goes to the end of the URL.")],
    password: Annotated[str | None, typer.Option(help="Its password; none sends none.")] = None,
    model: Annotated[str, typer.Option(help="What it says it is.")] = "Generic AC",
    control: Annotated[
        int | None, typer.Option(help="Port on this machine for plug, swipe, network; 0 finds a free one.")
    ] = None,
    connectors: Annotated[int, typer.Option(min=1, max=16, help="How many outlets it has.")] = 1,
    id_tag: Annotated[str, typer.Option(help="The card that the key s swipes.")] = "04A1B2C3",
    tls_url: Annotated[str, typer.Option(help="wss://host:8888/ocpp, from security profile 2 on.")] = "",
    root: Annotated[Path | None, typer.Option(help="The root certificate that it trusts, as PEM.")] = None,
    quirks: Annotated[
        str, typer.Option(help="odd: an old firmware that gets things wrong in harmless ways; else none.")
    ] = "none",
    timezone: Annotated[
        str,
        typer.Option(help="The zone of its clock, which shows with --quirks odd; as its location has it."),
    ] = "Europe/Amsterdam",
) -> None:
    """Run one virtual charger, until Ctrl+C, or q in its terminal."""
    from voltyard.sim import commands
    from voltyard.sim.quirks import KINDS

    if quirks not in KINDS:
        fail(f"--quirks is {' or '.join(KINDS)}", 2)
    try:
        commands.charger_command(
            url, identity, password, model, control, connectors, id_tag, tls_url, root, quirks, timezone
        )
    except (ValueError, OSError) as wrong:
        fail(str(wrong), 2)


@sim.command("fleet")
def sim_fleet(
    url: Annotated[str, typer.Option(help="ws://host:8887/ocpp")],
    count: Annotated[int, typer.Option(min=1, help="How many chargers.")],
    prefix: Annotated[str, typer.Option(help="Their names: this and 0001, 0002 …")] = "SIM",
    password: Annotated[str | None, typer.Option(help="One password for all of them.")] = None,
    passwords_file: Annotated[
        Path | None,
        typer.Option(help="CSV with identity and password, such as an inventory; instead of --prefix."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other lives.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, help="How much faster than life.")] = 1.0,
    card: Annotated[list[str] | None, typer.Option(help="A card that drivers carry; repeat it.")] = None,
    connectors: Annotated[int, typer.Option(min=1, max=16, help="How many outlets each has.")] = 1,
) -> None:
    """Run many virtual chargers with cars and drivers, until Ctrl+C."""
    from voltyard.sim import commands

    cards = tuple(card) if card else commands.DEFAULT_CARDS
    commands.fleet_command(url, count, prefix, password, passwords_file, seed, speed, cards, connectors)


@sim.command("replay")
def sim_replay(
    file: Annotated[Path, typer.Argument(help="A log of calls, exported as jsonl.")],
    url: Annotated[
        str | None,
        typer.Option(help="Play the charger's side against this server; else ours to a virtual charger."),
    ] = None,
    identity: Annotated[str, typer.Option(help="Who to be; as recorded unless given.")] = "",
    password: Annotated[str | None, typer.Option(help="The charger's password at that server.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="Keep the recorded pauses, so many times as fast as life.")
    ] = None,
    against: Annotated[str, typer.Option(help="server or sim; as --url says unless given.")] = "",
) -> None:
    """Play a recorded conversation again and tell what went differently; exits with 1 if anything did."""
    from voltyard.sim import commands

    if against not in {"", "server", "sim"}:
        fail("--against is server or sim", 2)
    if against == "server" and url is None:
        fail("say with --url where the server is", 2)
    raise SystemExit(
        commands.replay_command(file, None if against == "sim" else url, identity, password, speed)
    )


@sim.command("operator")
def sim_operator(
    port: Annotated[int, typer.Option(help="Where chargers connect; 0 finds a free one.")] = 9000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    password: Annotated[str | None, typer.Option(help="What it expects of chargers; none asks none.")] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A card that may charge; repeat it. All may unless given.")
    ] = None,
    first_number: Annotated[int, typer.Option(help="Its transactions count from here.")] = 1,
    reject_boot: Annotated[bool, typer.Option("--reject-boot", help="Let no charger in for good.")] = False,
    slow: Annotated[float, typer.Option(min=0, help="How many seconds late it answers.")] = 0.0,
) -> None:
    """Run an operator's back office that takes any charger and tells what it says, until Ctrl+C."""
    from voltyard.sim.backoffice import Backoffice, serve_until_stopped, typed_lines
    from voltyard.sim.operator import Manner, Operator

    manner = Manner(
        first_number=first_number,
        accepted_tags=frozenset(accept) if accept else None,
        registration="Rejected" if reject_boot else "Accepted",
        password=password,
        delay_s=slow,
    )

    def say(line: str) -> None:
        print(line, flush=True)

    async def act() -> None:
        backoffice = Backoffice(Operator(manner), port, host=host, say=say)
        async with typed_lines() as lines:
            await serve_until_stopped(backoffice, say, lines)

    with contextlib.suppress(KeyboardInterrupt):
        guarded(lambda: asyncio.run(act()))


def main() -> None:
    """Run the command line; a fault of ours shows its trace and exits with 70 (docs/design.md §6)."""
    try:
        cli()
    except Exception:
        traceback.print_exc()
        fail("that is a fault of Voltyard's own: please report what stands above", 70)
