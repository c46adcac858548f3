"""What a run found and did."""

from collections import Counter
from dataclasses import dataclass, field, fields

from rclip import formats
from rclip.photo.failures import FailedPhoto


@dataclass
class Summary:
    """What a run found and did."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    copied: int = 0
    returned: int = 0
    missing: int = 0
    metadata_added: int = 0
    """Photos indexed by an older rclip that were looked through for what they say of themselves."""
    sidecars_read: int = 0
    """Photos whose sidecars have appeared, changed or gone."""
    failures: list[FailedPhoto] = field(default_factory=list)
    """Files that could not be read, those found unreadable by earlier runs not among them."""
    postponed: list[FailedPhoto] = field(default_factory=list)
    """Files that could not be read for a reason that is not their own; the next run tries them again."""
    broken_films: list[FailedPhoto] = field(default_factory=list)
    """Videos that could not be looked at to their end. What was found until then is stored."""
    unlisted: list[FailedPhoto] = field(default_factory=list)
    """Folders that could not be listed. What the index knows of them is kept."""
    unsettled: list[bytes] = field(default_factory=list)
    """Paths of files that were still being written; they have not been read."""
    unusable_ignore_files: list[FailedPhoto] = field(default_factory=list)
    """Ignore files of which only what they said before counts, if anything."""
    missing_extras: Counter[formats.Extra] = field(default_factory=Counter)
    """How many files wait for a package that is not installed."""

    def __iadd__(self, other: "Summary") -> "Summary":
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    @property
    def has_changes(self) -> bool:
        files = (self.added, self.changed, self.moved, self.copied, self.returned, self.missing)
        return any((*files, self.metadata_added, self.sidecars_read)) or bool(self.failures or self.postponed)
