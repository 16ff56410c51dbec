"""Write the documents that are made from the code: docs/openapi.json and docs/problems.md.

`tests/integration/api/test_docs.py` compares both with the code, so that neither can be forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from collections import defaultdict
from pathlib import Path

import voltyard
from voltyard.api.app import describe
from voltyard.kernel.errors import VoltyardError, every_error
from voltyard.web.problems import status_of

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = """# Problems

Made by `make docs` from the docstrings of the errors; do not edit.

Whatever goes wrong is answered as an RFC 9457 problem document. `code` is stable, so that programs may rely
on it; `type` is `/problems/` and the code. Facts of the case stand beside the members of the document.
`trace` leads to the lines in the log. A value that is not valid is named in `errors`, by its JSON pointer.

| Status | Code | Title | Meaning |
|---|---|---|---|
"""
FOOT = """
The status follows from the kind of an error, by one table in `src/voltyard/web/problems.py`. A 429 and a 503
say in `Retry-After` when to come back.
"""


def import_everything() -> None:
    """Import every module: an error counts from the moment its module is imported."""
    for found in pkgutil.walk_packages(voltyard.__path__, "voltyard."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def errors() -> list[type[VoltyardError]]:
    """Return every error of the product. Raises: ValueError when two share a code, or one is undocumented."""
    import_everything()
    by_code: dict[str, list[type[VoltyardError]]] = defaultdict(list)
    todo: list[type[VoltyardError]] = [VoltyardError]
    while todo:
        kind = todo.pop()
        todo.extend(kind.__subclasses__())
        if kind.__module__.startswith("voltyard.") and kind not in by_code[kind.code()]:
            by_code[kind.code()].append(kind)
    if doubled := sorted(code for code, kinds in by_code.items() if len(kinds) > 1):
        raise ValueError(f"two errors share a code: {', '.join(doubled)}")
    if silent := sorted(code for code, (kind,) in by_code.items() if not kind.__doc__):
        raise ValueError(f"these errors have no docstring: {', '.join(silent)}")
    if lost := sorted(by_code.keys() - every_error().keys()):
        raise ValueError(f"every_error() misses: {', '.join(lost)}")
    return sorted((kind for (kind,) in by_code.values()), key=lambda kind: (status_of(kind), kind.code()))


def meaning(kind: type[VoltyardError]) -> str:
    """Return the first paragraph of an error's docstring in one line."""
    return " ".join(inspect.getdoc(kind).partition("\n\n")[0].split()).replace("|", "\\|")


def problems() -> str:
    """Return the text of docs/problems.md."""
    rows = [
        f"| {status_of(kind)} | `{kind.code()}` | {kind.title} | {meaning(kind)} |\n" for kind in errors()
    ]
    return HEAD + "".join(rows) + FOOT


def openapi() -> str:
    """Return the text of docs/openapi.json."""
    return json.dumps(describe().openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write both documents and say what changed."""
    for name, text in (("openapi.json", openapi()), ("problems.md", problems())):
        path = DOCS / name
        is_new = not path.exists() or path.read_text() != text
        path.write_text(text)
        print(f"docs/{name}: {'written' if is_new else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
