"""Files beside photos that say more of them: what programs and Google's Takeout write, and what nobody should."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rclip.photo import sidecar
from rclip.photo.metadata import NO_METADATA, Origin, PhotoMetadata
from rclip.photo.metadata_parser import Layers, parse_sidecar
from rclip.photo.sidecar_names import sidecars_of
from tests.support import pictures
from tests.support.command import Command, is_unchanged, update
from tests.support.gallery import Draw
from tests.support.sidecars import ACDSEE, DARKTABLE, DIGIKAM, LIGHTROOM, bag, xmp


def takeout(**changes: Any) -> bytes:
    known = {
        "title": "IMG_1.jpg",
        "description": "A tram",
        "photoTakenTime": {"timestamp": "1436004610", "formatted": "4 Jul 2015, 10:10:10 UTC"},
        "geoData": {"latitude": 38.72, "longitude": -9.14, "altitude": 0.0},
        "people": [{"name": "Anna"}],
    }
    return json.dumps(known | changes).encode()


# --- what they say ---------------------------------------------------------------------------------------------------


def test_darktable() -> None:
    over, under = parse_sidecar(DARKTABLE)
    assert over.keywords == ("Lisbon", "Places", "Portugal")
    assert (over.rating, over.captured_s) == (3, 1436004610)
    assert under == NO_METADATA


def test_digikam() -> None:
    over, _ = parse_sidecar(DIGIKAM)
    assert over.keywords == ("People", "Anna", "Tram")
    assert (over.title, over.headline, over.caption) == ("Tram 28", "By the sea", "The tram climbs the hill")
    assert over.latitude == pytest.approx(38.721667)
    assert over.longitude == pytest.approx(-9.139333)


def test_lightroom() -> None:
    """Its time of digitizing, and its camera, count where the photo does not know better."""
    over, under = parse_sidecar(LIGHTROOM)
    assert over == NO_METADATA
    assert under == PhotoMetadata(1436004610, 120, maker="Canon", model="R5", lens="RF 50")


def test_acdsee() -> None:
    over, _ = parse_sidecar(ACDSEE)
    assert (over.keywords, over.rating) == (("tram", "Lisbon"), 4)


def test_takeout() -> None:
    over, under = sidecar.parse_takeout(takeout())
    assert over == NO_METADATA
    assert under == PhotoMetadata(1436004610, 0, 38.72, -9.14, keywords=("Anna",), caption="A tram")


@pytest.mark.parametrize(
    "changes",
    [
        {"photoTakenTime": {"timestamp": "9" * 5000}},
        {"photoTakenTime": {"timestamp": True}},
        {"photoTakenTime": []},
        {"geoData": {"latitude": 0.0, "longitude": 0.0}},
        {"geoData": {"latitude": 91, "longitude": 1}},
        {"geoData": {"latitude": float("nan"), "longitude": float("inf")}},
        {"people": {"name": 1}},
        {"people": ["Anna", {"name": 7}]},
        {"description": ["x"]},
        {"description": "x" * 100_000},
    ],
)
def test_takeout_with_nonsense_in_it(changes: dict[str, Any]) -> None:
    (name,) = changes
    _, under = sidecar.parse_takeout(takeout(**changes))
    expected = sidecar.parse_takeout(takeout()).under
    field = {"photoTakenTime": "captured_s", "geoData": "latitude", "people": "keywords", "description": "caption"}[
        name
    ]
    assert not getattr(under, field) or len(under.caption) == 2000
    assert under.rating == expected.rating


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b"7", b'{"photoTakenTime":' + b"9" * 9999 + b"}"]
)
def test_what_is_no_takeout(content: bytes) -> None:
    assert sidecar.parse_takeout(content) == Layers()


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: takeout(description=text)))
def test_any_bytes_are_read(content: bytes) -> None:
    sidecar.parse_takeout(content)
    parse_sidecar(content)


# --- how it goes together --------------------------------------------------------------------------------------------

OWN = PhotoMetadata(
    100, 60, 1.0, 2.0, "Canon", "R5", 40, 30, ("own",), 1, None, lens="RF 50", title="T", headline="H", caption="C"
)
XMP = Layers(
    over=PhotoMetadata(200, None, 3.0, 4.0, keywords=("xmp",), rating=5, title="t", headline="h", caption="c"),
    under=PhotoMetadata(maker="Nikon", model="D1", lens="AF"),
)
JSON = Layers(under=PhotoMetadata(300, 0, 5.0, 6.0, keywords=("json",), caption="google"))


def test_a_sidecar_says_what_programs_for_sorting_know_and_the_photo_what_the_camera_knows() -> None:
    assert sidecar.merged(OWN, [XMP, JSON]) == PhotoMetadata(
        200, None, 3.0, 4.0, "Canon", "R5", 40, 30, ("own", "xmp", "json"), 5, None, Origin.SIDECAR,
        "RF 50", "t", "h", "c",
    )  # fmt: skip
    assert sidecar.merged(OWN, [JSON]) == OWN._replace(keywords=("own", "json"))
    assert sidecar.merged(NO_METADATA, [JSON]) == JSON.under._replace(captured_from=Origin.SIDECAR)
    assert sidecar.merged(OWN, []) == OWN


def test_the_same_time_stays_the_photos_own_with_its_zone() -> None:
    same = Layers(over=PhotoMetadata(100, None))
    assert sidecar.merged(OWN, [same]) == OWN


# --- which they are --------------------------------------------------------------------------------------------------

LONG = "a-very-long-name-that-a-telephone-gave-its-photo-20150704.jpg"

PAIRS = {
    "IMG_1.jpg": ["IMG_1.xmp", "IMG_1.jpg.xmp", "img_1.XMP", "IMG_1.JPG.Xmp", "IMG_1.jpg.json",
                  "IMG_1.jpg.supplemental-metadata.json", "IMG_1.jpg.supplemental-me.json", "IMG_1.jpg.s.json"],
    "IMG_1.CR3": ["IMG_1.CR3.xmp", "IMG_1.xmp", "IMG_1_01.CR3.xmp", "img_1_0012.cr3.XMP"],
    "IMG.tar.jpg": ["IMG.tar_01.jpg.xmp"],
    "IMG_1(2).jpg": ["IMG_1.jpg(2).json", "IMG_1(2).jpg.json", "IMG_1.jpg.supplemental-metadata(2).json",
                     "IMG_1.jpg.supplemental-met(2).json"],
    "IMG_1-edited.jpg": ["IMG_1.jpg.json", "IMG_1.jpg.supplemental-metadata.json", "IMG_1-edited.jpg.json"],
    "IMG_1-bearbeitet(3).jpg": ["IMG_1.jpg(3).json"],
    "été.jpg": ["e\u0301te\u0301.jpg.json", "été.xmp"],
    LONG: [f"{LONG[:46]}.json", f"{LONG}.xmp"],
    f"{LONG[:40]}.jpg": [f"{LONG[:40]}.jpg.su.json"],
}  # fmt: skip

STRANGERS = {
    "IMG_1.jpg": ["IMG_1.CR3.xmp", "IMG_10.xmp", "IMG_1_1.jpg.xmp", "IMG_1_01.xmp", "IMG_1_00001.jpg.xmp",
                  "IMG_1_٠١.jpg.xmp", "IMG_1.json", "IMG_1.jpg(1).json", ".xmp",
                  "IMG_1.jpg.supplemental-metadata2.json", "metadata.json", "IMG_1.jpg.other.json"],
    "IMG_1(2).jpg": ["IMG_1.jpg.json", "IMG_1.jpg(1).json"],
    LONG: [f"{LONG[:45]}.json", f"{LONG[:47]}.json"],
}  # fmt: skip


@pytest.mark.parametrize(("photo", "name"), [(photo, name) for photo, names in PAIRS.items() for name in names])
def test_a_sidecar_is_told_by_its_name(photo: str, name: str) -> None:
    assert list(sidecars_of([photo.encode()], [name.encode()])) == [(photo.encode(), [name.encode()])]


@pytest.mark.parametrize(("photo", "name"), [(photo, name) for photo, names in STRANGERS.items() for name in names])
def test_what_is_none_of_this_photo(photo: str, name: str) -> None:
    assert list(sidecars_of([photo.encode()], [name.encode()])) == []


def test_of_several_the_most_particular_comes_first() -> None:
    beside = [b"a.jpg.json", b"a.xmp", b"A.xmp", b"a.jpg.xmp", b"a.CR3.xmp"]
    assert dict(sidecars_of([b"a.jpg", b"b.jpg"], beside)) == {
        b"a.jpg": [b"a.jpg.xmp", b"a.xmp", b"A.xmp", b"a.jpg.json"]
    }


def test_versions_of_darktable_come_after_the_photos_own_and_before_takeout() -> None:
    beside = [b"a.jpg.json", b"a_02.jpg.xmp", b"a.xmp", b"a_01.jpg.xmp", b"a.jpg.xmp", b"a_01.xmp"]
    assert dict(sidecars_of([b"a.jpg"], beside)) == {
        b"a.jpg": [b"a.jpg.xmp", b"a.xmp", b"a_01.jpg.xmp", b"a_02.jpg.xmp", b"a.jpg.json"]
    }
    many = [b"a_%02d.jpg.xmp" % number for number in range(50, 0, -1)]
    ((_, found),) = sidecars_of([b"a.jpg"], [*many, b"a.jpg.json"])
    assert found == [b"a_01.jpg.xmp", b"a_02.jpg.xmp", b"a_03.jpg.xmp", b"a_04.jpg.xmp", b"a.jpg.json"]


def test_a_photo_that_is_named_like_a_version_keeps_its_sidecar() -> None:
    photos = [b"DSC.jpg", b"DSC_0001.JPG", b"DSC_0002.jpg"]
    beside = [b"DSC_0001.jpg.xmp", b"DSC_0002_01.jpg.xmp", b"DSC_0003.jpg.xmp"]
    assert dict(sidecars_of(photos, beside)) == {
        b"DSC.jpg": [b"DSC_0003.jpg.xmp"],
        b"DSC_0001.JPG": [b"DSC_0001.jpg.xmp"],
        b"DSC_0002.jpg": [b"DSC_0002_01.jpg.xmp"],
    }


# --- with the command ------------------------------------------------------------------------------------------------


def hits(rclip: Command, *arguments: str) -> dict[str, dict[str, Any]]:
    done = rclip("--json", *arguments)
    assert done.code in (0, 1), done.err
    return {os.path.basename(hit["path"]): hit for hit in map(json.loads, done.lines)}


def test_sidecars_are_read_when_they_appear_change_and_go(rclip: Command, photos: Path, draw: Draw) -> None:
    """Without the model: the photos keep their vectors, and are not read."""
    draw("a/IMG_1.jpg")
    draw("a/IMG-20150704-WA0001.jpg")
    os.utime(draw("b.jpg"), (1_300_000_000, 1_300_000_000))
    update(rclip)
    assert rclip("--keyword", "Lisbon").code == 1
    beside = photos / "a/IMG_1.xmp"
    beside.write_bytes(DARKTABLE)
    (photos / "b.jpg.json").write_bytes(takeout())
    (photos / "a/IMG-20150704-WA0001.jpg.xmp").write_bytes(DIGIKAM)
    assert update(rclip) == "sidecars of 3 photos"
    assert is_unchanged(rclip("--index", "-v").err)
    (found,) = hits(rclip, "--keyword", "Portugal", "--rating", "3").values()
    assert (found["captured"], found["captured_from"]) == ("2015-07-04T10:10:10", "sidecar")
    found = hits(rclip, "--keyword", "anna")
    assert found["b.jpg"]["captured"] == "2015-07-04T10:10:10+00:00"
    assert found["b.jpg"]["captured_from"] == "sidecar"
    assert found["b.jpg"]["caption"] == "A tram"
    assert found["IMG-20150704-WA0001.jpg"]["captured_from"] == "name"
    assert found["IMG-20150704-WA0001.jpg"]["title"] == "Tram 28"
    assert set(hits(rclip, "--near", "38.72,-9.14,5")) == {"b.jpg", "IMG-20150704-WA0001.jpg"}
    beside.write_bytes(DARKTABLE.replace(b'Rating="3"', b'Rating="5"'))
    assert update(rclip) == "sidecars of 1 photo"
    assert set(hits(rclip, "--rating", "5")) == {"IMG_1.jpg"}
    for each in (beside, photos / "b.jpg.json", photos / "a/IMG-20150704-WA0001.jpg.xmp"):
        each.unlink()
    assert update(rclip) == "sidecars of 3 photos"
    assert rclip("--keyword", "Lisbon,anna").code == 1
    left = hits(rclip, "--after", "1990")
    origins = {name: hit["captured_from"] for name, hit in left.items()}
    assert origins == {"IMG_1.jpg": "file", "IMG-20150704-WA0001.jpg": "name", "b.jpg": "file"}
    assert is_unchanged(rclip("--index", "-v").err)
    assert rclip("--check").code == 0


def test_what_the_photo_says_itself_is_kept_below(rclip: Command, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x4746] = "Canon", "R5", 2
    exif.get_ifd(0x8769).update({0x9003: "2012:03:04 05:06:07", 0xA434: "RF 50", 0x9011: "+02:00"})
    (photos / "a.jpg").write_bytes(pictures.saved(pictures.drawn(), "JPEG", exif=exif))
    (photos / "a.xmp").write_bytes(DARKTABLE)
    update(rclip)
    (found,) = hits(rclip, "--camera", "canon").values()
    assert (found["rating"], found["captured"], found["lens"]) == (3, "2015-07-04T10:10:10", "RF 50")
    (photos / "a.xmp").unlink()
    assert update(rclip) == "sidecars of 1 photo"
    (found,) = hits(rclip, "--camera", "canon").values()
    assert (found["rating"], found["captured"]) == (2, "2012-03-04T05:06:07+02:00")
    assert "keywords" not in found


def test_moved_copied_and_changed_photos_have_the_sidecars_beside_them(
    rclip: Command, photos: Path, draw: Draw
) -> None:
    first = draw("a.jpg")
    (photos / "a.xmp").write_bytes(DARKTABLE)
    update(rclip)
    (photos / "b.jpg").write_bytes(first.read_bytes())
    assert update(rclip) == "1 copy"
    assert set(hits(rclip, "--keyword", "Lisbon")) == {"a.jpg"}
    (photos / "c").mkdir()
    first.rename(photos / "c/a.jpg")
    assert update(rclip) == "1 moved file, sidecars of 1 photo"
    assert rclip("--keyword", "Lisbon").code == 1
    (photos / "a.xmp").rename(photos / "c/a.xmp")
    assert update(rclip) == "sidecars of 1 photo"
    assert set(hits(rclip, "--keyword", "Lisbon")) == {"a.jpg"}
    draw("c/a.jpg", "blue star")
    assert update(rclip) == "1 changed, sidecars of 1 photo"
    assert set(hits(rclip, "--keyword", "Lisbon")) == {"a.jpg"}
    (photos / "c/a.jpg").unlink()  # the photo is gone, its sidecar is not
    assert update(rclip) == "1 missing"


def test_photos_of_folders_that_are_not_looked_into_keep_what_is_known(
    rclip: Command, photos: Path, draw: Draw
) -> None:
    draw("a/a.jpg")
    draw("b.jpg")
    (photos / "a/a.xmp").write_bytes(DARKTABLE)
    update(rclip)
    assert is_unchanged(rclip("--index", "-v", "--exclude-dir", "a").err)
    (photos / "b.xmp").write_bytes(DIGIKAM)
    assert update(rclip, "--exclude-dir", "a") == "sidecars of 1 photo"
    assert set(hits(rclip, "--rating", "3")) == {"a.jpg"}


def test_a_rebuilt_index_and_one_that_takes_over_know_both_layers(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("a.jpg")
    (photos / "a.xmp").write_bytes(DARKTABLE)
    update(rclip)
    assert rclip("--rebuild").code == 0
    assert set(hits(rclip, "--rating", "3")) == {"a.jpg"}
    assert rclip("--init").code == 0
    assert update(rclip) in ("", "sidecars of 1 photo")
    assert set(hits(rclip, "--rating", "3")) == {"a.jpg"}
    (photos / "a.xmp").unlink()
    assert update(rclip) == "sidecars of 1 photo"
    assert rclip("--rating", "1").code == 1


# --- attacks ---------------------------------------------------------------------------------------------------------


def hostile(folder: Path, outside: Path) -> None:
    """Beside each photo something that is not to be followed, waited for or believed."""
    (folder / "link.xmp").symlink_to(outside)
    (folder / "link.jpg.json").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.xmp")
    (folder / "folder.xmp").mkdir()
    with open(folder / "large.xmp", "wb") as file:
        file.write(DARKTABLE)
        file.truncate(1 << 33)
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    (folder / "entities.xmp").write_bytes(entities + DARKTABLE.partition(b"?>\n")[2].replace(b"Lisbon", b"&b;", 1))
    external = f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{outside}">]>'.encode()
    (folder / "external.xmp").write_bytes(external + DARKTABLE.partition(b"?>\n")[2].replace(b"Lisbon", b"&a;", 1))
    (folder / "deep.xmp").write_bytes(b"<a>" * 1_000_000)
    (folder / "deep.jpg.json").write_bytes(b"[" * 200_000)
    (folder / "many.xmp").write_bytes(xmp(elements=bag("dc:subject", *(f"w{n}" for n in range(100_000)))))
    (folder / "steering.xmp").write_bytes(xmp(elements=bag("dc:subject", "Lis&#155;31mbon&#x202e;", "Lisbon2")))


def test_hostile_sidecars(rclip: Command, photos: Path, draw: Draw, tmp_path: Path) -> None:
    names = ["link", "pipe", "folder", "large", "entities", "external", "deep", "many", "steering", "good"]
    for name in names:
        draw(f"{name}.jpg")
    secret = tmp_path / "secret.xmp"
    secret.write_bytes(DARKTABLE)
    hostile(photos, secret)
    (photos / "good.xmp").write_bytes(DARKTABLE)
    done = rclip("--index", "-v")
    assert done.code == 0, done.err
    assert set(hits(rclip, "--keyword", "Lisbon")) == {"good.jpg"}
    assert len(hits(rclip, "--keyword", "w1")["many.jpg"]["keywords"]) == 100
    assert hits(rclip, "--keyword", "Lisbon2")["steering.jpg"]["keywords"] == ["Lis 31mbon", "Lisbon2"]
    assert is_unchanged(rclip("--index", "-v").err)


def test_a_sidecar_that_cannot_be_read_now_is_tried_again(
    rclip: Command, photos: Path, draw: Draw, drop_root: tuple[str, ...]
) -> None:
    draw("a.jpg")
    (photos / "a.xmp").write_bytes(DARKTABLE)
    (photos / "a.xmp").chmod(0)
    assert rclip("--index", prefix=drop_root).code == 0
    assert rclip("-n", "--rating", "1").code == 1
    (photos / "a.xmp").chmod(0o600)
    assert update(rclip) == "sidecars of 1 photo"
    assert set(hits(rclip, "--rating", "3")) == {"a.jpg"}


def test_a_library_without_sidecars_has_no_rows_for_them(rclip: Command, gallery: Path) -> None:
    update(rclip)
    (path,) = rclip.data_dir.glob("*.db")
    connection = sqlite3.connect(path)
    assert connection.execute(
        "SELECT (SELECT count(*) FROM sidecars), (SELECT count(*) FROM own_metadata)"
    ).fetchone() == (0, 0)
    connection.close()
