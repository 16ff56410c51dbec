"""JSON as markup: what was sent stays what it was, and nothing of it becomes markup of its own."""

from __future__ import annotations

import html
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from voltyard.portal.json_view import DEPTH_MAX, coloured

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def plain(markup: str) -> str:
    return html.unescape(re.sub(r"</?span[^>]*>", "", markup))


def test_members_stand_on_lines_of_their_own():
    assert plain(coloured({"a": [1, "x"], "b": {}})) == '{\n  "a": [\n    1,\n    "x"\n  ],\n  "b": {}\n}'
    assert '<span class="json-key">&#34;a&#34;</span>' in coloured({"a": 1})


def test_what_a_charger_sends_never_becomes_markup():
    shown = coloured({"<script>": "</pre><img src=x>"})
    assert "<script" not in shown
    assert "<img" not in shown


def test_what_is_nested_too_deep_is_shown_without_lines():
    value: object = "x"
    for _ in range(DEPTH_MAX + 5):
        value = [value]
    assert "[[[" in coloured(value)


@given(VALUES)
def test_what_is_shown_is_the_same_json(value: object):
    assert json.loads(plain(coloured(value))) == value
