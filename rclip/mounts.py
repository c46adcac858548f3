"""What this machine has mounted where, as far as the system tells."""

from contextlib import suppress

REMOTE = frozenset(
    {b"9p", b"afs", b"ceph", b"cifs", b"davfs", b"fuse.glusterfs", b"fuse.rclone", b"fuse.s3fs", b"fuse.sshfs", b"nfs"}
    | {b"nfs4", b"ncpfs", b"smb3", b"smbfs", b"vboxsf", b"virtiofs"}
)
"""File systems whose files other machines change without a word to this one."""


def mounted() -> dict[bytes, bytes]:
    """Mount points, with a slash at the end, to kinds of file systems; empty where the system does not tell."""
    kinds = {}
    with suppress(OSError, ValueError), open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            point = before.split(b" ")[4].decode("unicode_escape").encode("latin-1")
            kinds[point.rstrip(b"/") + b"/"] = after.split(b" ")[0]
    return kinds


def near(folder: bytes, kinds: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Those of the mount points that hold the folder, which ends in a slash, or lie in it."""
    return {point: kind for point, kind in kinds.items() if folder.startswith(point) or point.startswith(folder)}


def is_remote(folder: bytes, kinds: dict[bytes, bytes]) -> bool:
    """Whether the folder, which ends in a slash, is on another machine's drive, or holds one; also if nobody knows."""
    found = near(folder, kinds)
    around = [point for point in found if folder.startswith(point)]
    if not around:
        return True
    inside = [point for point in found if not folder.startswith(point)]
    return any(kinds[point] in REMOTE for point in (max(around, key=len), *inside))
