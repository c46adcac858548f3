"""Keeping the index up to date with the photos on disk."""
