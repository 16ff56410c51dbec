"""Rows with too many values lost some, twins were counted twice, and a file in Latin-1 showed a traceback.

The reader trusted the file. Now each of these names its line, and nothing is imported.
"""

import pytest

from voltyard.cli.main import read_inventory
from voltyard.kernel.errors import Invalid


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"identity,pin\nCP-1,1,surplus\n", "line 2"),
        (b"identity\nCP-1\ncp-1\n", "line 3"),
        (b"identity\nCP-\xe6\n", "UTF-8"),
        (b'identity\n"CP-1\n', "not CSV"),
    ],
)
def test_an_inventory_that_cannot_be_meant_is_refused(tmp_path, content, told):
    file = tmp_path / "delivered.csv"
    file.write_bytes(content)
    with pytest.raises(Invalid, match=told):
        read_inventory(file)
