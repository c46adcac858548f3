"""Checking, repairing and pruning an index."""
