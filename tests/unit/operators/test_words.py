"""Columns that hold several words."""

from __future__ import annotations

from voltyard.operators.words import words


def test_words_are_told_apart_and_nothing_is_no_word():
    assert words("firmware,vendor") == ("firmware", "vendor")
    assert words("") == words(",") == ()
