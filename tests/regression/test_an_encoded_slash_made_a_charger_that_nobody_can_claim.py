"""A charger at `/ocpp/a%2Fb` was held as `a/b`, an identity that no claim accepts.

The path was divided before it was decoded; now it is decoded first, as quirk Q4 says.
"""

from voltyard.chargers.service import check_identity
from voltyard.gateway.identity import identity


def test_an_identity_of_the_address_can_be_claimed():
    assert check_identity(identity("/ocpp/a%2Fb")) == "b"
    assert not identity("/ocpp/CP%00")
