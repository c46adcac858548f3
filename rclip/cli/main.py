"""The command: arguments in, exit status out."""

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from rclip import isolation, signals
from rclip.errors import ExitCode, RclipError, plain_reason
from rclip.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence


def run() -> NoReturn:
    """The console command."""
    isolation.leave_current_folder()
    gc.disable()  # a query, and the look for new photos, make much and nothing in cycles; `report` turns it on again
    code = main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # taking numpy down costs 10 ms, torch a second; what has to be closed is closed


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Runs the command and returns its exit status."""
    _open_missing_streams()
    try:
        signals.listen()
        code = _guarded(sys.argv[1:] if arguments is None else arguments)
        signals.close()
        return code
    except Interrupted as stopped:
        if not stopped.is_reported:
            from rclip.cli.messages import Notice

            _tell(Notice.STOPPED)
        return 128 + stopped.signal_number


def _open_missing_streams() -> None:
    """A program started with a stream closed (`>&-`) finds None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the program lives


def _guarded(arguments: "Sequence[str]") -> int:
    """Errors as a line on stderr and an exit status."""
    try:
        return _parsed_and_run(arguments)
    except RclipError as error:
        _tell(error)
        return error.exit_code
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FOUND
    except (OSError, MemoryError) as error:
        from rclip.cli.messages import Notice

        _tell(Notice.STOPPED_BY_ERROR.format(reason=plain_reason(error)))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or closing it would fail once more
        return ExitCode.ERROR
    except Exception as error:
        from rclip.cli.messages import Notice

        if os.environ.get("RCLIP_DEBUG"):
            import traceback

            traceback.print_exc()
        _tell(Notice.FAULT.format(kind=type(error).__name__, reason=plain_reason(error)))
        return ExitCode.ERROR


def _parsed_and_run(arguments: "Sequence[str]") -> int:
    try:
        from rclip.cli.arguments import parse  # argparse takes long enough for a Ctrl-C to fall into it

        options = parse(arguments)
        return options.action.run(options)
    except Exception:
        signals.raise_if_interrupted()
        raise


def _tell(said: str | RclipError) -> None:
    from rclip.cli.messages import tell

    tell(said)
