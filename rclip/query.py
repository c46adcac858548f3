"""What a query asks for: words, or a picture."""

import os
import re
from typing import NamedTuple

from rclip.errors import UsageError

_PATH_STARTS = ("/", "./", "../", "~/")


class Text(NamedTuple):
    """Words, valid Unicode and not blank."""

    text: str


class Picture(NamedTuple):
    """A picture to find likenesses of; the path is absolute or relative to the current folder."""

    path: str


def parse(query: str) -> Text | Picture:
    """Tells a path from words by how it starts: `./cat.jpg` is a file, `cat.jpg` three letters of a cat.

    Raises `UsageError` for nothing but blanks. Bytes that are no UTF-8 become the replacement character.
    """
    if query.startswith(_PATH_STARTS):
        return Picture(os.path.expanduser(query))
    text = re.sub("[\ud800-\udfff]", "\ufffd", query)
    if not text.strip():
        raise UsageError('the query is empty; say what to look for: rclip "a red kite"')
    return Text(text)
