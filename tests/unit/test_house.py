"""The rules of the house that no linter knows, kept by reading the syntax tree.

Each rule is a function over one source file, with its reason in the docstring. A line that must break a
rule says so, and why: `# house: <rule> - <reason>`, on that line or the one above. Every rule is itself
tested with planted violations at the end. Sizes of functions and files are a habit, not a rule.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "voltyard"
TESTS = ROOT / "tests"

ROOMS = (
    "accounts", "locations", "chargers", "cards", "tariffs", "local_lists", "reservations",
    "transactions", "operators", "power",
)  # fmt: skip
DOORS = ("api", "portal", "central", "gateway", "lines", "worker", "sim", "cli")
PURE = (
    "speech.py",
    "quirks.py",
    "ocpp/*",
    "proxy/*",
    "power/allocator.py",
    "operators/profiles.py",
    "tariffs/pricing.py",
    "locations/access.py",
    "sim/charger.py",
    "sim/operator.py",
    "sim/meter.py",
)

# Source files without a test file of their own, and the folder or file that tests them. Short on purpose.
TESTED_ELSEWHERE = {
    "*/tables.py": "integration",  # columns: the drift test compares them with the migrations
    "*/events.py": "unit",  # values without rules; the services that emit them are tested
    "*/store.py": "unit",  # through the service of its room, whose test file is asked for
    "*/*_store.py": "unit",  # the SQL of one subject of a room, through the module of that subject
    "kernel/bus.py": "integration/test_bus.py",  # one contract suite for both buses
    "kernel/bus_nats.py": "integration/test_bus.py",
    "kernel/db.py": "integration/test_db.py",  # one contract suite for both databases; so the next two
    "kernel/jobs.py": "integration/test_jobs.py",
    "kernel/leases.py": "integration/test_leases.py",
    "kernel/migrate.py": "integration/test_migrations.py",  # needs databases, and the tables of all rooms
    "kernel/context.py": "unit",  # a value without rules, used by every test of a service
    "__main__.py": "e2e",
    "api/*.py": "integration/api",  # through HTTP, as its callers meet it
    "app.py": "e2e",
    "cli/*.py": "e2e",
    "portal/*.py": "e2e",
}

# Where a task may be started outside a TaskGroup, because it outlives the function that starts it.
STARTS_TASKS = (
    "app.py",
    "cli/demo.py",
    "gateway/*",
    "kernel/bus.py",
    "kernel/bus_nats.py",
    "kernel/db.py",
    "lines/*",
    "sim/fleet.py",
)

FORBIDDEN_FILES = frozenset(
    ("utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base")
)
# Near-synonyms of words that the house has already (docs/words.md).
FORBIDDEN_WORDS = {
    "site": "location",
    "circuit": "group",
    "rfid": "card or tag",
    "csms": "operator or central",
    "backend": "operator or central",
}

ESCAPE = re.compile(r"#\s*house:\s*(?P<rule>[a-z-]+)(?P<reason>.*)")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Violation(NamedTuple):
    line: int
    text: str


@dataclass
class Source:
    """One source file: its place below src/voltyard, its text, its tree."""

    place: str
    text: str
    # Only the rules about files look at other files.
    root: Path = field(default=ROOT)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def top(self) -> str:
        return self.place.split("/", maxsplit=1)[0]

    @property
    def name(self) -> str:
        return self.place.rsplit("/", maxsplit=1)[-1]

    @property
    def is_store(self) -> bool:
        """A room's SQL: in store.py, or in <subject>_store.py where a room holds several subjects."""
        return self.name == "store.py" or self.name.endswith("_store.py")

    def lies_in(self, *patterns: str) -> bool:
        return any(fnmatch(self.place, pattern) for pattern in patterns)

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in self.nodes if isinstance(node, ast.Call))

    def functions(self) -> Iterator[Function]:
        return (node for node in self.nodes if isinstance(node, Function))

    @cached_property
    def imported(self) -> dict[str, str]:
        """What each imported name stands for: `sa` -> sqlalchemy, `select` -> sqlalchemy.select."""
        meaning: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    meaning[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return meaning

    def dotted(self, node: ast.AST) -> str:
        """Spell an expression with the imported names resolved; "" where it is no plain chain of names."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            front = self.dotted(node.value)
            return f"{front}.{node.attr}" if front else ""
        return ""

    def modules(self) -> Iterator[tuple[int, str]]:
        """Every module that is imported, with the names taken from it: `voltyard.cards.store`, `nats`."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield node.lineno, f"{node.module or ''}.{alias.name}"


Rule = Callable[[Source], Iterator[Violation]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    RULES[function.__name__.replace("_", "-")] = function
    return function


# --- Rooms ---


@rule
def store_is_private(source: Source) -> Iterator[Violation]:
    """A room's queries can only change freely while nobody else calls them."""
    for line, module in source.modules():
        parts = module.split(".")
        is_store = any(part == "store" or part.endswith("_store") for part in parts[2:3])
        if parts[0] == "voltyard" and is_store and parts[1] != source.top:
            yield Violation(line, f"{module} is private to its room; call {parts[1]}.service")


@rule
def memberships_stay_home(source: Source) -> Iterator[Violation]:
    """Who may see what is decided once; a second reader of that table would decide it again, differently."""
    if source.top == "locations":
        return
    for line, module in source.modules():
        if module.startswith("voltyard.locations.") and re.search(r"\.[Mm]emberships?$", module):
            yield Violation(
                line, "memberships are read only in locations; use locations.visible or locations.access"
            )
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {"memberships", "Membership"}:
            owner = source.dotted(node.value)
            if owner.startswith("voltyard.locations"):
                yield Violation(node.lineno, "memberships are read only in locations")


@rule
def sql_in_stores(source: Source) -> Iterator[Violation]:
    """All SQL of a subject in one file: that is where one looks for a slow or a leaking query."""
    if source.top == "kernel" or source.name in {"store.py", "tables.py"} or source.is_store:
        return
    for call in source.calls():
        name = source.dotted(call.func)
        if re.fullmatch(
            r"sqlalchemy(\.\w+)*\.(select|insert|update|delete|text|union|union_all)", name
        ) or re.fullmatch(r"work\.(insert|insert_new|upsert|run_many)", name):
            yield Violation(call.lineno, f"{name}() belongs in the store.py of a room")


@rule
def lists_are_scoped(source: Source) -> Iterator[Violation]:
    """A list that forgets its scope shows one team's things to another."""
    # accounts lies below locations and knows no visible(); its lists are of one user or one team.
    if not source.is_store or source.top not in ROOMS or source.top == "accounts":
        return
    for function in source.functions():
        if not function.name.startswith("list_"):
            continue
        called = {source.dotted(c.func).split(".")[-1] for c in ast.walk(function) if isinstance(c, ast.Call)}
        if "visible" not in called:
            yield Violation(function.lineno, f"{function.name} does not go through locations.visible(…)")


@rule
def work_functions_are_plain(source: Source) -> Iterator[Violation]:
    """Inside a transaction nothing is awaited but the database; a function that cannot await keeps that."""
    for function in source.functions():
        arguments = [*function.args.posonlyargs, *function.args.args]
        first = arguments[0].arg if arguments else ""
        if first == "work" and isinstance(function, ast.AsyncFunctionDef):
            yield Violation(
                function.lineno,
                f"{function.name} takes work first, so it is a plain function, run by ctx.db.work(actor, …)",
            )


# --- Who may do what ---


@rule
def one_place_commits(source: Source) -> Iterator[Violation]:
    """A commit outside Work would tell events before, or never; half an intent would stay."""
    if source.place == "kernel/db.py":
        return
    for call in source.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"commit", "rollback"}:
            yield Violation(call.lineno, f"{call.func.attr}() is called only in kernel/db.py")


@rule
def nats_has_one_user(source: Source) -> Iterator[Violation]:
    """The seam between one process and many is one file wide."""
    if source.place == "kernel/bus_nats.py":
        return
    for line, module in source.modules():
        if module == "nats" or module.startswith("nats."):
            yield Violation(line, "nats is imported only in kernel/bus_nats.py")


CLOCK_AND_CHANCE = re.compile(
    r"datetime(\.datetime|\.date)?\.(now|utcnow|today)|time\.(time|monotonic|perf_counter)(_ns)?|time\.sleep"
    r"|uuid\.uuid[1-8]"
)


@rule
def time_is_given(source: Source) -> Iterator[Violation]:
    """Time is an argument (or a Clock), so that a year passes in a test within a second."""
    if source.top == "kernel":
        return
    for call in source.calls():
        name = source.dotted(call.func)
        if CLOCK_AND_CHANCE.fullmatch(name):
            yield Violation(
                call.lineno, f"{name}() is for the kernel; take the time from ctx.clock or work.now"
            )


@rule
def print_is_for_terminals(source: Source) -> Iterator[Violation]:
    """A server speaks through its log."""
    if source.top == "cli":
        return
    for call in source.calls():
        if isinstance(call.func, ast.Name) and call.func.id == "print":
            yield Violation(call.lineno, "print() is for cli; use the log")


@rule
def tasks_have_owners(source: Source) -> Iterator[Violation]:
    """A task that nobody awaits loses its exception; a TaskGroup does not."""
    if source.lies_in(*STARTS_TASKS):
        return
    for call in source.calls():
        name = source.dotted(call.func)
        of_a_loop = isinstance(call.func, ast.Attribute) and (
            call.func.attr == "create_task" and "loop" in ast.unparse(call.func.value)
        )
        if name in {"asyncio.create_task", "asyncio.ensure_future"} or of_a_loop:
            yield Violation(
                call.lineno, "start tasks in an asyncio.TaskGroup (or join the list STARTS_TASKS)"
            )


# --- Shapes ---

MUTABLE_CALLS = frozenset(
    ("list", "dict", "set", "bytearray", "collections.defaultdict", "collections.deque",
     "collections.Counter", "collections.OrderedDict", "itertools.count")
)  # fmt: skip
READ_ONLY_TYPES = frozenset(
    ("Mapping", "Sequence", "Collection", "Set", "AbstractSet", "Iterable", "TypeAlias")
)


def annotated_read_only(annotation: ast.expr | None) -> bool:
    """Tell whether the type checker will refuse to change the value: `Final[Mapping[str, int]]`."""
    if annotation is None:
        return False
    text = ast.unparse(annotation)
    outer = re.sub(r"^(typing\.)?(Final|ClassVar)\[(.*)\]$", r"\3", text)
    return outer.split("[")[0].split(".")[-1] in READ_ONLY_TYPES


@rule
def modules_hold_no_state(source: Source) -> Iterator[Violation]:
    """Two tests, two tenants or two event loops in one process must not meet in a module."""
    literals = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    for node in source.tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [ast.unparse(target) for target in targets]
        if all(re.fullmatch(r"__\w+__", name) for name in names):
            continue
        value = node.value
        mutable = isinstance(value, literals) or (
            isinstance(value, ast.Call) and source.dotted(value.func) in MUTABLE_CALLS
        )
        if mutable and not (isinstance(node, ast.AnnAssign) and annotated_read_only(node.annotation)):
            yield Violation(
                node.lineno,
                f"{names[0]} is a mutable value of a module: use a tuple, a frozenset, MappingProxyType, "
                "or annotate it as Mapping/Sequence so that the type checker keeps it unchanged",
            )


@rule
def settings_are_passed_down(source: Source) -> Iterator[Violation]:
    """Settings read at import make two configurations in one process impossible."""
    for node in source.tree.body:
        if isinstance(node, Function | ast.ClassDef):
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and source.dotted(call.func).split(".")[-1] == "Settings":
                yield Violation(call.lineno, "Settings() is built in app.main and passed down")


@rule
def imports_stand_at_the_top(source: Source) -> Iterator[Violation]:
    """An import inside a function hides an arrow, usually one that points up."""
    if source.top == "cli":  # a command imports what it runs, so that --help stays quick
        return
    for function in source.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield Violation(node.lineno, f"import inside {function.name}()")


# --- Words ---


def words_of(identifier: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier)]


