from __future__ import annotations

from itertools import islice

from voltyard.sim.plans import Arrive, Finish, Leave, Show, life


def test_the_same_seed_lives_the_same_life():
    assert list(islice(life("a", ("X", "Y")), 200)) == list(islice(life("a", ("X", "Y")), 200))
    assert list(islice(life("a", ("X",)), 20)) != list(islice(life("b", ("X",)), 20))


def test_every_car_that_comes_leaves_before_the_next():
    there = 0
    steps = list(islice(life("c", ("X",)), 2000))
    for step in steps:
        assert step.after_s >= 0
        there += isinstance(step, Arrive)
        there -= isinstance(step, Leave)
        assert there in {0, 1}
    assert {type(step) for step in steps} == {Arrive, Show, Finish, Leave}
