from __future__ import annotations

import re
from pathlib import Path

import pytest

import voltyard
from voltyard.chargers import findings
from voltyard.chargers.flaws import FLAWS, Severity, flaw

SRC = Path(voltyard.__file__).parent
TOLD = re.compile(
    r'(?:flaws\.append|found\.append|odd\.append|Noted)\(\s*"(\w+)"'
    r'|FlawTold\([^"()]*(?:\([^()]*\)[^"()]*)*"(\w+)"|_flaw\("(\w+)"|\.flaw\([\w.]+, "(\w+)"'
    r'|flaws\.append\("(\w+)" if .* else "(\w+)"\)|what = "(\w+)" if .* else "(\w+)"'
    r'|_needed\([\w.]+, "(\w+)"'
)


def kinds_told() -> set[str]:
    """Every kind that some line of the source tells."""
    found = set()
    for path in SRC.rglob("*.py"):
        if path.name == "flaws.py" or "portal" in path.parts:
            continue
        for match in TOLD.finditer(path.read_text("utf-8")):
            for place, word in enumerate(match.groups()):
                if word:
                    found.add(f"missing_{word}" if place == 8 else word)
    return found


@pytest.mark.parametrize("kind", sorted(kinds_told() - {"answer_to_no_call"}))
def test_every_kind_that_is_told_has_words(kind):
    assert kind in FLAWS, f"say in chargers/flaws.py what {kind} means"


@pytest.mark.parametrize("each", FLAWS.values(), ids=lambda each: each.kind)
def test_the_words_of_a_kind_are_whole_sentences(each):
    assert len(each.kind) <= findings.KIND_LENGTH
    assert each.text[0].isupper()
    assert each.text.endswith(".")
    assert ";" in each.text, "say what the charger does, and what we do about it"
    assert each.advice.endswith(".")
    assert re.fullmatch(r"Q([1-9]|[1-4]\d|5[0-5])", each.quirk)


def test_a_kind_without_words_keeps_its_name():
    assert flaw("malformed_GenericError").kind == "malformed_GenericError"
    assert flaw("new_oddity").text == "new oddity"
    assert flaw("new_oddity").severity is Severity.WORTH_KNOWING


def test_every_way_to_refuse_a_message_has_words():
    dialect = (SRC / "ocpp" / "v16" / "dialect.py").read_text("utf-8")
    codes = set(re.findall(r'Malformed\("(\w+)"', dialect))
    assert len(codes) > 3
    assert {f"malformed_{code}" for code in codes} <= set(FLAWS)
