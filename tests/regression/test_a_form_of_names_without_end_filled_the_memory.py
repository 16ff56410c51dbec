"""A form could hold fields without number: only what they held was counted, not their names and heads.

The door for chargers' files lets a body of gigabytes begin, so its names would have filled the memory. What
stands beside the file is counted as a whole now.
"""

import pytest

from tests.unit.web.test_uploads import FORM, LIMIT, left, request
from voltyard.kernel.errors import Invalid
from voltyard.kernel.files import Files
from voltyard.kernel.limits import FORM_BYTES_MAX
from voltyard.web.uploads import take


def empty_field(number: int) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{number:0500}"\r\n\r\n\r\n'.encode()


@pytest.mark.parametrize("after_file", [False, True])
async def test_what_stands_beside_a_file_is_bounded_as_a_whole(tmp_path, after_file):
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    file = head + b"x" * 200_000 + b"\r\n"
    names = [empty_field(number) for number in range(FORM_BYTES_MAX // 500 + 20)]
    pieces = [file, *names, b"--b--\r\n"] if after_file else [*names, file, b"--b--\r\n"]
    with pytest.raises(Invalid, match="fields of the form are too long"):
        await take(request(pieces, content_type=FORM), Files(tmp_path), bytes_max=LIMIT)
    assert left(tmp_path) == []


async def test_a_large_file_with_few_fields_is_taken(tmp_path):
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    pieces = [empty_field(1), head, *[b"x" * 100_000] * 9, b"\r\n", empty_field(2), b"--b--\r\n"]
    taken = await take(request(pieces, content_type=FORM), Files(tmp_path), bytes_max=LIMIT)
    assert taken.arriving.size_bytes == 900_000
    taken.arriving.drop()
