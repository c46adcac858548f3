"""Opens films: one demuxer, chosen by the file's first bytes, that may read this file and nothing else.

Containers can name other files and addresses to read: playlists, references of QuickTime, lists of parts. None of that
is followed: no demuxer is tried but that of the container; FFmpeg may use no protocol; and every file that it asks for
beside this one is refused.
"""

import errno
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from rclip.formats import VIDEO
from rclip.photo.failures import DecodeError, needs_extra
from rclip.photo.image.opened import Room
from rclip.photo.metadata import PhotoMetadata

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_HEAD_BYTES = 1024
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")
_DEMUXERS = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"FLV", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
)
_TRANSPORT_PACKETS = (188, 192, 204)
_SYNC = 0x47

_CODECS = (
    *("h264", "hevc", "libdav1d", "av1", "vp8", "vp9", "libvpx", "libvpx-vp9", "mpeg4", "mpeg2video", "mpeg1video"),
    *("h263", "h263p", "flv", "mjpeg", "vc1", "wmv1", "wmv2", "wmv3", "msmpeg4v1", "msmpeg4v2", "msmpeg4"),
    *("prores", "dnxhd", "dvvideo", "theora", "cinepak", "svq1", "svq3", "rawvideo", "huffyuv", "ffvhuff", "ffv1"),
    *("qtrle", "rpza", "vp6", "vp6f", "cfhd", "utvideo", "indeo5", "msrle", "msvideo1", "png"),
)
"""Decoders that films of cameras and of the web need; the hundreds of others that FFmpeg has are never started."""

_OPTIONS = {
    "protocol_whitelist": "none",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,flv,asf,mpeg,mpegvideo,mpegts,avi",
    "codec_whitelist": ",".join(_CODECS),
    "enable_drefs": "0",
    "use_absolute_path": "0",
}

_MICROSECONDS = 1_000_000
_MOST_MS = 1 << 41
"""Seventy years: a time beyond is damage."""

_DECODER_FRAMES = 3
"""Pictures of a film are kept by its decoder as long as others refer to them: as much memory as so many photos take."""


def demuxer(head: bytes) -> str | None:
    """FFmpeg's name of what reads a file that starts so; None for what is no film."""
    if head[4:8] in _MOV_BOXES:
        return "mov"
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return "avi"
    if any(_is_transport_stream(head, size) for size in _TRANSPORT_PACKETS):
        return "mpegts"
    return next((name for start, name in _DEMUXERS if head.startswith(start)), None)


def _is_transport_stream(head: bytes, size: int) -> bool:
    """Packets of 188 bytes, each after 4 bytes of time on camcorders, or before 16 for repair (ISO/IEC 13818-1)."""
    start = 4 if size == 192 else 0
    return len(head) > start + 3 * size and all(head[start + number * size] == _SYNC for number in range(4))


@contextmanager
def opened(stream: BinaryIO, room: Room) -> "Iterator[Film]":
    """The film in a file. Raises `DecodeError`, or whatever a decoder does."""
    if not VIDEO.installed():
        raise needs_extra(VIDEO)
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    name = demuxer(head)
    if not head:
        raise DecodeError("the file is empty")
    if name is None:
        raise DecodeError("damaged, or not a video in a format known here")
    stream.seek(0)
    import av

    try:
        with av.open(
            _OneFile(stream),
            "r",
            format=name,
            options=_OPTIONS,
            metadata_errors="replace",
            buffer_size=1 << 18,
            io_open=_refuse,
        ) as container:
            yield Film(container, room)
    except MemoryError:
        raise
    except av.FFmpegError as error:  # the system's own come as they are
        raise DecodeError(f"damaged: {(error.strerror or str(error)).lower()}") from error


def _refuse(url: str, flags: int, options: dict[str, str]) -> object:
    raise PermissionError("a video may not open other files")


