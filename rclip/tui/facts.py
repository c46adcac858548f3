"""What is known of a photo, in lines for a person. Nothing in them is markup, and nothing steers a terminal."""

import os
from typing import TYPE_CHECKING

from textual.content import Content

from rclip.terminal.text import printable, size

if TYPE_CHECKING:
    from rclip.search.hits import Hit


_MOST_COPIES = 20


def facts(hit: "Hit") -> Content:
    """The file's name, and below it a line for each fact."""
    from rclip.search.hits import absolute

    folder, _, name = absolute(hit.path).rpartition(os.sep)
    lines = [Content.styled(printable(name), "bold"), Content("")]
    for label, value in _known(hit):
        lines += [Content.styled(label, "$foreground-muted"), Content(printable(value)), Content("")]
    for copy in hit.copies[:_MOST_COPIES]:
        label = {"exact": "Copy", "pair": "Same shot", "alike": "Alike"}[copy.kind]
        lines += [Content.styled(label, "$foreground-muted"), Content(printable(copy.path)), Content("")]
    lines += [Content.styled("Folder", "$foreground-muted"), Content(printable(folder or os.sep))]
    return Content("\n").join(lines)


_DATES = {
    "metadata": "Taken",
    "sidecar": "Taken, by its sidecar",
    "name": "Taken, by the file's name",
    "file": "File's date",
}


def _known(hit: "Hit") -> list[tuple[str, str]]:
    from rclip.search.hits import captured_from

    metadata = hit.metadata
    position = "" if metadata.latitude is None else f"{metadata.latitude:.5f}, {metadata.longitude:.5f}"
    pixels = f"{metadata.width} × {metadata.height}, " if metadata.width else ""
    known = [
        ("Score", "" if hit.score is None else f"{hit.score:.3f}"),
        ("Moment", hit.at),
        (_DATES[captured_from(hit)], f"{hit.captured:%Y-%m-%d  %H:%M}"),
        ("Title", metadata.title),
        ("Headline", metadata.headline),
        ("Caption", metadata.caption),
        ("Camera", metadata.camera),
        ("Lens", metadata.lens),
        ("Place", hit.place),
        ("Position", position),
        ("Rating", "★" * (metadata.rating or 0)),
        ("Keywords", ", ".join(metadata.keywords)),
        ("Size", pixels + size(hit.size_bytes)),
    ]
    return [(label, value) for label, value in known if value]
