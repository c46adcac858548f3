"""One index: where it lies, its database and the caches beside it."""
