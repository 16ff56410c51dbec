"""What is gone is given back."""

from __future__ import annotations

import gc
import weakref

from voltyard.kernel.memory import give_back


class Knot:
    def __init__(self) -> None:
        self.own = self


def test_what_only_refers_to_itself_is_freed():
    gc.disable()
    try:
        knot = weakref.ref(Knot())
        assert knot() is not None
        give_back()
        assert knot() is None
    finally:
        gc.enable()
