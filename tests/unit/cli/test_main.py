"""The command line: what it prints, and what it exits with."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from voltyard.cli import demo
from voltyard.cli import main as program
from voltyard.cli.main import cli, read_inventory
from voltyard.kernel.errors import Invalid


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, whatever the machine's own settings are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOLTYARD_DATABASE_URL", raising=False)
    monkeypatch.delenv("VOLTYARD_NATS_URL", raising=False)
    monkeypatch.setenv("VOLTYARD_DATA", str(tmp_path / "data"))
    yield tmp_path
    structlog.reset_defaults()  # a command lets the log write to an output that ends with it


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


def add_ann() -> Result:
    return run("user", "add", "Ann@Example.com", "--password-stdin", stdin="long enough!\n")


def test_adding_a_user_prints_the_ids():
    added = add_ann()
    assert added.exit_code == 0, added.stderr
    assert re.fullmatch(r"user usr_\w{26}\nteam team_\w{26}\n", added.stdout)


def test_a_second_user_with_the_same_address_is_refused():
    add_ann()
    again = add_ann()
    assert again.exit_code == 3
    assert again.stderr.startswith("voltyard: ")
    assert not again.stdout


@pytest.mark.parametrize(
    ("email", "password"), [("ann@example.com", "short"), ("no address", "long enough!")]
)
def test_values_that_cannot_be_are_refused_with_a_sentence(email, password):
    refused = run("user", "add", email, "--password-stdin", stdin=f"{password}\n")
    assert refused.exit_code == 2
    assert "Traceback" not in refused.stderr


def test_adding_a_token_prints_only_the_token():
    add_ann()
    added = run("token", "add", "ann@example.com", "--name", "script")
    assert added.exit_code == 0, added.stderr
    assert re.fullmatch(r"\S{20,}\n", added.stdout)


def test_a_token_for_nobody_is_refused():
    refused = run("token", "add", "nobody@example.com", "--name", "script")
    assert refused.exit_code == 3
    assert "nobody@example.com" in refused.stderr


def test_importing_an_inventory_tells_what_was_there(away: Path):
    (away / "one.csv").write_text("identity,pin,password,vendor,model\nCP-1,1,p,V,M\nCP-2,2,,,\n")
    (away / "two.csv").write_text("\ufeffpassword, identity\nx, cp-1 \n\n,CP-3\n")
    first, second = run("inventory", "import", "one.csv"), run("inventory", "import", "two.csv")
    assert first.stdout == "2 imported, 0 were there already\n"
    assert second.stdout == "1 imported, 1 were there already\n  there already: cp-1\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the first line"),
        (b"CP-1,1234\n", "the first line"),
        (b"identity;pin\nCP-1;2\n", "the first line"),
        (b"identity,identity\nCP-1,CP-2\n", "the first line"),
        (b"identity,colour\nCP-1,red\n", "the first line"),
        (b"identity,pin\nCP-1,1\nCP/2,2\n", "line 3"),
        (b"identity,pin\nCP-1,1\n ,2\n", "line 3"),
        (b"identity,pin\nCP-1,1,surplus\n", "line 2"),
        (b"identity,pin\nCP-1,1\nCP-2,2\ncp-1,3\n", "line 4"),
        (b"identity\n" + b"x" * 49 + b"\n", "line 2"),
        (b"identity\nCP-\xe6\n", "UTF-8"),
        (b'identity\n"CP-1\n', "is not CSV"),
    ],
)
def test_a_wrong_inventory_names_the_line_and_imports_nothing(away: Path, content, told):
    file = away / "wrong.csv"
    file.write_bytes(content)
    refused = run("inventory", "import", str(file))
    assert refused.exit_code == 2, refused.stderr
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr
    with pytest.raises(Invalid):
        read_inventory(file)


def test_an_inventory_that_is_not_there_is_told_in_words():
    refused = run("inventory", "import", "nowhere.csv")
    assert refused.exit_code == 5
    assert "nowhere.csv" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--roles", "gateway"), "VOLTYARD_NATS_URL"),
        (("--roles", "juggler"), "no such role"),
        (("--roles", ""), "role"),
        (("--http-port", "many"), "--http-port"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_starts(arguments, told, away: Path):
    refused = run("serve", *arguments)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert not (away / "data").exists()


def test_a_setting_of_the_environment_that_cannot_be_is_named(monkeypatch):
    monkeypatch.setenv("VOLTYARD_HTTP_PORT", "many")
    refused = run("migrate")
    assert refused.exit_code == 2
    assert "http_port" in refused.stderr


def test_checking_shows_settings_without_secrets_and_tries_the_parts(monkeypatch):
    monkeypatch.setenv("VOLTYARD_SECRET", "hunter2")
    run("migrate")
    checked = run("check")
    assert checked.exit_code == 0, checked.stderr
    assert "database and bus answer" in checked.stdout
    assert "http_port" in checked.stdout
    assert "hunter2" not in checked.stdout


def test_a_database_that_cannot_be_reached_is_told_in_words(monkeypatch):
    monkeypatch.setenv("VOLTYARD_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/none")
    for command in (("check",), ("migrate",), ("user", "add", "a@example.com", "--password-stdin")):
        refused = run(*command, stdin="long enough!\n")
        assert refused.exit_code == 5, (command, refused.stdout, refused.exception)
        assert "hunter2" not in refused.output


def test_migrating_twice_is_once():
    for _ in range(2):
        assert run("migrate").stdout == "the database is up to date\n"


def test_a_fault_of_ours_exits_with_70(monkeypatch, capsys):
    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(program, "cli", broken)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 70
    assert "a bug" in capsys.readouterr().err


def test_without_arguments_the_commands_are_shown():
    shown = run("--help")
    for command in ("serve", "migrate", "check", "demo", "user", "token", "inventory", "sim"):
        assert command in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--quirks", "strange"), "--quirks is none or odd"),
        (("--timezone", "Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (("--root", "nowhere.pem"), "nowhere.pem"),
    ],
)
def test_a_charger_that_cannot_be_simulated_is_refused_with_a_sentence(arguments, told):
    refused = run("sim", "charger", "--url", "ws://127.0.0.1:1", "--identity", "CP-1", *arguments)
    assert refused.exit_code == 2, refused.exception
    assert told in refused.stderr


def test_the_demo_takes_another_port_for_tls_where_its_own_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = demo.free_port(port)
        assert found not in {0, port}
    assert demo.free_port(port) == port
    assert demo.free_port(0) == 0
