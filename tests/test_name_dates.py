"""Times in names of files, as cameras, telephones and messengers write them, and numbers that only look like some."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rclip.cli.template import FIELDS
from rclip.photo.name_dates import time_in_name
from tests.support import pictures
from tests.support.command import Command, update
from tests.support.gallery import Draw

TIMES = {
    "IMG-20150704-WA0001.jpg": "2015-07-04T00:00:00",
    "VID-20150704-WA0001.mp4": "2015-07-04T00:00:00",
    "PXL_20230101_120000123.jpg": "2023-01-01T12:00:00",
    "PXL_20230101_120000123.MP~2.jpg": "2023-01-01T12:00:00",
    "Screenshot_20230105-123456.png": "2023-01-05T12:34:56",
    "Screenshot_2023-01-05-12-34-56-123_com.app.png": "2023-01-05T12:34:56",
    "Screenshot 2023-01-05 at 12.34.56 PM.png": "2023-01-05T12:34:56",
    "Screenshot 2023-01-05 at 12.34.56 AM.png": "2023-01-05T00:34:56",
    "Screenshot 2023-01-05 at 9.34.56\u202fPM.png": "2023-01-05T21:34:56",
    "Screenshot from 2023-01-05 12-34-56.png": "2023-01-05T12:34:56",
    "Bildschirmfoto 2023-01-05 um 12.34.56.png": "2023-01-05T12:34:56",
    "2015-07-04 10.10.10.jpg": "2015-07-04T10:10:10",
    "2015-07-04 10.10.10-1.jpg": "2015-07-04T10:10:10",
    "IMG_20150704_101010.jpg": "2015-07-04T10:10:10",
    "IMG_20150704_101010_HDR.jpg": "2015-07-04T10:10:10",
    "IMG20150704101010.jpg": "2015-07-04T10:10:10",
    "20150704_101010.jpg": "2015-07-04T10:10:10",
    "20150704.jpg": "2015-07-04T00:00:00",
    "WP_20150704_10_10_10_Pro.jpg": "2015-07-04T10:10:10",
    "00100dPORTRAIT_00100_BURST20190101120000123_COVER.jpg": "2019-01-01T12:00:00",
    "signal-2023-01-05-123456.jpg": "2023-01-05T12:34:56",
    "signal-2023-01-05-12-34-56-789.jpg": "2023-01-05T12:34:56",
    "photo_2023-01-05_12-34-56.jpg": "2023-01-05T12:34:56",
    "WhatsApp Image 2023-01-05 at 12.34.56.jpeg": "2023-01-05T12:34:56",
    "WhatsApp Image 2015-07-04 at 10.10.10 PM (1).jpeg": "2015-07-04T22:10:10",
    "DSC_20150704_0001.jpg": "2015-07-04T00:00:00",
    "1985-07-04 grandmother.jpg": "1985-07-04T00:00:00",
    "2015_07_04_party.jpg": "2015-07-04T00:00:00",
    "2016-02-29.jpg": "2016-02-29T00:00:00",
}

NO_TIMES = """
20151399.jpg 20150231.jpg 2015-02-29.jpg IMG_20151399.jpg IMG_20150631_101010.jpg 18991231.jpg 21000101.jpg
+201507041234.jpg +20150704101010.jpg 4915112345678.jpg 004920150704.jpg 0151-20150704123.jpg
IMG_2015.jpg DSC20150.jpg P1020150704.jpg DSC01507.jpg 20150704123.jpg IMG_20150704123.jpg
1436005810123.jpg FB_IMG_1436005810123.jpg 20150704101010123456.jpg shutterstock_20150704.jpg item-20150704.jpg
2015-7-4.jpg 12015-07-04.jpg 2015-07-041.jpg 2015-07_04.jpg a2015-07-04.jpg 04-07-2015.jpg 2015.jpg .jpg
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", TIMES)
def test_the_time_in_a_name(name: str) -> None:
    found = time_in_name(name)
    assert found
    assert (datetime(1970, 1, 1) + timedelta(seconds=found.captured_s)).isoformat() == TIMES[name]
    assert found.offset_min == (0 if name.startswith("PXL") else None)


@pytest.mark.parametrize("name", NO_TIMES)
def test_what_only_looks_like_a_time(name: str) -> None:
    assert time_in_name(name) is None


def taken(time: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = time
    return exif


@given(st.text(st.sampled_from("0123456789-_ :.+PMpxlIMG年"), max_size=300))
def test_any_name_is_read(name: str) -> None:
    found = time_in_name(name)
    assert found is None or 1900 <= (datetime(1970, 1, 1) + timedelta(seconds=found.captured_s)).year < 2100


def test_results_tell_where_their_time_comes_from(rclip: Command, photos: Path, draw: Draw) -> None:
    """A time of the photo's own counts more than one in its name."""
    (photos / "IMG_20150101_000000.jpg").write_bytes(
        pictures.saved(pictures.drawn(), "JPEG", exif=taken("2012:03:04 05:06:07"))
    )
    draw("IMG-20150704-WA0001.jpg")
    draw("PXL_20230101_120000123.jpg")
    os.utime(draw("20151399.jpg"), (1_300_000_000, 1_300_000_000))
    update(rclip)
    found = {os.path.basename(hit["path"]): hit for hit in map(json.loads, rclip("--json", "-t", "9", "x").lines)}
    told = {name: (hit["captured"], hit["captured_from"]) for name, hit in found.items()}
    assert told["IMG_20150101_000000.jpg"] == ("2012-03-04T05:06:07", "metadata")
    assert told["IMG-20150704-WA0001.jpg"] == ("2015-07-04T00:00:00", "name")
    assert told["PXL_20230101_120000123.jpg"] == ("2023-01-01T12:00:00+00:00", "name")
    assert told["20151399.jpg"][1] == "file"
    assert rclip("--after", "2015", "--before", "2016").lines == ["IMG-20150704-WA0001.jpg"]
    newest_first = ["PXL_20230101_120000123.jpg", "IMG-20150704-WA0001.jpg", "IMG_20150101_000000.jpg", "20151399.jpg"]
    assert rclip("--after", "1990").lines == newest_first
    assert rclip("--format", "{captured_from} {path}", "--after", "2023").lines == ["name PXL_20230101_120000123.jpg"]
    assert "captured_from" in FIELDS


def test_a_renamed_or_copied_photo_has_the_time_of_its_new_name(rclip: Command, photos: Path, draw: Draw) -> None:
    first = draw("IMG-20150704-WA0001.jpg")
    update(rclip)
    first.rename(photos / "IMG-20160704-WA0001.jpg")
    assert update(rclip) == "1 moved file"
    assert rclip("--after", "2016", "--before", "2017").lines == ["IMG-20160704-WA0001.jpg"]
    (photos / "IMG-20170704-WA0001.jpg").write_bytes((photos / "IMG-20160704-WA0001.jpg").read_bytes())
    assert update(rclip) == "1 copy"
    assert rclip("--after", "2017", "--before", "2018").lines == ["IMG-20170704-WA0001.jpg"]
    (photos / "IMG-20160704-WA0001.jpg").rename(photos / "plain.jpg")
    os.utime(photos / "plain.jpg", (1_300_000_000, 1_300_000_000))
    assert update(rclip) == "1 moved file"
    (plain,) = map(json.loads, rclip("--json", "--before", "2012").lines)
    assert (os.path.basename(plain["path"]), plain["captured_from"]) == ("plain.jpg", "file")
    assert rclip("--check").code == 0
