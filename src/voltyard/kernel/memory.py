"""Giving memory back to the system after a great many things have gone at once.

Sockets and what hangs on them refer to each other, so they wait for the garbage collector, which looks
seldom; and what it frees stays with the C library until somebody asks for it to be returned.
"""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Free what nobody refers to any more and return it to the system; takes some tens of milliseconds."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # the C library of GNU has it, others return memory by themselves
        trim(0)
