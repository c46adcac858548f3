"""Chroma: a server (`chroma+http://host:port`), or a folder on this machine (`chroma:///folder`)."""
