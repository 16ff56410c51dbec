"""docs/quirks.md says what the code and the tests say."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec.structs import asdict

from voltyard.chargers.flaws import FLAWS
from voltyard.quirks import MODELS, NONE, Model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "quirks.md").read_text("utf-8")
ROWS = re.findall(r"^\| (Q\d+) \| (.+?) \| (.+?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
TESTS = (Path(__file__).parent / "test_quirks.py").read_text("utf-8")
NUMBERS = [f"Q{number}" for number in range(1, 56)]


def model_row(row: Model) -> str:
    """Return the line of the page that a row of the table must have."""
    usual = asdict(NONE)
    heeded = [
        f"`{name}`" if value is True else f"`{name}={value}`"
        for name, value in asdict(row.quirks).items()
        if value != usual[name]
    ]
    cells = [f"`{row.vendor}`", f"`{row.model}`", f"`{row.firmware}`", ", ".join(row.numbers)]
    return "| " + " | ".join([*cells, " ".join(heeded) or "–", row.evidence]) + " |"


def test_every_quirk_has_a_row_in_its_order():
    assert [number for number, *_ in ROWS] == NUMBERS


def test_every_quirk_has_a_test():
    tested = set(re.findall(r"Q\d+(?=-)", TESTS))
    for numbers in re.findall(r"@of\(([\d, ]+)\)", TESTS):
        tested |= {f"Q{number.strip()}" for number in numbers.split(",")}
    assert sorted(set(NUMBERS) - tested, key=NUMBERS.index) == []


def test_the_findings_of_the_page_are_those_of_the_code():
    told = {kind: number for number, _, _, kinds in ROWS for kind in re.findall(r"`(\w+)`", kinds)}
    for kind in FLAWS:
        assert kind in told, f"{kind} is missing in docs/quirks.md"
    for kind, number in told.items():
        assert kind in FLAWS, f"{kind} has no words in chargers/flaws.py"
        assert FLAWS[kind].quirk == number


def test_the_models_of_the_page_are_those_of_the_table():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [model_row(row) for row in MODELS]
