"""Targets that are wrong on purpose: what shows that the suite can fail."""
