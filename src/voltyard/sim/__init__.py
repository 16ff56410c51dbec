"""Virtual chargers that stand outside like real ones and share no protocol code with the server."""
