"""OCPP as values: frames, sessions and dialects; no socket, no clock, no database."""
