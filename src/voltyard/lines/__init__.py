"""Door: the operators' sockets."""
