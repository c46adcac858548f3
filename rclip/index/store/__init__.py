"""The index: one SQLite file, one table of images.

    images(id, path, mtime_ns, size, device, inode, digest, vector, failure, missing_ns)

`path` is the photo's, as bytes, without the index's root before it, which only this package knows of: all paths that go
in and out are absolute. `vector` holds D float16 of length 1; a file that could not be read has a `failure` instead.
`missing_ns` is NULL for a photo that was there when last looked for.

    facts(id, captured_s, offset_min, latitude, longitude, camera, width, height, keywords, rating)
    cameras(id, maker, model)

hold what the photos say of themselves, apart, so that a search that does not ask never touches them. A row of `images`
is `described` when its file was looked through for facts; a photo that has none has no row there.

A row's vector never changes: a photo with new bytes gets a new id, and ids are never used again. What is derived from
the table can so tell by the highest id what it has not seen. What else is told of a photo may change: `restated` holds
the ids of those of which it has, until what is derived from that has taken note.

A search needs the modules that are imported here; the others are asked by name, by those few who have use for them.
"""

from rclip.files import FileStat, digest_of
from rclip.index.store.metadata import PhotoWithoutMetadata
from rclip.index.store.photos import FileRow, KnownRow, PhotoRow, Store

__all__ = ["FileRow", "FileStat", "KnownRow", "PhotoRow", "PhotoWithoutMetadata", "Store", "digest_of"]
