"""Door: the pages people use."""
