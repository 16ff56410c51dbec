"""Reservations: a connector kept free for one card until an instant."""
