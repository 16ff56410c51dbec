"""Door: what chargers say is decided and stored here."""
