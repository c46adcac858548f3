"""What photos say of themselves: read out of files of every format that can say it, and out of broken ones."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rclip.index.store import Store, recovery
from rclip.index.store.unread_metadata import PhotoWithoutMetadata
from rclip.indexing.metadata_backfill import describe
from rclip.indexing.summary import Summary
from rclip.photo import image, metadata_parser
from rclip.photo.image import raw
from rclip.photo.metadata import NO_METADATA, PhotoMetadata, captured_at
from rclip.photo.metadata_parser import Blocks
from tests.support import pictures

LIMIT = 10_000_000
PICTURE = pictures.drawn(64, 48)


def exif_block(orientation: int = 1, **changes: Any) -> Image.Exif:
    """Of a photo of a lake, turned as given."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "FUJIFILM", "X-T4", orientation
    exif.get_ifd(0x8769).update({0x9003: "2023:07:14 18:30:05", 0x9011: "+02:00", **changes.get("photo", {})})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.52), 3: "W", 4: (2.0, 17.0, 40.2)} | changes.get("gps", {}))
    return exif


XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/"
   xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
   xmlns:ps="http://ns.adobe.com/photoshop/1.0/" xmp:Rating="4" e:GPSLatitude="33,51.5S" tiff:Make="Nokia">
  <e:GPSLongitude>151,12,36E</e:GPSLongitude>
  <dc:subject><rdf:Bag><rdf:li>lake</rdf:li><rdf:li>Z&#252;rich &amp; hills</rdf:li></rdf:Bag></dc:subject>
  <ps:DateCreated>2019-02-03T04:05:06.78+01:00</ps:DateCreated>
  <xmpMM:Pantry xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"><rdf:Bag><rdf:li>
   <rdf:Description xmp:Rating="1"><dc:subject><rdf:Bag><rdf:li>not its own</rdf:li></rdf:Bag></dc:subject>
   </rdf:Description></rdf:li></rdf:Bag></xmpMM:Pantry>
 </rdf:Description>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def iptc(*sets: tuple[int, int, bytes]) -> bytes:
    return b"".join(struct.pack(">BBBH", 0x1C, record, number, len(text)) + text for record, number, text in sets)


IPTC = iptc((1, 90, b"\x1b%G"), (2, 25, b"lac"), (2, 25, "été".encode()), (2, 55, b"20180102"), (2, 60, b"030405-0500"))


def with_iptc(jpeg: bytes, block: bytes) -> bytes:
    """In Photoshop's segment, right behind the start of the file."""
    resource = b"8BIM" + struct.pack(">HBxI", 0x0404, 0, len(block)) + block + b"\0" * (len(block) % 2)
    content = b"Photoshop 3.0\0" + resource
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def both_ways(file: bytes, suffix: str) -> PhotoMetadata:
    """What is found on the way to the model, which is what is found without it."""
    metadata_added = image.read_metadata(io.BytesIO(file), suffix, LIMIT)
    assert image.decode(io.BytesIO(file), suffix, 32, LIMIT).metadata == metadata_added
    return metadata_added


def seconds(text: str) -> int:
    return metadata_parser._time(text, None)[0]  # type: ignore[index]


def near(degrees: float) -> Any:
    return pytest.approx(degrees, abs=1e-6)


PHOTO = PhotoMetadata(
    captured_s=1_689_359_405,  # date -u -d '2023-07-14 18:30:05' +%s
    offset_min=120,
    latitude=near(48.8582),
    longitude=near(-2.2945),
    maker="FUJIFILM",
    model="X-T4",
    width=64,
    height=48,
)


def png_text(kind: bytes, key: bytes, text: bytes) -> bytes:
    """The content of a chunk of text of any of the three kinds."""
    before = {b"tEXt": b"\0", b"zTXt": b"\0\0", b"iTXt": b"\0\0\0\0\0"}[kind]
    return key + before + (zlib.compress(text) if kind == b"zTXt" else text)


