"""CLIP models: what is known of each, their weights on this machine, and their towers."""

from rclip.models.model import Model
from rclip.models.registry import DEFAULT, NAMES

__all__ = ["DEFAULT", "NAMES", "Model"]
