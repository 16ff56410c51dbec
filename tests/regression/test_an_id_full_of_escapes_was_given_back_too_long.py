"""An unreadable frame with an id of two hundred escapes was refused under that id, twice as long as allowed.

The fuzzer found it: the id at the start of broken JSON was measured in characters, an escape is two bytes.
"""

import pytest

from voltyard.ocpp import frames


@pytest.mark.parametrize("length", [126, 127, 200, 253])
def test_an_id_that_is_recovered_is_no_longer_than_one_that_is_read(length):
    message_id = b'"' + b"\\\\" * length + b'"'
    broken = frames.decode(b"[2," + message_id + b',"Heartbeat",{"a" 1}]')
    assert isinstance(broken, frames.Broken)
    assert broken.id_raw == (message_id if len(message_id) <= frames.ID_BYTES_MAX else None)
