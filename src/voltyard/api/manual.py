"""The page that shows people what the API can do, made from its own description, without any script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
:root {
  color-scheme: light dark; --line: #8884; --soft: #8881;
  --get: #2b8a3e; --post: #1971c2; --patch: #b35900; --delete: #c92a2a;
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 6rem; font: 16px/1.55 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.9rem }
h2 { margin: 2.6rem 0 .6rem; font-size: 1.15rem; text-transform: capitalize }
h3 { margin: .9rem 0 .3rem; font-size: .85rem; opacity: .7 }
p { margin: .4rem 0 }
a { color: #4c6ef5 }
nav a { margin-right: 1rem; text-transform: capitalize }
details { border: 1px solid var(--line); border-radius: .6rem; margin: .45rem 0; overflow: hidden }
summary {
  display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline;
  padding: .6rem .8rem; cursor: pointer; list-style: none;
}
summary:hover, details[open] summary { background: var(--soft) }
summary::-webkit-details-marker { display: none }
summary code { overflow-wrap: anywhere }
summary span { opacity: .75 }
code { font-family: ui-monospace, monospace; font-size: .88em }
b {
  min-width: 4.6rem; border-radius: .35rem; padding: .05rem .5rem;
  color: #fff; background: #555; font-size: .78rem; text-align: center;
}
b.get { background: var(--get) }
b.post { background: var(--post) }
b.patch { background: var(--patch) }
b.delete { background: var(--delete) }
.in { padding: .2rem .9rem .9rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
td { padding: .28rem .6rem .28rem 0; vertical-align: top; border-top: 1px solid var(--line) }
"""
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
METHODS = ("get", "post", "put", "patch", "delete")


def manual(api: dict[str, Any]) -> str:
    """Return the page for an OpenAPI description."""
    tags: dict[str, list[str]] = {}
    for path, item in api["paths"].items():
        for method in METHODS:
            if method in item:
                tag = (item[method].get("tags") or ["other"])[0]
                tags.setdefault(tag, []).append(_operation(api, method, path, item[method]))
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in tags)
    rooms = "".join(
        f'<h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(operations)}' for tag, operations in tags.items()
    )
    info = api["info"]
    base = escape(api["servers"][0]["url"])
    said = "".join(f"<p>{escape(part)}</p>" for part in info["description"].split("\n\n"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])}</h1><p><code>{base}</code> · version {escape(info['version'])} · "
        f'<a href="openapi.json">openapi.json</a></p>{said}<nav>{links}</nav>{rooms}</body></html>'
    )


def _operation(api: dict[str, Any], method: str, path: str, said: dict[str, Any]) -> str:
    return (
        f'<details id="{escape(said["operationId"])}"><summary><b class="{method}">{method.upper()}</b>'
        f"<code>{escape(path)}</code><span>{escape(said.get('description', ''))}</span></summary>"
        f'<div class="in">{"".join(_parts(api, said))}</div></details>'
    )


def _parts(api: dict[str, Any], said: dict[str, Any]) -> Iterator[str]:
    if parameters := said.get("parameters"):
        yield _table(
            "Parameters",
            (
                (each["name"], _kind(each["schema"]), each["in"], each.get("description", ""))
                for each in parameters
            ),
        )
    for content in said.get("requestBody", {}).get("content", {}).values():
        yield _fields(api, "Body", content["schema"])
    for status, answer in said["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            if status.startswith("2") and media_type == "application/json":
                yield _fields(api, f"Answer {status}", content["schema"])
    yield _table(
        "Answers",
        ((status, "", "", answer["description"]) for status, answer in said["responses"].items()),
    )


def _fields(api: dict[str, Any], title: str, schema: dict[str, Any]) -> str:
    shape = _resolved(api, schema)
    needed = shape.get("required", [])
    return _table(
        f"{title}: {shape.get('title', '')}",
        (
            (name, _kind(each), "required" if name in needed else "", each.get("description", ""))
            for name, each in shape.get("properties", {}).items()
        ),
    )


def _resolved(api: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            found: dict[str, Any] = api["components"]["schemas"][each["$ref"].rpartition("/")[2]]
            return found
    return schema


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(word) for word in schema["enum"])
    if schema.get("type") == "array":
        return f"[{_kind(schema['items'])}]"
    return str(schema.get("format") or schema.get("const") or schema.get("type", "any"))


def _table(title: str, rows: Iterator[tuple[str, str, str, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{escape(place)}</td>"
        f"<td>{escape(text)}</td></tr>"
        for name, kind, place, text in rows
    )
    return f"<h3>{escape(title)}</h3><table>{lines}</table>"
