"""The socket that the server listens at."""

import os
import socket

from rclip.errors import CannotListen, plain_reason

_MOST_WAITING = 512


def listen(host: str, port: int) -> socket.socket:
    """Port 0 is any that is free. Raises `CannotListen`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise CannotListen(host=host, port=port, reason=plain_reason(error)) from error
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_MOST_WAITING)
    except OSError as error:
        listening.close()
        raise CannotListen(host=host, port=port, reason=plain_reason(error)) from error
    return listening


def own_names() -> list[str]:
    """By which other machines may reach this one."""
    name = socket.gethostname()
    return [name, f"{name.partition('.')[0]}.local", socket.getfqdn()]
