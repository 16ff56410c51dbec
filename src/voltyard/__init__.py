"""Voltyard: central system, operator proxy, portal and power manager for electric-car chargers."""
