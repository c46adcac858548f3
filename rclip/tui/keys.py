"""Which key does what."""

from textual.binding import Binding, BindingType

KEYS: list[BindingType] = [
    Binding(key, action, show=False)
    for key, action in (
        ("slash", "search"),
        ("enter", "view"),
        ("space", "select"),
        ("m", "more_like_this"),
        ("plus", "add_photo(1)"),
        ("minus", "add_photo(-1)"),
        ("f", "filters"),
        ("y", "copy_paths"),
        ("c", "copy_files"),
        ("s", "save"),
        ("o", "open"),
        ("question_mark", "help"),
        ("escape", "go_back"),
        ("a", "select_all"),
        ("u", "select_none"),
        ("x", "clear"),
        ("backspace", "query_before"),
        ("left,h", "move(-1)"),
        ("right,l", "move(1)"),
        ("up,k", "move_rows(-1)"),
        ("down,j", "move_rows(1)"),
        ("pageup,ctrl+b", "move_screens(-1)"),
        ("pagedown,ctrl+f", "move_screens(1)"),
        ("home,g", "move_to_end(-1)"),
        ("end,G", "move_to_end(1)"),
    )
]
"""Of the main screen; the grid, the fields and the panel have none of their own but Textual's."""
