"""Charge cards: each belongs to a location and is valid on all its chargers.

Table: cards. Those who may view the location may see its cards; those with full access change
them. Tags are compared without case and without the colons, blanks and dashes that some readers
add (quirk Q34); the spelling that was entered is kept.
"""
