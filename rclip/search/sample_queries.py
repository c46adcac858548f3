"""Texts such as people search for, to measure an approximate search with."""

_SUBJECTS = (
    *("a dog", "two children", "a red car", "an old man", "birds", "a boat", "flowers", "a birthday cake"),
    *("people dancing", "a train", "a tall building", "a cat asleep"),
)
_PLACES = (
    *("on the beach", "in the snow", "at night", "in a kitchen", "by a lake in autumn", "on a city street"),
    *("in black and white", "seen from above", "in the rain", "at a wedding", "in the mountains", "close up"),
)

SAMPLE_QUERIES = tuple(f"{subject} {place}" for subject in _SUBJECTS for place in _PLACES)
