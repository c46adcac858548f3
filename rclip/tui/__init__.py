"""The full-screen interface in the terminal: `browse`. It needs the package `textual`."""

from rclip.tui.browsing import browse
from rclip.tui.setup import Setup

__all__ = ["Setup", "browse"]