class _OneFile(io.RawIOBase):
    """The stream without its name, which FFmpeg would resolve other files' names by."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Raises ValueError for a place that no file has, which is the film's fault and not the disk's."""
        try:
            return self._stream.seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise ValueError("it points outside itself") from error

    def tell(self) -> int:
        return self._stream.tell()


class Film:
    """An open film: its moving pictures, what it says of itself, and its frames by their times."""

    def __init__(self, container: "InputContainer", room: Room):
        """Raises `DecodeError` for one without moving pictures, or with larger ones than are allowed."""
        self.container = container
        self.stream = _moving_pictures(container)
        context = self.stream.codec_context
        room.claim(context.width, context.height, _DECODER_FRAMES)
        context.thread_type = "SLICE"  # threads of whole frames hold frames back
        context.thread_count = 2
        context.options = {"max_pixels": str(room.max_pixels)}  # as later ones may be larger than they said at first
        self._start_ms = (container.start_time or 0) * 1000 // _MICROSECONDS
        self._frames = 0
        told_ms = (container.duration or 0) * 1000 // _MICROSECONDS
        self.duration_ms = told_ms if 0 < told_ms < _MOST_MS else None
        """None where the file does not tell, or tells nonsense."""
        self.pixel_ratio = _pixel_ratio(self.stream)
        self.size = context.width, context.height
        """Width and height as stored."""
        self.metadata = PhotoMetadata()
        """Set when the first frame has told which way up it is."""
        self._told = _told(container)

    def packets(self, from_ms: int = 0) -> "Iterator[tuple[int, Packet[VideoStream]]]":
        """Times and packets of the moving pictures, from the last key frame before `from_ms` or, where the file cannot
        be entered there, from its start.

        What is damaged is passed over.
        """
        import av

        if from_ms:
            with suppress(av.FFmpegError):
                self.container.seek((from_ms + self._start_ms) * _MICROSECONDS // 1000)
        demuxed = self.container.demux(self.stream)
        errors = 0
        while errors < _MOST_ERRORS:
            try:
                packet = next(demuxed, None)
            except EOFError:
                return
            except av.FFmpegError:  # a generator that has raised is over
                errors += 1
                demuxed = self.container.demux(self.stream)
                continue
            if packet is None:
                return
            if packet.size:
                yield self._time_ms(packet), packet

    def _time_ms(self, packet: "Packet[VideoStream]") -> int:
        """From the film's start; where a packet has no time, from the rate of frames."""
        self._frames += 1
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None or not packet.time_base:
            rate = self.stream.average_rate or self.stream.guessed_rate or 25
            return int(self._frames * 1000 / rate)
        time_ms = int(ticks * packet.time_base * 1000) - self._start_ms
        return time_ms if -_MOST_MS < time_ms < _MOST_MS else -1

    def time_of(self, frame: "VideoFrame") -> int | None:
        """Milliseconds from the film's start."""
        ticks = frame.pts if frame.pts is not None else frame.dts
        if ticks is None or not frame.time_base:
            return None
        return int(ticks * frame.time_base * 1000) - self._start_ms

    def decoded(self, packet: "Packet[VideoStream] | None") -> "list[VideoFrame]":
        """The frames that a packet brings forth, None at the end; none where it is damaged."""
        import av

        try:
            return list(self.stream.codec_context.decode(packet))
        except EOFError:
            return []
        except MemoryError:
            raise
        except av.FFmpegError:
            return []

    def rest(self) -> "list[VideoFrame]":
        """The frames that the decoder holds back. After that it can start with another key frame."""
        frames = self.decoded(None)
        self.stream.codec_context.flush_buffers()
        return frames

    def decoded_alone(self, packet: "Packet[VideoStream]") -> "VideoFrame | None":
        """The picture of a key frame. The decoder forgets all others."""
        self.stream.codec_context.flush_buffers()
        frames = [*self.decoded(packet), *self.rest()]
        return frames[0] if frames else None

    def frame_at(self, at_ms: int) -> "VideoFrame":
        """The frame shown at that time; the last one before where there is none. Raises `DecodeError`."""
        found = None
        for time_ms, packet in self.packets(at_ms):
            if packet.is_keyframe and time_ms == at_ms:
                alone = self.decoded_alone(packet)
                if alone:
                    return alone
            for frame in self.decoded(packet):
                shown_ms = self.time_of(frame)
                if found is not None and shown_ms is not None and shown_ms > at_ms:
                    return found
                found = frame
        last = self.rest()
        found = found or (last[0] if last else None)
        if found is None:
            raise DecodeError("damaged: it has no frame at that time")
        return found

    def describe(self, upright_size: tuple[int, int]) -> None:
        """Sets the metadata, when it is known how large an upright frame is."""
        self.metadata = self._told._replace(width=upright_size[0], height=upright_size[1])


_MOST_ERRORS = 100


def _moving_pictures(container: "InputContainer") -> "VideoStream":
    """Of several streams the default one, or the largest. A cover is none. Raises `DecodeError`."""
    from av.stream import Discard, Disposition

    covers = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        raise DecodeError("it has sound only" if container.streams.audio else "it has no moving pictures")
    known = [stream for stream in streams if stream.codec_context is not None and stream.codec_context.name in _CODECS]
    if not known:
        codec = streams[0].codec_context.name if streams[0].codec_context else "an unknown codec"
        raise DecodeError(f"its pictures are in {codec}, which is not decoded here")
    chosen = max(
        known,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.codec_context.width * stream.codec_context.height,
        ),
    )
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all
    if chosen.codec_context.width <= 0 or chosen.codec_context.height <= 0:
        raise DecodeError("damaged: its pictures have no size")
    return chosen


