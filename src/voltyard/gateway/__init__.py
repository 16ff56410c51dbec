"""Door: the chargers' sockets."""
