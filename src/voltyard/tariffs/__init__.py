"""What energy costs: prices, zones, off-peak hours."""
