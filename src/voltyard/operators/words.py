"""Columns that hold several words."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Return the words of a column that holds several, with commas."""
    return tuple(word for word in text.split(",") if word)