def test_what_changed_since_it_was_listed_is_not_taken_for_what_was_indexed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures.saved(PICTURE, "JPEG", exif=exif_block().tobytes()))
    status = path.stat()
    store = Store(str(tmp_path / "index.db"), "m", 1)
    with store.transaction():
        recovery.insert_row(store, "images", {
            "id": 1, "path": os.fsencode(path), "mtime_ns": status.st_mtime_ns, "size": status.st_size,
            "device": 0, "inode": 0, "digest": b"d" * 16, "vector": b"v",
        })  # fmt: skip
    for size_bytes, expected in ((status.st_size - 1, 0), (status.st_size, 1)):
        summary = Summary()
        photo = PhotoWithoutMetadata(1, os.fsencode(path), size_bytes, status.st_mtime_ns)
        describe(store, [photo], None, summary, lambda done, total: None)
        assert summary.metadata_added == expected
    assert store.metadata.of([1]) == [PHOTO]
    store.close()


# --- the formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL", "MPO"])
def test_exif_is_read_in_every_format_that_has_it(suffix: str) -> None:
    file = pictures.saved(PICTURE, suffix, exif=exif_block().tobytes())
    assert both_ways(file, "jpg") == PHOTO


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_xmp_is_read_in_every_format_that_has_it(suffix: str) -> None:
    if suffix == "PNG":
        file = pictures.png(_samples(), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
    elif suffix == "TIFF":
        file = pictures.saved(PICTURE, suffix, tiffinfo={700: XMP})
    else:
        file = pictures.saved(PICTURE, suffix, xmp=XMP)
    assert both_ways(file, "jpg") == PhotoMetadata(
        captured_s=seconds("2019-02-03T04:05:06"),
        offset_min=60,
        latitude=near(-33.858333),
        longitude=near(151.21),
        maker="Nokia",
        width=64,
        height=48,
        keywords=("lake", "Zürich & hills"),
        rating=4,
    )


def _samples() -> Any:
    import numpy as np

    return np.asarray(PICTURE)


def test_a_pngs_metadata_may_lie_behind_its_pixels() -> None:
    png = pictures.saved(PICTURE, "PNG")
    chunk = pictures.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    assert both_ways(png[:-12] + chunk + png[-12:], "png").rating == 4


def test_iptc_in_jpeg_and_tiff() -> None:
    jpeg = with_iptc(pictures.saved(PICTURE, "JPEG"), IPTC)
    found = both_ways(jpeg, "jpg")
    assert (found.keywords, found.captured_s, found.offset_min) == (
        ("lac", "été"),
        seconds("2018-01-02T03:04:05"),
        -300,
    )
    assert both_ways(pictures.saved(PICTURE, "TIFF", tiffinfo={33723: IPTC}), "tif") == found


def test_iptc_in_latin_1() -> None:
    assert metadata_parser.parse(Blocks(iptc=iptc((2, 25, "été".encode("latin-1")))), 1, 1).keywords == ("été",)


def tiff_with(tag: int, kind: int, content: bytes, order: str = "<", *more: tuple[int, int, bytes]) -> bytes:
    """An 8×8 gray TIFF with such a tag, and `more` of them; `kind` is 1 for bytes, 2 text, 4 longs, 7 undefined."""
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 278: 8, 279: 64}
    entries = {number: (3, 1, struct.pack(order + "Hxx", value)) for number, value in tags.items()}
    values = b""
    values_at = 8 + 2 + 12 * (len(tags) + 2 + len(more)) + 4
    for number, type_, data in ((tag, kind, content), *more):
        data = data.ljust(-(-len(data) // 4) * 4, b"\0") if type_ == 4 else data
        count = len(data) // 4 if type_ == 4 else len(data)
        entries[number] = (type_, count, struct.pack(order + "I", values_at + len(values)))
        values += data + b"\0" * (len(data) % 2)
    entries[273] = (4, 1, struct.pack(order + "I", values_at + len(values)))
    directory = b"".join(
        struct.pack(order + "HHI", number, *entries[number][:2]) + entries[number][2] for number in sorted(entries)
    )
    header = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    return header + struct.pack(order + "H", len(entries)) + directory + b"\0" * 4 + values + bytes(64)


def photoshop_block(iptc_block: bytes) -> bytes:
    """Adobe's resources, of which IPTC is the second."""
    resources = b""
    for number, content in ((0x03ED, b"\0\x48\0\0\0\1\0\2\0\x48\0\0\0\1\0\2"), (0x0404, iptc_block)):
        resources += b"8BIM" + struct.pack(">HBxI", number, 0, len(content)) + content + b"\0" * (len(content) % 2)
    return resources


STORM = iptc((2, 25, b"lighthouse"), (2, 25, b"storm"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 2, 4, 7], ids=["BYTE", "ASCII", "LONG", "UNDEFINED"])
def test_iptc_and_xmp_of_a_tiff_are_bytes_whatever_type_they_claim(kind: int, order: str) -> None:
    """So `exiftool -IPTC:Keywords -XMP:Rating` reads all of these."""
    file = tiff_with(33723, kind, STORM, order, (700, kind, XMP))
    assert both_ways(file, "tif").keywords == ("lake", "Zürich & hills", "lighthouse", "storm")
    assert both_ways(file, "tif").rating == 4


def test_iptc_as_longs_of_the_wrong_order() -> None:
    padded = STORM.ljust(-(-len(STORM) // 4) * 4, b"\0")
    swapped = b"".join(padded[at : at + 4][::-1] for at in range(0, len(padded), 4))
    assert both_ways(tiff_with(33723, 4, swapped), "tif").keywords == ("lighthouse", "storm")


@pytest.mark.parametrize(
    "damaged", [b"", STORM[:-2], b"\xff" + STORM, STORM[:9]], ids=["empty", "cut off", "shifted", "one letter"]
)
def test_iptc_that_is_damaged_in_its_own_tag_is_taken_from_photoshops(damaged: bytes) -> None:
    file = tiff_with(33723, 7, damaged, "<", (34377, 7, photoshop_block(STORM)))
    assert both_ways(file, "tif").keywords == ("lighthouse", "storm")
    assert both_ways(tiff_with(34377, 1, photoshop_block(STORM)), "tif").keywords == ("lighthouse", "storm")


def raw_profile(name: str, content: bytes) -> bytes:
    """As ImageMagick and Exiv2 write it: the name, the number of bytes, and these in hexadecimal."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(content):8}\n{lines}\n".encode()


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("exif_name", ["exif", "APP1"])
@pytest.mark.parametrize(
    ("iptc_name", "wraps"), [("iptc", bytes), ("iptc", photoshop_block), ("8bim", photoshop_block)]
)
def test_raw_profiles_of_a_png(kind: bytes, exif_name: str, iptc_name: str, wraps: Any) -> None:
    profiles = {exif_name: exif_block().tobytes(), iptc_name: wraps(STORM), "xmp": XMP}
    chunks = [
        (kind, png_text(kind, b"Raw profile type " + name.encode(), raw_profile(name, content)))
        for name, content in profiles.items()
    ]
    expected = PHOTO._replace(keywords=("lake", "Zürich & hills", "lighthouse", "storm"), rating=4)
    assert both_ways(pictures.png(_samples(), *chunks), "png") == expected
    png = pictures.saved(PICTURE, "PNG")
    assert both_ways(png[:-12] + b"".join(pictures.png_chunk(*each) for each in chunks) + png[-12:], "png") == expected


def test_a_raw_profile_may_hold_xmp_under_the_name_of_a_jpegs_segment() -> None:
    content = raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    chunk = (b"zTXt", png_text(b"zTXt", b"Raw profile type APP1", content))
    assert both_ways(pictures.png(_samples(), chunk), "png").rating == 4


@pytest.mark.parametrize(
    "content", [b"", b"\nexif\n", b"\nexif\n 99999999999999\n00", b"\nexif\n 4\nxyz", b"\nexif\n 900\n4578"]
)
def test_a_raw_profile_that_is_broken_costs_nothing_else(content: bytes) -> None:
    chunks = [
        (b"tEXt", png_text(b"tEXt", b"Raw profile type exif", content)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ]
    assert both_ways(pictures.png(_samples(), *chunks), "png").rating == 4


@pytest.mark.parametrize("name", ["exif", "APP1"])
def test_a_png_is_turned_by_the_exif_of_its_raw_profile(name: str) -> None:
    import numpy as np

    stored = np.asarray(pictures.as_stored(PICTURE, 6))
    chunk = (b"zTXt", png_text(b"zTXt", b"Raw profile type " + name.encode(), raw_profile(name, pictures.exif(6))))
    found = both_ways(pictures.png(stored, chunk), "png")
    assert (found.width, found.height) == PICTURE.size


def _uuid_box(identity: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 24 + len(content), b"uuid") + identity + content


@pytest.mark.parametrize("place", ["before the pixels", "after the pixels"])
def test_metadata_of_jpeg_2000(place: str) -> None:
    """The boxes that Exiv2 and ExifTool write."""
    file = pictures.saved(PICTURE, "JPEG2000")
    boxes = (
        _uuid_box(b"JpgTiffExif->JP2", exif_block().tobytes().removeprefix(b"Exif\0\0"))
        + _uuid_box(bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), XMP)
        + _uuid_box(bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"), STORM)
    )
    at = file.index(b"jp2c") - 4
    length = struct.unpack_from(">I", file, at)[0] or len(file) - at
    codestream = struct.pack(">I", length) + file[at + 4 :]
    parts = (boxes, codestream) if place == "before the pixels" else (codestream, boxes)
    expected = PHOTO._replace(keywords=("lake", "Zürich & hills", "lighthouse", "storm"), rating=4)
    assert both_ways(file[:at] + b"".join(parts), "jp2") == expected


def test_boxes_of_jpeg_2000_that_are_broken_or_too_many() -> None:
    file = pictures.saved(PICTURE, "JPEG2000")
    at = file.index(b"jp2c") - 4
    file = file[:at] + struct.pack(">I", len(file) - at) + file[at + 4 :]
    empty = struct.pack(">I4s", 8, b"free")
    for rest in (empty * 100_000 + _uuid_box(b"JpgTiffExif->JP2", b"II"), struct.pack(">I4s", 4, b"uuid"), b"\0\0\0"):
        found = image.read_metadata(io.BytesIO(file + rest), "jp2", LIMIT)
        assert (found.width, found.captured_s) == (64, None)


def test_xmp_of_a_gif() -> None:
    """As XMP's specification, part 3, has it: not in blocks, and with a trailer that leads out of it."""
    gif = pictures.saved(PICTURE, "GIF")
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    block = b"\x21\xff\x0bXMP DataXMP" + XMP + trailer
    end = gif.rindex(b"\x3b")
    assert both_ways(gif[:end] + block + gif[end:], "gif").rating == 4


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_width_and_height_are_those_of_the_upright_picture(suffix: str, orientation: int) -> None:
    stored = pictures.as_stored(pictures.drawn(640, 480), orientation)
    file = pictures.saved(stored, suffix, exif=exif_block(orientation).tobytes())
    found = both_ways(file, "jpg")
    assert (found.width, found.height) == (640, 480)


@pytest.mark.parametrize("has_preview", [True, False])
def test_raw_tells_of_the_sensor_not_of_the_preview(has_preview: bool) -> None:
    preview = pictures.saved(pictures.drawn(64, 48), "JPEG") if has_preview else None
    found = both_ways(pictures.dng(pictures.as_stored(pictures.drawn(96, 128), 6), 6, preview), "dng")
    assert (found.maker, found.model, found.camera) == ("Tests", "Pinhole", "Tests Pinhole")
    assert (found.width, found.height) == (96, 128)


def test_the_marks_and_boxes_of_raw_files() -> None:
    blocks = {}
    for order, first in (("<", b"II"), (">", b"MM")):
        exif = exif_block()
        exif.endian = order
        blocks[first] = exif.tobytes().removeprefix(b"Exif\0\0")
        assert blocks[first].startswith(first)
    block = blocks[b"MM"]
    whole = raw.blocks_of(block)
    assert (whole.main[0x0110], whole.photo[0x9011], whole.gps[1]) == ("X-T4", "+02:00", "N")
    for mark in (b"IIRO", b"IIU\0", b"MMOR"):
        assert raw.blocks_of(mark + blocks[mark[:2]][4:]) == whole
    jpeg = pictures.saved(PICTURE, "JPEG", exif=b"Exif\0\0" + block)
    raf = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 160, len(jpeg))
    assert raw.blocks_of(raf.ljust(160, b"\0") + jpeg) == whole
    taken = Image.Exif()
    taken[0x9003] = "2023:07:14 18:30:05"
    boxes = {b"CMT1": block, b"CMT2": taken.tobytes().removeprefix(b"Exif\0\0")}
    cr3 = b"\0\0\0\x18ftypcrx ".ljust(24, b"\0")
    cr3 += b"".join(struct.pack(">I", 8 + len(content)) + name + content for name, content in boxes.items())
    found = raw.blocks_of(cr3)
    assert (found.main[0x0110], found.photo[0x9003], found.gps) == ("X-T4", "2023:07:14 18:30:05", {})


# --- what is broken --------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(2, 400), st.integers(0, 255)), min_size=1, max_size=12))
def test_broken_exif_never_costs_the_picture(changes: list[tuple[int, int]]) -> None:
    """In a block behind the picture's own header, so that only the metadata is broken."""
    block = bytearray(exif_block().tobytes())
    for place, value in changes:
        block[6 + place % (len(block) - 6)] = value
    jpeg = pictures.saved(PICTURE, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + bytes(block)
    with _no_warnings():
        found = image.decode(io.BytesIO(jpeg[:2] + segment + jpeg[2:]), "jpg", 32, LIMIT)
    assert {found.metadata.width, found.metadata.height} == {64, 48}


def _no_warnings() -> Any:
    import warnings

    context = warnings.catch_warnings()
    warnings.simplefilter("ignore")
    return context


ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.binary(max_size=40),
    st.tuples(st.floats(), st.floats(), st.integers()),
    st.lists(st.integers(0, 255), max_size=8).map(tuple),
)
TAGS = st.dictionaries(
    st.sampled_from([*metadata_parser.MAIN_TAGS, 1, 2, 3, 4, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012]),
    ANYTHING,
    max_size=9,
)
Tags = dict[int, Any]
TORN = st.tuples(st.sampled_from([XMP, IPTC]), st.integers(0, 2000), st.binary(max_size=9), st.integers(0, 20)).map(
    lambda torn: torn[0][: torn[1]] + torn[2] + torn[0][torn[1] + torn[3] :]
)


@settings(max_examples=400, deadline=None)
@given(main=TAGS, photo=TAGS, gps=TAGS, xmp=st.one_of(st.binary(max_size=99), TORN), block=TORN)
def test_nothing_that_stands_in_metadata_raises(main: Tags, photo: Tags, gps: Tags, xmp: bytes, block: bytes) -> None:
    found = metadata_parser.parse(Blocks(main, photo, gps, xmp, block), 3, 2)
    assert (found.width, found.height) == (3, 2)
    assert (found.latitude is None) == (found.longitude is None)
    assert abs(found.latitude or 0) <= 90
    assert abs(found.longitude or 0) <= 180
    assert found.rating in (None, -1, 0, 1, 2, 3, 4, 5)
    assert all(text.isprintable() for text in (found.maker, found.model, *found.keywords))
    if found.captured_s is not None:
        assert captured_at(found.captured_s, found.offset_min).year >= 1800


def test_entities_are_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 1000 + b'">]>' + XMP[XMP.index(b"<x:") :].replace(b"lake", b"&a;")
    assert metadata_parser.parse(Blocks(xmp=bomb), 1, 1) == NO_METADATA._replace(width=1, height=1)


def test_xmp_counts_up_to_where_it_is_broken() -> None:
    assert metadata_parser.parse(Blocks(xmp=XMP[: XMP.index(b"<ps:")]), 1, 1).keywords == ("lake", "Zürich & hills")


# --- what means what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2023:07:14 18:30:05", ("2023-07-14T18:30:05", None)),
        (b"2023:07:14 18:30:05\0", ("2023-07-14T18:30:05", None)),
        ("2023-07-14T18:30:05.123-03:30", ("2023-07-14T18:30:05", -210)),
        ("2023-07-14T18:30Z", ("2023-07-14T18:30:00", 0)),
        ("2023/07/14 18:30:05", ("2023-07-14T18:30:05", None)),
        ("1904-05", ("1904-05-01T00:00:00", None)),
        ("1904", ("1904-01-01T00:00:00", None)),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2023:02:30 10:00:00", None),
        ("2023:07:14 24:00:00", ("2023-07-14T00:00:00", None)),
        ("2019:01:01 24:04:20", ("2019-01-01T00:04:20", None)),
        ("2010:06:28 10:32:60", ("2010-06-28T10:33:00", None)),
        ("2010:06:28 10:99:60", ("2010-06-28T00:00:00", None)),
        ("1993:08:15   :  :  ", ("1993-08-15T00:00:00", None)),
        ("1993:08:     :  :  ", ("1993-08-01T00:00:00", None)),
        ("1993:  :     :  :  ", ("1993-01-01T00:00:00", None)),
        ("1993:08:00 00:00:00", ("1993-08-01T00:00:00", None)),
        ("1993:00:00 00:00:00", ("1993-01-01T00:00:00", None)),
        ("1993:08:00 10:20:30", ("1993-08-01T00:00:00", None)),
        ("1997:08:25:13:12:50", ("1997-08-25T13:12:50", None)),
        ("2013:06:05 15:22:11\0\x7f\1junk", ("2013-06-05T15:22:11", None)),
        ("2013:06:05 15:22:11 DST", ("2013-06-05T15:22:11", None)),
        ("2013-6-5 1:02:03", ("2013-06-05T01:02:03", None)),
        ("20130605", ("2013-06-05T00:00:00", None)),
        ("20130605T152211+0200", ("2013-06-05T15:22:11", 120)),
        ("0001:01:01 00:00:00", None),
        ("yesterday", None),
        ("20130605152", None),
        (20230714, None),
    ],
)
def test_times(written: object, meant: tuple[str, int | None] | None) -> None:
    found = metadata_parser.parse(Blocks(photo={0x9003: written}), 1, 1)
    if meant is None:
        assert found.captured_s is None
    else:
        assert found.captured_s is not None
        assert captured_at(found.captured_s, None).isoformat() == meant[0]
        assert found.offset_min == meant[1]


def test_the_time_of_taking_goes_before_those_of_digitizing_and_changing() -> None:
    times = {0x9003: "2001:01:01 00:00:00", 0x9004: "2002:01:01 00:00:00"}
    changed = {0x0132: "2003:01:01 00:00:00"}

    def year(**blocks: Any) -> int:
        return captured_at(metadata_parser.parse(Blocks(**blocks), 1, 1).captured_s or 0, None).year

    assert year(main=changed, photo=times, xmp=XMP) == 2001
    assert year(main=changed, photo={0x9004: times[0x9004]}, xmp=XMP) == 2019
    assert year(main=changed, photo={0x9004: times[0x9004]}) == 2002
    assert year(main=changed) == 2003
    assert year(main={**changed, 0x9003: "1998:01:01 00:00:00"}) == 1998
    assert year(main={**changed, **times}, photo={0x9004: times[0x9004]}) == 2001
    assert year(main={**changed, 0x9004: "1999:01:01 00:00:00"}) == 1999
    assert year(photo={0x0132: "2004:01:01 00:00:00"}) == 2004
    assert year(iptc=IPTC) == 2018
    assert year(creation_time="2006-05-04", main=changed) == 2006


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Thu, 05 May 2011 07:08:09 +0200", ("2011-05-05T07:08:09", 120)),
        ("Sat, 4 Jul 2009 11:14:12 -0330", ("2009-07-04T11:14:12", -210)),
        ("Sat Jul  4 11:14:12 2009", ("2009-07-04T11:14:12", None)),
        ("4 Jul 2009 11:14:12 GMT", ("2009-07-04T11:14:12", 0)),
        ("2011:05:06 07:08:09", ("2011-05-06T07:08:09", None)),
        ("2011-05-06T07:08:09Z", ("2011-05-06T07:08:09", 0)),
        ("some time ago", None),
    ],
)
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_the_creation_time_of_a_png(kind: bytes, written: str, meant: tuple[str, int | None] | None) -> None:
    """`exiftool -PNG:CreationTime` reads all that it knows the same way."""
    found = both_ways(pictures.png(_samples(), (kind, png_text(kind, b"Creation Time", written.encode()))), "png")
    assert (found.captured_s and captured_at(found.captured_s, None).isoformat()) == (meant and meant[0])
    assert found.offset_min == (meant and meant[1])


