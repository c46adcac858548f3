"""Terminals: which pictures they can show, how these are written, and text that cannot steer them."""
