"""Who tried PINs over many serial numbers was never stopped, and the limit told which of them exist.

Wrong PINs were counted in the row of a charger; now they are counted by serial number and by person.
"""

import pytest

from tests.factories import PIN, make_charger, make_location, make_user
from voltyard.chargers import service as chargers
from voltyard.chargers.service import WrongPin
from voltyard.kernel.errors import TooMany
from voltyard.kernel.limits import PIN_TRIES_OF_USER_PER_HOUR_MAX, PIN_TRIES_PER_HOUR_MAX


async def test_unknown_and_known_serials_are_limited_alike_and_so_is_a_person(ctx, clock):
    owner = await make_user(ctx)
    home, charger = await make_location(ctx, owner), await make_charger(ctx)

    async def told(identity: str, pin: str = "0000") -> str:
        with pytest.raises((WrongPin, TooMany)) as caught:
            await chargers.claim(ctx, owner.actor, home.id, identity=identity, pin=pin)
        return f"{type(caught.value).__name__} {caught.value.detail}"

    tries = range(PIN_TRIES_PER_HOUR_MAX + 1)
    known = [await told(charger.identity) for _ in tries]
    assert known == [await told("NOSUCH") for _ in tries]
    assert known[-1].startswith("TooMany")
    for number in range(PIN_TRIES_OF_USER_PER_HOUR_MAX - 2 * PIN_TRIES_PER_HOUR_MAX):
        assert (await told(f"CP-{number}")).startswith("WrongPin")
    fresh = await make_charger(ctx)
    assert await told(fresh.identity, PIN) == await told("ANOTHER") == known[-1]
    clock.advance(3_600)
    claimed = await chargers.claim(ctx, owner.actor, home.id, identity=fresh.identity, pin=PIN)
    assert claimed.location_id == home.id
