"""Small pictures of photos, made once and kept: `Thumbnails`."""

from rclip.thumbnails.store import SIDES, Thumbnails

__all__ = ["SIDES", "Thumbnails"]
