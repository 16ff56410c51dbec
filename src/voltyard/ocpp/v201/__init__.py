"""OCPP 2.0.1: its messages, and its dialect of speech."""
