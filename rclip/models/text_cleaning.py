"""How texts are cleaned before the tokenizer of a `tokenizer.json` sees them: in open_clip's ways, and SigLIP's own.

Plain ASCII needs neither ftfy nor html, which take longer to import than a query takes to run.
"""

import re
import string
from collections.abc import Callable

_PLAIN = re.compile(r"[ -%'-~]*")  # printable ASCII but for the ampersand: nothing in it for ftfy or html to change
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _repaired(text: str) -> str:
    """open_clip's `basic_clean`."""
    if _PLAIN.fullmatch(text):
        return text.strip()
    import html

    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _whitespace(text: str) -> str:
    return " ".join(_repaired(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    """Lower case without punctuation, as SigLIP's training had it."""
    bare = _repaired(text).replace("_", " ").translate(_WITHOUT_PUNCTUATION)
    return " ".join(bare.lower().split())


def _siglip(text: str) -> str:
    """The same as transformers' `SiglipTokenizer` has it."""
    return re.sub(r"\s+", " ", text.lower().translate(_WITHOUT_PUNCTUATION)).strip()


CLEANINGS: dict[str, Callable[[str], str]] = {
    "": lambda text: text,
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonicalize,
    "siglip": _siglip,
}
