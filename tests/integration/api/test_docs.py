"""The documents that are made from the code are those in docs/; run `make docs` when one is not."""

import json
from pathlib import Path

import httpx2
import pytest

import write_docs
from voltyard.api.app import describe
from voltyard.kernel.errors import VoltyardError

DOCS = Path(write_docs.DOCS)
METHODS = ("get", "post", "put", "patch", "delete")


def test_the_description_is_the_committed_one():
    assert (DOCS / "openapi.json").read_text() == write_docs.openapi()


def test_the_problems_are_the_committed_ones():
    assert (DOCS / "problems.md").read_text() == write_docs.problems()


def test_every_code_is_in_the_problems():
    page = (DOCS / "problems.md").read_text()
    assert [kind.code() for kind in write_docs.errors() if f"| `{kind.code()}` |" not in page] == []


def test_a_doubled_or_silent_code_is_found():
    kinds = [
        type("NotFound", (VoltyardError,), {"__module__": "voltyard.test", "__doc__": "Twice."}),
        type("Silent", (VoltyardError,), {"__module__": "voltyard.test"}),
    ]
    with pytest.raises(ValueError, match="share a code: not_found"):
        write_docs.errors()
    kinds[0].__module__ = "elsewhere"
    with pytest.raises(ValueError, match="no docstring: silent"):
        write_docs.errors()
    kinds[1].__module__ = "elsewhere"


def operations():
    for path, item in describe().openapi()["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def test_every_operation_is_named_and_says_how_it_refuses():
    names = [said["operationId"] for _, _, said in operations()]
    assert len(names) == len(set(names))
    for path, method, said in operations():
        where = f"{method} {path}"
        assert said["description"], where
        assert {"401", "422", "429", "503"} <= said["responses"].keys(), where
        for status, answer in said["responses"].items():
            assert status < "400" or "application/problem+json" in answer["content"], where
        assert "{" not in path or "404" in said["responses"], where
        assert method != "post" or "Idempotency-Key" in [each["name"] for each in said["parameters"]], where


def test_every_reference_of_the_description_leads_somewhere():
    api = describe().openapi()
    text = json.dumps(api)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= api["components"]["schemas"].keys()


async def test_the_page_for_people_needs_nothing_from_elsewhere(anonymous: httpx2.AsyncClient):
    answer = await anonymous.get("/docs")
    assert answer.status_code == 200
    page = answer.text
    for _, _, said in operations():
        assert f'id="{said["operationId"]}"' in page
    for fetched in ("<script", "<link", "<img", "@import", "url(", "//cdn"):
        assert fetched not in page
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    served = (await anonymous.get("/openapi.json")).json()
    assert json.dumps(served, sort_keys=True) == json.dumps(describe().openapi(), sort_keys=True)
