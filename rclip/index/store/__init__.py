"""The index: one SQLite file, one table of images.

    images(id, path, mtime_ns, size, device, inode, ctime_ns, digest, vector, failure, missing_ns)

`path` is the photo's, as bytes, without the index's root before it, which only this package knows of: all paths that go
in and out are absolute. `vector` holds D float16 of length 1; a file that could not be read has a `failure` instead.
`missing_ns` is NULL for a photo that was there when last looked for.

    metadata(id, captured_s, offset_min, latitude, longitude, camera, width, height, keywords, rating, missing_percent,
             captured_from, lens, title, headline, caption, is_outdated)
    own_metadata(the same, without is_outdated)
    cameras(id, maker, model)
    sidecars(id, state)
    reworded(number, id)

hold what is said of the photos, apart: in `metadata` by the photos and their sidecars together, which a search asks; in
`own_metadata` by the photos that have sidecars alone. `sidecars` has the state of those when they were read. Metadata
that `is_outdated` was read by an rclip that read less of it. `reworded` numbers what has changed since a photo was
stored, for the cache of words. A row of `images` `has_metadata` when its file was read for it; a photo
that has none has no row there. `has_capture_time` tells whether `captured_s` is known; where it is not, filters by time
go by the file's. SQLite's own indexes answer filters.

    films(id, at_ms, moment_count, duration_ms, resume_ms, failure)
    moments(id, film, at_ms, vector)

hold what is known of photos that are films: the time of the moment whose vector is in `images`, and the other moments.
A film has a `resume_ms` as long as it was not looked at to its end; then it also `is_outdated`. Ids of moments and of
photos are one series, so vectors of both lie in one matrix.

    ignore_files(folder, content)

holds what the `.rclipignore` files said that the last updates came across.

A row that `is_outdated` was stored by an rclip that could not decode such files, or not rightly: the next run reads the
file again, and until then no other file takes its vector. A migration sets it, whenever decoders have changed.

A row's vector never changes: a photo with new bytes gets a new id. Ids are never reused, so a cache knows from the
highest id which rows it lacks.

A search needs the modules that are imported here; the others are asked by name, by those few who have use for them.
"""

from rclip.files import FileStat, digest_of
from rclip.index.store.photos import PhotoRow, Store

__all__ = ["FileStat", "PhotoRow", "Store", "digest_of"]
