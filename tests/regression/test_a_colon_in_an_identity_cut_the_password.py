"""A charger called `CP:1` could not log in: the password began at the first colon of `CP:1:secret`.

Basic authentication has no way to write a colon in a name, but OCPP lets an identity have one (quirk Q6).
"""

import base64

from voltyard.gateway.identity import password


def test_the_name_of_the_address_is_taken_off_before_the_first_colon_is_looked_for():
    sent = "Basic " + base64.b64encode(b"CP:1:secret").decode()
    assert base64.b64decode(password(sent, "CP:1") or "") == b"secret"
