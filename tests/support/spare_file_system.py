"""Runs a command as on a file system without locks, links and modes, as FAT and network mounts may be.

    python spare_file_system.py COMMAND …

The kernel itself refuses these calls, by a filter that the command and all it starts inherit. Exits with 77 where there
can be none.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # of the kernel's filter language, BPF
ALLOW, FAIL_WITH = 0x7FFF0000, 0x00050000
AT_NUMBER, AT_SECOND_ARGUMENT = 0, 24  # in what a filter is shown of a call
NO_NEW_PRIVILEGES, SET_FILTER = 38, 22  # of prctl

CALLS = {
    "x86_64": {"fcntl": 72, "flock": 73, "link": 86, "linkat": 265, "chmod": 90, "fchmod": 91, "fchmodat": 268},
    "aarch64": {"fcntl": 25, "flock": 32, "linkat": 37, "fchmod": 52, "fchmodat": 53},
}
LOCKING = (5, 6, 7)  # F_GETLK, F_SETLK, F_SETLKW


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def refuse(number: int, error: int) -> list[bytes]:
    return [
        instruction(LOAD_WORD, AT_NUMBER),
        instruction(JUMP_IF_EQUAL, number, 0, 1),
        instruction(RETURN, FAIL_WITH | error),
    ]


def refuse_locks(number: int) -> list[bytes]:
    program = [instruction(LOAD_WORD, AT_NUMBER), instruction(JUMP_IF_EQUAL, number, 0, 1 + 2 * len(LOCKING))]
    program.append(instruction(LOAD_WORD, AT_SECOND_ARGUMENT))
    for command in LOCKING:
        program += [
            instruction(JUMP_IF_EQUAL, command, 0, 1),
            instruction(RETURN, FAIL_WITH | errno.ENOLCK),
        ]
    return program


def install() -> None:
    calls = CALLS[platform.machine()]
    program = refuse_locks(calls.pop("fcntl")) + refuse(calls.pop("flock"), errno.ENOLCK)
    for number in calls.values():
        program += refuse(number, errno.EPERM)
    program.append(instruction(RETURN, ALLOW))
    code = b"".join(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SET_FILTER, 2, ctypes.c_char_p(header), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")


if __name__ == "__main__":
    try:
        install()
    except (OSError, KeyError, AttributeError):
        sys.exit(77)
    os.execvp(sys.argv[1], sys.argv[1:])
