"""A CLIP small enough to keep beside the tests: its pictures, its training and its weights."""
