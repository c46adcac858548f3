"""Hosts with a network of their own, and cables between them that can be pulled, lose packets and be slow.

A host is a network namespace, and its cable a TAP device whose other end a thread of the tests holds. Both are held by
descriptors alone and have no names outside, so the kernel takes them away with the process, however that ends. Unlike
netem, which few kernels have, a thread needs nothing but Linux, and does to packets whatever it is told.
"""

import ctypes
import errno
import fcntl
import heapq
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress

import pytest

_NEW_NETWORK = 0x40000000  # of unshare
_MAKE_DEVICE, _SET_CARRIER = 0x400454CA, 0x400454E2  # TUNSETIFF, TUNSETCARRIER
_IS_TAP, _WITHOUT_HEADER = 0x0002, 0x1000
_SET_FLAGS, _SET_ADDRESS, _SET_MASK, _SET_HARDWARE_ADDRESS = 0x8914, 0x8916, 0x891C, 0x8924
_IS_UP, _IS_RUNNING = 0x1, 0x40
_ETHERNET = 1
_MOST_BYTES_IN_FRAME = 1 << 16


class Host:
    """A machine in the network, as far as its programs can tell from there."""

    def __init__(self, number: int):
        self.address = f"10.0.0.{number}"
        self.loss = 0.0
        """The part of all packets that get lost on the cable, in each direction."""
        self.delay_s = 0.0
        """That a packet takes through the cable, in each direction."""
        self.is_plugged = True
        self._number = number
        self._problem: OSError | None = None
        self._namespace = self.tap = -1
        maker = threading.Thread(target=self._make)  # only the thread that asks for it moves into a new namespace
        maker.start()
        maker.join(60)
        if self._problem:
            self.close()
            raise self._problem

    def _make(self) -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_NEW_NETWORK):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            self._namespace = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tap, _MAKE_DEVICE, struct.pack("16sH22x", b"eth0", _IS_TAP | _WITHOUT_HEADER))
            self._configure()
        except OSError as error:
            self._problem = error

    def _configure(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            # The same for a host that is started again: others remember it.
            hardware = struct.pack("16sH6s16x", b"eth0", _ETHERNET, bytes([2, 0, 0, 0, 0, self._number]))
            fcntl.ioctl(any_socket, _SET_HARDWARE_ADDRESS, hardware)
            for request, address in ((_SET_ADDRESS, self.address), (_SET_MASK, "255.255.255.0")):
                packed = struct.pack("16sHH4s16x", b"eth0", socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(any_socket, request, packed)
            for name in (b"lo", b"eth0"):
                fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH22x", name, _IS_UP | _IS_RUNNING))

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs there."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", "--")

    def pull(self) -> None:
        """The cable, out of the host: its own network sees that, and the others get no packet more, nor any word."""
        self.is_plugged = False
        self._set_carrier(0)

    def plug(self) -> None:
        self.is_plugged = True
        self._set_carrier(1)

    def _set_carrier(self, is_there: int) -> None:
        with suppress(OSError):  # kernels before 5.0 cannot; packets get lost all the same
            fcntl.ioctl(self.tap, _SET_CARRIER, struct.pack("i", is_there))

    def close(self) -> None:
        """Takes the cable away; the namespace lasts until its last program has ended."""
        self.is_plugged = False
        for descriptor in (self.tap, self._namespace):
            if descriptor >= 0:
                os.close(descriptor)
        self.tap = self._namespace = -1


class Network:
    """Hosts whose cables meet in a hub. Skips the test where none can be made."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or shutil.which("nsenter") is None:
            pytest.skip("no process may have a network of its own here")
        self._hosts: dict[int, Host] = {}
        self._lock = threading.Lock()
        """Around what follows, and the descriptors of cables."""
        self._under_way: list[tuple[float, int, Host, bytes]] = []
        """Packets with the time at which they arrive, a number that keeps their order, and their host."""
        self._sent = 0
        self._random = random.Random(0)
        self._is_over = False
        self._hub = threading.Thread(target=self._carry, name="hub", daemon=True)
        self._hub.start()

    def host(self, number: int) -> Host:
        """A new one, with the address 10.0.0.`number`; in place of the one that has it."""
        with self._lock:
            if number in self._hosts:
                self._hosts.pop(number).close()
            try:
                self._hosts[number] = Host(number)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENODEV, errno.EINVAL):
                    raise
                pytest.skip("no process may have a network of its own here")
            return self._hosts[number]

    def _carry(self) -> None:
        while not self._is_over:
            with self._lock:
                hosts = {host.tap: host for host in self._hosts.values()}
            with suppress(OSError, ValueError):  # a cable that has just been taken away
                ready, _, _ = select.select(list(hosts), [], [], self._wait_s())
                with self._lock:
                    for tap in ready:
                        self._take(hosts[tap])
            with self._lock:
                self._deliver()

    def _wait_s(self) -> float:
        """Until the next packet arrives; short, so that new cables are seen."""
        next_s = self._under_way[0][0] if self._under_way else float("inf")
        return min(0.02, max(0.0, next_s - time.monotonic()))

    def _take(self, sender: Host) -> None:
        with suppress(OSError):  # no more, or its cable has just been taken away
            while sender.tap >= 0:
                frame = os.read(sender.tap, _MOST_BYTES_IN_FRAME)
                for host in self._hosts.values():
                    if host is not sender and self._passes(sender) and self._passes(host):
                        self._sent += 1
                        arrives_s = time.monotonic() + sender.delay_s + host.delay_s
                        heapq.heappush(self._under_way, (arrives_s, self._sent, host, frame))

    def _passes(self, host: Host) -> bool:
        return host.is_plugged and self._random.random() >= host.loss

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, host, frame = heapq.heappop(self._under_way)
            if host.is_plugged:
                with suppress(OSError):  # its queue is full, as that of a network card may be
                    os.write(host.tap, frame)

    def close(self) -> None:
        self._is_over = True
        self._hub.join(60)
        for host in self._hosts.values():
            host.close()


def can_reach(host: Host, other: Host) -> bool:
    """Whether packets get there and back."""
    ping = "import socket, sys; socket.create_connection((sys.argv[1], 9), 2)"
    done = subprocess.run(
        [*host.prefix, "python3", "-c", ping, other.address], check=False, capture_output=True, text=True, timeout=60
    )
    return "ConnectionRefusedError" in done.stderr
