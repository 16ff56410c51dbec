"""Reservations: connectors kept for one card until a time (OCPP 1.6 §5.13, §5.2).

Table: reservations. Those who may view a charger see its reservations of this location, those who may
control it make and cancel them. A reservation is over by comparing times, not by a job; its row stays
as history.
"""