@pytest.mark.parametrize(
    "gps",
    [
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        {1: "N", 2: (float("nan"), 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0)},
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0)},
        {1: "N", 2: (48.0, 0.0, 0.0)},
    ],
)
def test_places_that_are_none(gps: dict[int, Any]) -> None:
    assert metadata_parser.parse(Blocks(gps=gps), 1, 1).latitude is None


@pytest.mark.parametrize(
    ("latitude_side", "longitude_side", "signs"),
    [
        ("S", "W", (-1, -1)),
        ("South", "West", (-1, -1)),
        ("SOUTH\0", "WEST\0", (-1, -1)),
        ("s", "w", (-1, -1)),
        ("North", "East", (1, 1)),
        ("Sud", "Ouest", (-1, -1)),
        ("Süd", "Ost", (-1, 1)),
        (b"South\0", b"East\0", (-1, 1)),
        ("", "", (1, 1)),
    ],
)
def test_hemispheres_may_be_words(latitude_side: Any, longitude_side: Any, signs: tuple[int, int]) -> None:
    gps = {1: latitude_side, 2: (33.0, 51.0, 30.0), 3: longitude_side, 4: (151.0, 12.0, 36.0)}
    found = metadata_parser.parse(Blocks(gps=gps), 1, 1)
    assert (found.latitude, found.longitude) == (near(33.858333 * signs[0]), near(151.21 * signs[1]))


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        ('="33,51.5S"', '="151,12,36W"'),
        ('="33,51.5South"', '="151,12,36West"'),
        ('="33.858333" e:GPSLatitudeRef="South"', '="151.21" e:GPSLongitudeRef="W"'),
        ('="-33.858333" e:GPSLatitudeRef="South"', '="-151.21"'),
    ],
)
def test_hemispheres_in_xmp(latitude: str, longitude: str) -> None:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<r:Description xmlns:e="http://ns.adobe.com/exif/1.0/" '
        f"e:GPSLatitude{latitude} e:GPSLongitude{longitude}/></r:RDF></x:xmpmeta>"
    )
    found = metadata_parser.parse(Blocks(xmp=packet.encode()), 1, 1)
    assert (found.latitude, found.longitude) == (near(-33.858333), near(-151.21))


@pytest.mark.parametrize(
    ("maker", "model", "camera"),
    [
        ("Canon", "Canon EOS R5", "Canon EOS R5"),
        ("NIKON CORPORATION", "NIKON D850", "NIKON D850"),
        ("FUJIFILM", "X-T4", "FUJIFILM X-T4"),
        ("Apple", "", "Apple"),
        ("", "EX-Z750", "EX-Z750"),
        ("", "", ""),
    ],
)
def test_a_cameras_name_says_its_maker_once(maker: str, model: str, camera: str) -> None:
    assert PhotoMetadata(maker=maker, model=model).camera == camera


def test_windows_keywords_and_rating() -> None:
    main = {0x9C9E: tuple("sea;sand\0".encode("utf-16-le")), 0x4746: 3}
    found = metadata_parser.parse(Blocks(main=main), 1, 1)
    assert (found.keywords, found.rating) == (("sea", "sand"), 3)


def test_texts_hold_nothing_that_steers_a_terminal() -> None:
    found = metadata_parser.parse(Blocks(main={0x010F: " Ca\x1b[2Jnon \0junk", 0x0110: b"R\xff5"}), 1, 1)
    assert (found.maker, found.model) == ("Ca [2Jnon", "R�5")
