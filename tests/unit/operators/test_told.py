"""What was told is kept as what is other than what was said."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from voltyard.operators.told import edit, told


@given(st.text(), st.text(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 9999))
def test_what_was_told_is_read_back_byte_for_byte(before: str, after: str, theirs: int, ours: int) -> None:
    head = '{"a":' + json.dumps(before, ensure_ascii=False) + ',"transactionId":'
    tail = ',"b":' + json.dumps(after, ensure_ascii=False) + "}"
    kept = edit(len(head.encode()), len(tail.encode()), b"%d" % theirs)
    assert told(kept, f"{head}{ours}{tail}") == f"{head}{theirs}{tail}"


def test_what_is_kept_whole_or_was_the_chargers_own_needs_no_edit() -> None:
    assert told(None, '{"a":1}') == '{"a":1}'
    assert told('{"a":2}', '{"a":1}') == '{"a":2}'
    assert told('{"a":2}', None) == '{"a":2}'
    assert told(None, None) is None
    assert told(edit(1, 1, b"7"), None) is None
