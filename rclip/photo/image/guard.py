"""Turns whatever a decoder raises into the reason why a file is no picture for the model."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import UnidentifiedImageError

from rclip.errors import plain_reason
from rclip.photo.failures import DecodeError, FailureKind, OutOfMemory


@contextmanager
def decoders_errors() -> Iterator[None]:
    """The per-photo guard: decoders raise anything at all on damaged files."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError:
        raise OutOfMemory("it takes too much memory to decode", FailureKind.TOO_LARGE) from None
    except ImportError as error:
        raise DecodeError(f"a decoder does not work here: {plain_reason(error)}", FailureKind.PASSING) from error
    except Exception as error:
        is_the_systems = isinstance(error, OSError) and error.errno is not None
        raise DecodeError(_reason(error), FailureKind.PASSING if is_the_systems else FailureKind.LASTING) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "damaged, or not a picture in a format known here"
    if str(error).startswith("Generic Error"):  # pillow_jxl's word for everything, with advice for developers
        return "damaged JPEG XL"
    if error.args and isinstance(error.args[0], bytes):  # rawpy's, and some of Pillow's with what it met in the file
        return plain_reason(Exception(error.args[0].decode(errors="replace")))
    if isinstance(error, OSError | SyntaxError | RuntimeError) or type(error).__module__ != "builtins":
        return plain_reason(error)
    return f"damaged ({plain_reason(error)})"  # an error of a decoder's own, like "division by zero"