def defined_names(source: Source) -> Iterator[tuple[int, str]]:
    for node in source.nodes:
        if isinstance(node, Function | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


@rule
def files_are_named_by_subject(source: Source) -> Iterator[Violation]:
    """What has no name of its own collects everything."""
    for part in source.place.removesuffix(".py").split("/"):
        if part in FORBIDDEN_FILES:
            yield Violation(1, f"'{part}' says nothing; name the subject")


@rule
def one_word_for_one_thing(source: Source) -> Iterator[Violation]:
    """Two words for one thing become two things."""
    if source.top == "ocpp":  # messages carry the names that OCPP gave them
        return
    for line, name in defined_names(source):
        for word in words_of(name):
            singular = word[:-1] if word.endswith("s") and word[:-1] in FORBIDDEN_WORDS else word
            if singular in FORBIDDEN_WORDS:
                yield Violation(line, f"{name}: we say {FORBIDDEN_WORDS[singular]}, not {singular}")


@rule
def kilo_stays_at_doors(source: Source) -> Iterator[Violation]:
    """Inside it is W and Wh everywhere, so that no factor of a thousand can be forgotten."""
    if source.top in DOORS or source.lies_in("kernel/units.py", "*/export.py", "ocpp/*"):
        return
    for line, name in defined_names(source):
        if {"kw", "kwh"} & set(words_of(re.sub(r"[kK]W(h?)", r"_kw\1_", name))):
            yield Violation(line, f"{name}: power is in W and energy in Wh outside doors")


# --- Tests and docstrings ---


@rule
def files_have_tests(source: Source) -> Iterator[Violation]:
    """Where a thing is tested is known without searching."""
    if source.name == "__init__.py":
        return
    *folders, name = source.place.split("/")
    own = Path("unit", *folders, f"test_{name}")
    if (source.root / "tests" / own).exists():
        return
    for pattern, place in TESTED_ELSEWHERE.items():
        if fnmatch(source.place, pattern):
            there = source.root / "tests" / place
            if there.is_file() or any(there.rglob("test_*.py")):
                return
            yield Violation(1, f"tests/{place} should test it and holds no test")
            return
    yield Violation(1, f"tests/{own} is missing")


def needs_docstrings(source: Source) -> bool:
    return source.lies_in(*PURE) or (source.top in ROOMS and source.name == "service.py")


@rule
def meaning_is_written_down(source: Source) -> Iterator[Violation]:
    """Pure modules and services are what others read and call: units, guarantees and errors stand there."""
    if not needs_docstrings(source):
        return
    for node in source.tree.body:
        if isinstance(node, Function) and not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield Violation(node.lineno, f"{node.name} has no docstring")


ERROR_KINDS = frozenset(
    ("VoltyardError", "Refused", "Unauthenticated", "Forbidden", "NotFound", "Conflict", "Invalid", "TooMany",
     "Unavailable", "ChargerOffline", "OperatorOffline", "TimedOut", "Unserved", "PeerFault")
)  # fmt: skip


def error_classes(sources: list[Source]) -> dict[str, list[tuple[Source, ast.ClassDef]]]:
    """Find every class below VoltyardError, by the names of the bases."""
    classes = [(s, n) for s in sources for n in s.nodes if isinstance(n, ast.ClassDef)]
    known, found = set(ERROR_KINDS), {}
    grew = True
    while grew:
        grew = False
        for source, node in classes:
            bases = {source.dotted(base).split(".")[-1] for base in node.bases}
            if (bases & known or node.name == "VoltyardError") and (source, node) not in found.get(
                node.name, ()
            ):
                found.setdefault(node.name, []).append((source, node))
                known.add(node.name)
                grew = True
    return found


@rule
def errors_are_documented(source: Source) -> Iterator[Violation]:
    """The docstring of an error is its page in docs/problems.md."""
    for found in error_classes([source]).values():
        for _, node in found:
            if ast.get_docstring(node) is None:
                yield Violation(node.lineno, f"{node.name} has no docstring")


# --- Tables ---


@rule
def instants_are_aware(source: Source) -> Iterator[Violation]:
    """A naive time means another instant on each machine; UtcTime refuses it."""
    if source.place == "kernel/db.py":
        return
    for node in source.nodes:
        if isinstance(node, ast.Name | ast.Attribute):
            name = source.dotted(node)
            if re.fullmatch(r"sqlalchemy(\.\w+)*\.(DateTime|DATETIME|TIMESTAMP|TIME|Time)", name):
                yield Violation(node.lineno, f"{name}: columns of time are kernel.db.UtcTime")


@rule
def rows_have_no_relationships(source: Source) -> Iterator[Violation]:
    """A relationship loads when it is read, which is in the wrong place and at the wrong time."""
    for call in source.calls():
        if source.dotted(call.func).split(".")[-1] in {"relationship", "backref", "Relationship"} and any(
            module.startswith("sqlalchemy") for _, module in source.modules()
        ):
            yield Violation(call.lineno, "rows without relationships; join in the store")


@rule
def tables_have_keys(source: Source) -> Iterator[Violation]:
    """A row that cannot be named cannot be changed alone."""
    for call in source.calls():
        if source.dotted(call.func) not in {"sqlalchemy.Table", "sqlalchemy.schema.Table"}:
            continue
        parts = [ast.unparse(argument) for argument in call.args]
        if len(parts) > 2 and not any("primary_key=True" in p or "PrimaryKeyConstraint(" in p for p in parts):
            yield Violation(call.lineno, f"table {parts[0]} has no primary key")


def registered_prefixes() -> frozenset[str]:
    """Read the prefixes of ids without importing the package."""
    tree = ast.parse((SRC / "kernel" / "ids.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(target) == "PREFIXES":
                words = [c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant)]
                return frozenset(" ".join(str(word) for word in words).split())
    raise AssertionError("kernel/ids.py has no PREFIXES")


@rule
def prefixes_are_registered(source: Source) -> Iterator[Violation]:
    """An id names its kind; an unknown prefix would only be found out when the first row is made."""
    for call in source.calls():
        name = source.dotted(call.func)
        if name.startswith("voltyard.kernel.ids.") and call.args and isinstance(call.args[0], ast.Constant):
            prefix = call.args[0].value
            if name.split(".")[-1] in {"new_id", "is_id", "check"} and prefix not in registered_prefixes():
                yield Violation(call.lineno, f"prefix {prefix!r} is not in kernel/ids.py")


# --- The machinery ---


def escapes(source: Source) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(source.lines, start=1):
        if found := ESCAPE.search(line):
            yield number, found["rule"], found["reason"].strip(" -–:.")


def unexcused(name: str, source: Source) -> list[Violation]:
    """Apply a rule and leave out the lines that carry its escape comment."""
    excused = {number for number, escaped, reason in escapes(source) if escaped == name and reason}
    excused |= {number + 1 for number in excused}
    return [v for v in RULES[name](source) if v.line not in excused]


def all_sources() -> list[Source]:
    return [Source(path.relative_to(SRC).as_posix(), path.read_text()) for path in sorted(SRC.rglob("*.py"))]


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return all_sources()


@pytest.mark.parametrize("name", RULES)
def test_the_house_keeps(name: str, sources: list[Source]):
    found = [f"src/voltyard/{s.place}:{v.line}: {v.text}" for s in sources for v in unexcused(name, s)]
    if found:
        reason = f"{name}: {RULES[name].__doc__}"
        escape = f"Where it must be: # house: {name} - the reason"
        pytest.fail("\n".join([reason, *found, escape]), pytrace=False)


def test_every_escape_names_a_rule_and_a_reason(sources: list[Source]):
    wrong = [
        f"src/voltyard/{s.place}:{number}: {escaped}"
        for s in sources
        for number, escaped, reason in escapes(s)
        if escaped not in RULES or not reason
    ]
    assert not wrong


def test_every_rule_has_a_reason():
    assert [name for name, function in RULES.items() if not function.__doc__] == []


def test_no_two_errors_share_a_code(sources: list[Source]):
    doubled = {
        name: [source.place for source, _ in found]
        for name, found in error_classes(sources).items()
        if len(found) > 1
    }
    assert not doubled, "the code of an error is its class name"


def test_unit_tests_use_no_mocks():
    found = []
    for path in sorted((TESTS / "unit").rglob("*.py")):
        source = Source(path.relative_to(TESTS).as_posix(), path.read_text())
        found += [
            f"tests/{source.place}:{line}" for line, m in source.modules() if m.startswith("unittest.mock")
        ]
        found += [
            f"tests/{source.place}:{f.lineno}"
            for f in source.functions()
            if {"mocker", "mock"} & {argument.arg for argument in f.args.args}
        ]
    assert not found, "fakes, not mocks: LocalBus, FakeClock, a mail outbox, sim chargers and operators"


# --- Tests of the rules: each planted line must be found, each lawful one must not ---

PLANTED = [
    ("store-is-private", "cards/service.py", "from voltyard.chargers import store"),
    ("store-is-private", "cards/service.py", "from voltyard.chargers.store import find_charger"),
    ("store-is-private", "api/cards.py", "import voltyard.cards.store"),
    ("store-is-private", "api/log.py", "from voltyard.chargers import calls_store"),
    ("lists-are-scoped", "chargers/calls_store.py", "def list_calls(work):\n    return work.rows(1)"),
    ("memberships-stay-home", "chargers/store.py", "from voltyard.locations.tables import memberships"),
    ("memberships-stay-home", "cards/store.py",
     "from voltyard.locations import tables\nx = tables.memberships.c.team_id"),
    ("sql-in-stores", "cards/service.py",
     "from sqlalchemy import select\ndef f(work):\n    return select(1)"),
    ("sql-in-stores", "api/cards.py", "import sqlalchemy as sa\ndef f(work):\n    sa.delete(cards)"),
    ("sql-in-stores", "cards/service.py", "def f(work):\n    work.insert(cards, id=1)"),
    ("lists-are-scoped", "cards/store.py", "def list_cards(work, actor):\n    return work.rows(1)"),
    ("work-functions-are-plain", "cards/service.py", "async def add(work, tag): ..."),
    ("one-place-commits", "cards/service.py", "def f(c):\n    c.commit()"),
    ("one-place-commits", "kernel/jobs.py", "def f(c):\n    c.rollback()"),
    ("nats-has-one-user", "gateway/server.py", "import nats"),
    ("nats-has-one-user", "kernel/bus.py", "from nats.aio.client import Client"),
    ("time-is-given", "cards/service.py",
     "from datetime import UTC, datetime\ndef f():\n    return datetime.now(UTC)"),
    ("time-is-given", "cards/service.py", "import time\ndef f():\n    return time.time()"),
    ("time-is-given", "cards/service.py", "from uuid import uuid4\ndef f():\n    return uuid4()"),
    ("print-is-for-terminals", "central/desk.py", "print('hello')"),
    ("tasks-have-owners", "central/desk.py", "import asyncio\nasync def f():\n    asyncio.create_task(g())"),
    ("tasks-have-owners", "central/desk.py",
     "import asyncio\ndef f():\n    asyncio.get_running_loop().create_task(g())"),
    ("modules-hold-no-state", "cards/service.py", "cache = {}"),
    ("modules-hold-no-state", "cards/service.py", "seen: Final = set()"),
    ("modules-hold-no-state", "cards/service.py",
     "from collections import deque\nlast: deque[int] = deque()"),
    ("settings-are-passed-down", "app.py",
     "from voltyard.kernel.settings import Settings\nsettings = Settings()"),
    ("imports-stand-at-the-top", "cards/service.py", "def f():\n    from voltyard.power import service"),
    ("files-are-named-by-subject", "cards/utils.py", ""),
    ("files-are-named-by-subject", "manager/x.py", ""),
    ("one-word-for-one-thing", "locations/service.py", "def add_site(work): ..."),
    ("one-word-for-one-thing", "cards/service.py", "class RFIDCard: ..."),
    ("one-word-for-one-thing", "power/service.py", "circuits = 1"),
    ("kilo-stays-at-doors", "power/allocator.py", "def f(limit_kw): ..."),
    ("kilo-stays-at-doors", "power/allocator.py", "class PowerKW: ..."),
    ("kilo-stays-at-doors", "tariffs/pricing.py", "price_per_kWh = 1"),
    ("files-have-tests", "cards/nobody_tests_this.py", ""),
    ("meaning-is-written-down", "power/allocator.py", "def share(): ..."),
    ("meaning-is-written-down", "cards/service.py", "def add(work): ..."),
    ("errors-are-documented", "cards/service.py",
     "from voltyard.kernel.errors import Conflict\nclass CardExists(Conflict):\n    title = 'x'"),
    ("instants-are-aware", "cards/tables.py", "import sqlalchemy as sa\nx = sa.Column('at', sa.DateTime)"),
    ("instants-are-aware", "cards/tables.py", "from sqlalchemy import DateTime\nx = DateTime(timezone=True)"),
    ("rows-have-no-relationships", "cards/tables.py",
     "from sqlalchemy.orm import relationship\nx = relationship('Card')"),
    ("tables-have-keys", "cards/tables.py",
     "import sqlalchemy as sa\nx = sa.Table('cards', metadata, sa.Column('id', sa.String))"),
    ("prefixes-are-registered", "cards/service.py",
     "from voltyard.kernel.ids import new_id\ndef f():\n    return new_id('xyz')"),
]  # fmt: skip

LAWFUL = [
    ("store-is-private", "cards/service.py", "from voltyard.cards import store, tables"),
    ("store-is-private", "cards/store.py", "from voltyard.chargers import service, tables"),
    ("memberships-stay-home", "locations/store.py", "from voltyard.locations.tables import memberships"),
    ("sql-in-stores", "cards/store.py", "from sqlalchemy import select\ndef f(work):\n    return select(1)"),
    ("sql-in-stores", "api/cards.py", "def f(menu):\n    return menu.select(1)"),
    ("lists-are-scoped", "cards/store.py",
     "def list_cards(work, actor):\n    return work.rows(q.where(c.in_(visible(actor))))"),
    ("work-functions-are-plain", "cards/service.py",
     "def add(work, tag): ...\nasync def sync(ctx, actor): ..."),
    ("one-place-commits", "kernel/db.py", "def f(c):\n    c.commit()"),
    ("nats-has-one-user", "kernel/bus_nats.py", "import nats"),
    ("time-is-given", "kernel/clock.py", "import time\ndef f():\n    return time.time()"),
    ("time-is-given", "cards/service.py", "def f(ctx, time):\n    return ctx.clock.now()"),
    ("print-is-for-terminals", "cli/main.py", "print('hello')"),
    ("tasks-have-owners", "central/desk.py",
     "import asyncio\nasync def f():\n    async with asyncio.TaskGroup() as g:\n        g.create_task(h())"),
    ("modules-hold-no-state", "cards/service.py",
     "__all__ = ['a']\nA = (1, 2)\nB: Final[Mapping[str, int]] = {'a': 1}\nC = frozenset((1,))"),
    ("settings-are-passed-down", "app.py", "def main():\n    return Settings()"),
    ("imports-stand-at-the-top", "cli/main.py", "def f():\n    from voltyard.sim import fleet"),
    ("one-word-for-one-thing", "ocpp/v201/messages.py", "class Rfid: ..."),
    ("one-word-for-one-thing", "portal/app.py", "composite = opposite = 1"),
    ("kilo-stays-at-doors", "api/chargers.py", "class C:\n    limit_kw: float"),
    ("kilo-stays-at-doors", "power/allocator.py", "energy_wh = backward = 1"),
    ("meaning-is-written-down", "power/allocator.py", "def _share(): ..."),
    ("errors-are-documented", "cards/service.py", "class Plain(ValueError): ..."),
    ("tables-have-keys", "cards/tables.py",
     "import sqlalchemy as sa\nx = sa.Table('cards', meta, sa.Column('id', sa.Text, primary_key=True))"),
    ("prefixes-are-registered", "cards/service.py",
     "from voltyard.kernel.ids import new_id\ndef f():\n    return new_id('txn')"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "code"), PLANTED)
def test_the_rule_finds(name: str, place: str, code: str):
    assert len(unexcused(name, Source(place, code))) == 1


@pytest.mark.parametrize(("name", "place", "code"), LAWFUL)
def test_the_rule_lets_pass(name: str, place: str, code: str):
    assert unexcused(name, Source(place, code)) == []


def test_every_rule_is_tested():
    assert Counter(name for name, _, _ in PLANTED).keys() == RULES.keys()


def test_an_escape_excuses_its_line_and_the_next_with_a_reason_only():
    code = "print(1)  # house: print-is-for-terminals - shown before the log is there"
    assert unexcused("print-is-for-terminals", Source("app.py", code)) == []
    assert len(unexcused("print-is-for-terminals", Source("app.py", code.split(" - ", maxsplit=1)[0]))) == 1
    assert (
        len(unexcused("print-is-for-terminals", Source("app.py", code.replace("print-is", "time-is")))) == 1
    )
    above = "# house: print-is-for-terminals - shown before the log is there\nprint(1)"
    assert unexcused("print-is-for-terminals", Source("app.py", above)) == []


def test_a_source_file_is_tested_where_the_list_says(tmp_path: Path):
    (tmp_path / "tests" / "unit" / "cards").mkdir(parents=True)
    assert len(unexcused("files-have-tests", Source("app.py", "", tmp_path))) == 1
    (tmp_path / "tests" / "e2e").mkdir()
    (tmp_path / "tests" / "e2e" / "test_serve.py").touch()
    assert unexcused("files-have-tests", Source("app.py", "", tmp_path)) == []
    assert len(unexcused("files-have-tests", Source("cards/service.py", "", tmp_path))) == 1
    (tmp_path / "tests" / "unit" / "cards" / "test_service.py").touch()
    assert unexcused("files-have-tests", Source("cards/service.py", "", tmp_path)) == []
