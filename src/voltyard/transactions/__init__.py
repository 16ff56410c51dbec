"""Charging from start to end: samples, exports, insights."""
