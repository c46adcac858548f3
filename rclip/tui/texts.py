"""The sentences of the interface, but for those of errors."""

PLACEHOLDER = "a red kite   ·   horse + stripes - people"
OPENING = "opening the index …"
SEARCHING = "searching …"
NOTHING = "no photo matches"
NO_PHOTOS = "no photos here"
NO_PHOTOS_YET = "no photos yet: they appear as they are indexed"
COPIED_PATHS = "{count} copied to the clipboard"
COPY_TO = "Copy {count} to the folder:"
COPIED = "{count} copied to {folder}"
NOT_COPIED = "{count} not copied; {path}: {reason}"
STILL_COPYING = "photos are still being copied: leave once more to stop that"
SAVE_AS = "Save {count} as (.txt, .csv or .json):"
SAVED = "{count} saved as {path}"
EXISTS = "{path} exists already: choose another name"
CANNOT_WRITE = "cannot write {path}: {reason}"
OPENED = "opened {path}"
UPDATED = "index updated: {changes}"
UPDATE_STAGES = {"listing": "looking for new photos", "reading": "indexing", "metadata": "reading dates and places"}
CHANGES = {
    "added": "{} new",
    "changed": "{} changed",
    "copied": "{} copies",
    "moved": "{} moved",
    "returned": "{} back",
    "missing": "{} missing",
    "unreadable": "{} unreadable",
}

HINTS_FOR_TYPING = (
    ("enter", "go to the photos", "screen.leave_search"),
    ("+ -", "between terms: more, less of this", ""),
    ("ctrl+q", "done", "app.leave"),
)
HINTS = (
    ("/", "search", "screen.search"),
    ("enter", "view", "screen.view"),
    ("space", "select", "screen.select"),
    ("m", "more like this", "screen.more_like_this"),
    ("f", "filters", "screen.filters"),
    ("?", "help", "screen.help"),
    ("q", "done", "app.leave"),
    ("+", "add", "screen.add_photo(1)"),
    ("-", "take away", "screen.add_photo(-1)"),
    ("y", "copy path", "screen.copy_paths"),
    ("c", "copy to", "screen.copy_files"),
)
"""Keys, what they do, and the action for those who would rather click."""

HELP = (
    (
        "Search",
        (
            ("/", "type a query: words, joined by + and -"),
            ("enter, ↓", "go to the photos"),
            ("m", "more like this photo"),
            ("+  -", "add this photo to the query, or take it away"),
            ("backspace", "back to the query before"),
            ("f", "filters"),
            ("x", "clear query and filters"),
        ),
    ),
    (
        "Photos",
        (
            ("arrows, h j k l", "move"),
            ("page up, page down, g, G", "a screen further; the first, the last"),
            ("enter", "large view, and back"),
            ("o", "open in the desktop's viewer"),
        ),
    ),
    (
        "Selection",
        (
            ("space", "select, or no longer"),
            ("a  u", "select all that were found so far; none"),
            ("y", "copy the paths to the clipboard"),
            ("c", "copy the photos to a folder"),
            ("s", "save the list to a file"),
            ("t", "dark or light"),
            ("q", "leave: the selected paths are printed"),
            ("ctrl+c", "leave and print nothing"),
        ),
    ),
)
SELECTION_NOTE = "y, c and s are about the selected photos or, if there are none, about the focused one (s: all found)."


def photos(count: int) -> str:
    """ "1 photo", "1,200 photos" """
    return f"{count:,} photo" if count == 1 else f"{count:,} photos"