def _pixel_ratio(stream: "VideoStream") -> float:
    """Width of a pixel in heights; 1 where that is not told or makes no sense."""
    told = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    ratio = float(told) if told else 1.0
    return ratio if 0.1 <= ratio <= 10 else 1.0


# --- what a film says of itself --------------------------------------------------------------------------------------

_TIMES = ("com.apple.quicktime.creationdate", "creation_time", "DateTimeOriginal", "date")
_PLACES = ("com.apple.quicktime.location.ISO6709", "location", "location-eng")
_MAKERS = ("com.apple.quicktime.make", "com.android.manufacturer", "make", "manufacturer")
_MODELS = ("com.apple.quicktime.model", "com.android.model", "model")
_PLACE = re.compile(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)(?:[+-].*)?/?", re.ASCII)
_LONGEST = 200


def _told(container: "InputContainer") -> PhotoMetadata:
    told: dict[str, Any] = {}
    for source in (*(stream.metadata for stream in container.streams.video), container.metadata):
        told |= {name: str(value)[:_LONGEST] for name, value in source.items()}

    def first(names: tuple[str, ...]) -> str:
        return next((" ".join(told[name].split()) for name in names if told.get(name)), "")

    latitude, longitude = _place(first(_PLACES))
    captured_s, offset_min = next(filter(None, (_time(told.get(name, "")) for name in _TIMES)), (None, None))
    return PhotoMetadata(captured_s, offset_min, latitude, longitude, first(_MAKERS), first(_MODELS))


def _time(text: str) -> tuple[int, int | None] | None:
    """Seconds from 1970 on the clock that shows it, and its offset in minutes. Cameras without a date write 1904."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if len(text.strip()) < len("2019-02-03T10") or not 1970 < when.year < 9999:
        return None
    offset = when.utcoffset()
    offset_min = None if offset is None else int(offset.total_seconds() // 60)
    return int((when.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()), offset_min


def _place(text: str) -> tuple[float | None, float | None]:
    """ISO 6709: `+48.8584+002.2945+035.000/`"""
    found = _PLACE.fullmatch(text)
    if not found:
        return None, None
    latitude, longitude = float(found[1]), float(found[2])
    is_place = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0, 0)
    return (latitude, longitude) if is_place else (None, None)
