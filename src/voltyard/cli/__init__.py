"""Door: people at a terminal."""
