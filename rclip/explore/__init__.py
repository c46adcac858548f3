"""What all faces that show photos have in common, above the library: `Explorer`, and what it is asked."""

from rclip.explore.explorer import Explorer, Results
from rclip.explore.request import AskedTerm, SearchRequest
from rclip.explore.updates import BackgroundUpdate, UpdateState

__all__ = ["AskedTerm", "BackgroundUpdate", "Explorer", "Results", "SearchRequest", "UpdateState"]
