from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from voltyard import quirks
from voltyard.quirks import MODELS, NONE, Quirks, find

FLAGS = asdict(NONE)


@given(st.text(), st.text(), st.text())
def test_a_charger_that_nobody_knows_is_well_behaved(vendor, model, firmware):
    known = ("grizzl", "abb", "beny", "box", "amps")
    if not any(word in f"{vendor} {model}".casefold() for word in known):
        starts = tuple(row.vendor.strip("*").casefold() for row in MODELS if row.vendor != "*")
        if not vendor.strip().casefold().startswith(starts):
            assert find(vendor, model, firmware) == NONE


def test_a_charger_that_says_nothing_is_well_behaved():
    assert find(None, None, None) is NONE
    assert find("", "", "") is NONE


@pytest.mark.parametrize("row", MODELS, ids=lambda row: f"{row.vendor}-{row.model}-{row.firmware}")
def test_capitals_and_blanks_do_not_count(row):
    told = [part.replace("*", "x") for part in (row.vendor, row.model, row.firmware)]
    usual, odd = find(*told), find(*(f" {part.upper()} " for part in told))
    assert usual == odd
    for name, value in asdict(row.quirks).items():
        if value != FLAGS[name]:
            assert getattr(usual, name) == value


def test_flags_add_up():
    both = find("United Chargers", "Grizzl-E Smart", "GWM-3.9.1")
    assert both.ignores_charger_limit
    assert not find("United Chargers", "Grizzl-E Smart", "5.633").ignores_charger_limit


@pytest.mark.parametrize(
    ("vendor", "model", "flags"),
    [
        ("EN+", "AC7000-AE-45", {"is_id_loose": True, "limit_min_a": 6.0}),
        ("ABB", "TAC-W22-T-0", {"stack_level_max": 0}),
        ("EVBox", "ELVI-1", {"is_pinged": False}),
        ("Wall Box Chargers", "Pulsar", {"stack_level_max": 0}),
        ("Wallbox", "Pulsar", {"stack_level_max": 0}),
        ("KEBA", "P30", {"has_reversed_tags": True}),
        ("ZJBENY", "BCP-B2N-L", {}),
    ],
)
def test_known_models_are_found(vendor, model, flags):
    assert find(vendor, model, "1") == Quirks(**flags)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: f"{row.vendor}-{row.model}-{row.firmware}")
def test_every_row_cites_its_quirks_and_who_says_so(row):
    assert row.numbers
    assert all(re.fullmatch(r"Q([1-9]|[1-4]\d|5[0-5])", number) for number in row.numbers)
    assert row.evidence
    cited = {
        found[1]
        for name, value in asdict(row.quirks).items()
        if value != FLAGS[name] and (found := re.search(rf'    {name}: .*\n    """(Q\d+)', _source()))
    }
    assert cited <= set(row.numbers), "a flag is set for a quirk that the row does not name"


def _source() -> str:
    return Path(quirks.__file__).read_text(encoding="utf-8")
