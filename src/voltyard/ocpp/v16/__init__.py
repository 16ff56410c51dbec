"""OCPP 1.6 JSON: its messages and its dialect."""
