"""Settings: options that hold for every run, from configuration files and the environment.

A configuration file has the long names of options as keys: `model = "ViT-L/14"`, `exclude-dir = ["private"]`. For each
setting the first of these counts: the command line, the environment (`RCLIP_MODEL`), the `config.toml` beside the
portable index that the first folder uses, the user's `config.toml`, the default. A portable index's file counts only
where the user has made or adopted that index.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rclip import datadir, isolation
from rclip.cli.messages import Setting as Wrong
from rclip.cli.messages import Value, alternatives
from rclip.cli.options import COMMAND_LINE, Option, Setting
from rclip.errors import BadConfiguration, RclipError, UnreadableConfiguration, plain_reason

FILE = "config.toml"
_PATH_VARIABLE = "RCLIP_CONFIG"
_VARIABLES = {"model": "RCLIP_MODEL"}
"""The environment's variable for a setting, by its key among the values."""
_MOST_BYTES = 1 << 16
_DEFAULT = "default"


def settings(options: Iterable[Option], values: Mapping[str, Any], directories: Sequence[str]) -> dict[str, Setting]:
    """What holds for each of the options, by its key among the `values` of the command line, None where not given.

    Raises `UsageError` for a file that cannot be read or holds what is no setting.
    """
    known = {option.setting_key: option for option in options}
    sources = [_of_command_line(known.values(), values), _of_environment(known.values())]
    portable = _portable_file(directories[0] if directories else "")
    if portable:
        found = _read(portable, known, isolation.open_itself, is_required=False, folder=_served(portable))
        _refuse_personal(found.values())
        sources.append(found)
    own = user_file()
    if own and own != os.devnull:
        sources.append(_read(own, known, isolation.open_regular, is_required=_PATH_VARIABLE in os.environ))
    return {
        option.value_key: _settled(
            option, [source[option.value_key] for source in sources if option.value_key in source]
        )
        for option in known.values()
    }


def _refuse_personal(found: Iterable[Setting]) -> None:
    """Raises `BadConfiguration` for what a file that lies with photos must not say: where queries and passwords go."""
    for option, _, source in found:
        if option.is_personal:
            path, _, line = source.rpartition(", line ")
            raise BadConfiguration(path=path, line=int(line), problem=Wrong.PERSONAL.format(name=option.setting_key))


def _settled(option: Option, found: Sequence[Setting]) -> Setting:
    """Of those found, the first one; but lists add up: an exclusion for one run does not end those meant to last.

    The strongest comes last, as of patterns the last that matches counts.
    """
    if not found:
        return Setting(option, [] if option.is_repeatable else option.default, _DEFAULT)
    if not option.is_repeatable:
        return found[0]
    weakest_first = found[::-1]
    values = [each for one in weakest_first for each in one.value]
    return Setting(option, values, ", ".join(one.source for one in weakest_first))


def _of_command_line(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Setting]:
    given = ((option, values[option.value_key]) for option in options)
    return {
        option.value_key: Setting(option, value, COMMAND_LINE) for option, value in given if value not in (None, [])
    }


def user_file() -> str:
    """The path of the user's own file: `RCLIP_CONFIG`, which may be empty for none, or the platform's place for it."""
    named = os.environ.get(_PATH_VARIABLE)
    if named is not None:
        return os.path.expanduser(named)
    return os.path.join(datadir.of_user("XDG_CONFIG_HOME", "~/.config"), FILE)


def _portable_file(directory: str) -> str | None:
    """That of the portable index which this folder uses, if it may be trusted."""
    from rclip.index import location

    with suppress(RclipError):  # a folder that is not there is reported when it is opened
        real = location.resolve(os.fsencode(os.path.expanduser(directory))).real
        place = location.location_of(real, datadir.own())
        if place.is_adopted and not place.is_default:
            return os.path.join(place.folder, FILE)
    return None


def _served(portable: str) -> str:
    """The folder that a portable index's file is for: the one around its `.rclip`."""
    return os.path.dirname(os.path.dirname(portable)) or "/"


def _of_environment(options: Iterable[Option]) -> dict[str, Setting]:
    given = ((option, _VARIABLES.get(option.value_key, "")) for option in options)
    return {
        option.value_key: Setting(option, option.parse(os.environ[variable]), variable)
        for option, variable in given
        if os.environ.get(variable)
    }


# --- files -----------------------------------------------------------------------------------------------------------


def _read(
    path: str, known: Mapping[str, Option], opener: Callable[[str, int], int], is_required: bool, folder: str = ""
) -> dict[str, Setting]:
    """The settings of one file, by the keys of their options; none if it is missing. Raises `UsageError`.

    `folder` is the one that the file is for; empty for all.
    """
    try:
        with open(path, "rb", opener=opener) as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(Wrong.TOO_LONG.format(most=_MOST_BYTES))
        text = content.decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        if is_required:
            raise UnreadableConfiguration(path=path, reason=plain_reason(error)) from error
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableConfiguration(path=path, reason=plain_reason(error)) from error
    return {
        known[name].value_key: Setting(known[name], value, f"{path}, line {line}")
        for name, (value, line) in _parsed(path, text, known, folder).items()
    }


def _parsed(path: str, text: str, known: Mapping[str, Option], folder: str) -> dict[str, tuple[Any, int]]:
    """Each key with its value and line. Raises `BadConfiguration`."""
    import tomllib  # there need not be a file

    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(at[1]) if at and at[1] else text.count("\n") + 1
        problem = plain_reason(error).removesuffix(at[0] if at else "")
        raise BadConfiguration(path=path, line=line, problem=problem) from error
    found = {}
    for name, raw in table.items():
        line = _line_of(name, text)
        try:
            found[name] = _value(known.get(name), raw, name, known, folder), line
        except ValueError as error:
            raise BadConfiguration(path=path, line=line, problem=str(error)) from None
    return found


def _line_of(name: str, text: str) -> int:
    """The number of the line that sets the key; the first where it cannot be told."""
    key = re.compile(rf"\s*\[*\s*[\"']?{re.escape(name)}[\"']?\s*[=.\]]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if key.match(line)), 1)


def _value(option: Option | None, raw: object, name: str, known: Iterable[str], folder: str) -> Any:
    """What the option would have of the command line. Raises ValueError."""
    if option is None:
        raise ValueError(_unknown(name, known))
    try:
        return _checked(option, raw, folder)
    except ValueError as error:
        raise ValueError(Wrong.VALUE.format(name=name, problem=error)) from None


def _unknown(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, list(known), n=1, cutoff=0.6)
    if nearest:
        return Wrong.SIMILAR.format(name=name, nearest=nearest[0])
    return Wrong.UNKNOWN.format(name=name, names=alternatives(tuple(known)))


def _checked(option: Option, raw: object, folder: str) -> Any:
    """Raises ValueError with a sentence that follows the option's name."""
    if option.is_repeatable:
        if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
            raise ValueError(Wrong.NO_LIST.format(value=_written(raw)))
        return [option.in_file(each, folder) if option.in_file else option.parse(each) for each in raw]
    if option.is_flag:
        if not isinstance(raw, bool):
            raise ValueError(Wrong.NO_FLAG.format(value=_written(raw)))
        return raw
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError(Wrong.NO_SCALAR.format(value=_written(raw)))
    if option.kinds and raw not in option.kinds:
        raise ValueError(Value.ONE_OF.format(alternatives=alternatives(option.kinds), text=raw))
    return option.parse(str(raw))


def _written(raw: object) -> str:
    """As TOML writes it, or nearly so."""
    import json

    return json.dumps(raw, ensure_ascii=False, default=str)
