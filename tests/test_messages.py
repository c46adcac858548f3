"""The sentences that the command prints: where they are, that they can be filled in, and that the reference has all.

The command's own are in `rclip.cli.messages`, and those of errors in `rclip.errors`. The reasons for which a file
cannot be read, and the notices of the library, are read out of the source: the text of each call that takes one, with
`…` where something is put in.
"""

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import NamedTuple, get_type_hints

import pytest

from rclip import errors
from rclip.cli import messages
from rclip.cli.messages import Notice, Usage, Value
from rclip.errors import ExitCode, RclipError
from rclip.photo.failures import FailureKind
from tests.support.source import modules

REFERENCE = (Path(__file__).parent.parent / "docs/reference.md").read_text(encoding="utf-8")


class Message(NamedTuple):
    """One thing that the program can say."""

    text: str
    """With `…` for what is put in."""
    status: str
    """`2` for an error, `–` for a notice, after which the run goes on, `file` for a file's reason."""
    where: str


# --- what the program can say ----------------------------------------------------------------------------------------


def sentences(names: type) -> dict[str, str]:
    return {name: text for name, text in vars(names).items() if not name.startswith("_") and isinstance(text, str)}


def kinds_of_errors() -> list[type[RclipError]]:
    """Those that are raised: they have a sentence and nothing below them that replaces it."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RclipError)]
    return [kind for kind in found if hasattr(kind, "sentence") and not kind.__name__.startswith("_")]


def advice_of(kind: type[RclipError]) -> str:
    return next((f"; {messages.ADVICE[base]}" for base in kind.__mro__ if base in messages.ADVICE), "")


def normal(text: str) -> str:
    """With `…` for each field; what is put in twice in a row is put in once."""
    parts = "".join(literal + "…" * (field is not None) for literal, field, _, _ in Formatter().parse(text))
    return re.sub(r"…(\s*…)*", "…", " ".join(parts.split()))


OPTION = "argument …: {}; rclip --help lists the options"


def of_the_command() -> Iterator[Message]:
    for name, text in sentences(Usage).items():
        yield Message(normal(text), "2", f"Usage.{name}")
    for name, text in sentences(Value).items():
        yield Message(OPTION.format(normal(text)), "2", f"Value.{name}")
    for name, text in sentences(Notice).items():
        yield Message(normal(text), "–", f"Notice.{name}")
    for kind in kinds_of_errors():
        yield Message(normal(getattr(kind, "sentence", "") + advice_of(kind)), "2", kind.__name__)


FROM_SOURCE = {
    "UsageError": "2",
    "notify": "–",
    "self._notify": "–",
    "DecodeError": "file",
    "OutOfMemory": "file",
    "FailedPhoto": "file",
}
"""Calls outside `cli` that are given a text, and the status of what they say."""

SAID_BY = {name.rpartition(".")[2] for name in (*FROM_SOURCE, "ValueError")}


def said_in(module: str, tree: ast.Module) -> Iterator[Message]:
    """The texts that are written where they are said, or in constants of the module."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        last = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if last not in SAID_BY:
            continue
        name, where = ast.unparse(call.func), f"{module}.py:{call.lineno}"
        if name in FROM_SOURCE:
            for text in texts_of(call.args[1 if name == "FailedPhoto" else 0], constants):
                yield Message(normal(text), FROM_SOURCE[name], where)
        elif module == "filters" and name == "ValueError":  # of a filter's option
            for text in texts_of(call.args[0], constants):
                yield Message(OPTION.format(normal(text)), "2", where)


def texts_of(node: ast.expr, constants: dict[str, ast.expr]) -> Iterator[str]:
    """All alternatives; nothing for what only a run can tell."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(next(texts_of(part, constants), "{}") for part in node.values)
    elif isinstance(node, ast.FormattedValue):
        yield from texts_of(node.value, constants)
    elif isinstance(node, ast.IfExp):
        yield from texts_of(node.body, constants)
        yield from texts_of(node.orelse, constants)
    elif isinstance(node, ast.Name) and node.id in constants:
        yield from texts_of(constants[node.id], constants)


OUTSIDE = {module: tree for module, tree in modules().items() if not module.startswith("cli/")}
FROM_THE_REST = [message for module, tree in OUTSIDE.items() for message in said_in(module, tree)]
MESSAGES = sorted({*of_the_command(), *FROM_THE_REST})


# --- where sentences are ----------------------------------------------------------------------------------------------

CLI = {module: tree for module, tree in modules().items() if module.startswith("cli/") and module != "cli/messages"}
SAYING = {"tell", "_tell", "RclipError", "UsageError", "ValueError"}


@pytest.mark.parametrize("module", CLI)
def test_the_commands_sentences_are_in_one_module(module: str) -> None:
    for call in (node for node in ast.walk(CLI[module]) if isinstance(node, ast.Call) and node.args):
        if ast.unparse(call.func) in SAYING:
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr), ast.unparse(call)


@pytest.mark.parametrize("module", [module for module in OUTSIDE if module != "index/store/schema"])
def test_only_the_command_knows_its_options(module: str) -> None:
    """The schema knows what earlier versions have stored; a filter's option belongs to it, as a player's is its own."""
    texts = [node.value for node in ast.walk(OUTSIDE[module]) if isinstance(node, ast.Constant)]
    found = [text for text in texts if isinstance(text, str) and re.search(r"(?<![\w-])--[a-z]", text)]
    may_have = module in ("filters", "desktop")
    assert [text for text in found if not may_have or not re.fullmatch("--[a-z-]+(=.*)?", text)] == []


def test_every_sentence_is_used() -> None:
    source = "".join(map(ast.unparse, CLI.values()))
    named = [name for kind in (Usage, Value, Notice) for name in sentences(kind)]
    assert [name for name in named if not re.search(rf"\b{name}\b", source)] == []


def test_sentences_are_given_all_that_they_name() -> None:
    checked = 0
    for module, tree in CLI.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            found = re.fullmatch(r"(Usage|Value|Notice)\.(\w+)\.format", ast.unparse(call.func))
            if found:
                text = getattr(getattr(messages, found[1]), found[2])
                fields = {field for _, field, _, _ in Formatter().parse(text) if field}
                assert fields == {keyword.arg for keyword in call.keywords}, f"{module}.py:{call.lineno}"
                checked += 1
    assert checked > 40


@pytest.mark.parametrize("kind", kinds_of_errors(), ids=lambda kind: kind.__name__)
def test_errors_say_what_happened_and_the_command_what_to_do(kind: type[RclipError]) -> None:
    fields = [name for name in get_type_hints(kind) if name not in ("sentence", "exit_code")]
    error = kind(**{name: 12.0 if name in ("weight", "megabytes") else f"the {name}" for name in fields})
    assert "{" not in str(error)
    assert "--" not in str(error)
    line = messages.of_error(error)
    assert line.startswith(str(error))
    assert "{" not in line
    assert (line != str(error)) == bool(advice_of(kind))
    assert isinstance(error, RclipError)


def test_advice_is_for_errors_that_there_are() -> None:
    assert set(messages.ADVICE) <= set(kinds_of_errors())
    assert set(messages.FAILURE_ADVICE) <= set(FailureKind)


def test_advice_names_the_portable_index() -> None:
    own, portable = errors.DamagedIndex(path="a.db"), errors.DamagedIndex(path="a.db", root="/mnt/my photos")
    assert "rclip --rebuild, with" in messages.of_error(own)
    assert "rclip --rebuild '/mnt/my photos', with" in messages.of_error(portable)
    assert "RCLIP_DATADIR" in messages.of_error(errors.ForeignDatabase(path="a.db"))
    assert "RCLIP_DATADIR" not in messages.of_error(errors.ForeignDatabase(path="a.db", root="/mnt"))


# --- what the reference lists -----------------------------------------------------------------------------------------


SECTION = REFERENCE[REFERENCE.index("## Messages") :]


def rows() -> dict[str, str]:
    """Texts to the status that the table gives them."""
    cells = [re.fullmatch(r"\| `(.+?)` \| (.*?) \| .+ \|", line) for line in SECTION.splitlines()]
    return {cell[1]: cell[2] for cell in cells if cell}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.where)
def test_the_reference_has_each_message(message: Message) -> None:
    assert message.text.strip("… "), (
        f"{message.where}: write the text where it is raised, or make a constant of it, so that it can be compared"
    )
    told = rows().get(message.text)
    row = f"| `{message.text}` | {message.status} | what it means and what to do |"
    assert told is not None, (
        f"{message.where} says what the reference's table of messages lacks; add this row to it:\n{row}"
    )
    expected = {"2": {"2", "–"}, "file": {"file"}}.get(message.status, {"–", "1", "2", "130"})
    assert told in expected, f"the reference's table gives another status to {message.text!r} than {message.where}"


def test_the_reference_has_no_message_that_is_never_said() -> None:
    assert set(rows()) - {message.text for message in MESSAGES} == set()


def test_no_message_is_in_the_table_twice() -> None:
    assert SECTION.count("\n| `") == len(rows())


def test_every_exit_status_is_in_the_table() -> None:
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)} == {
        *ExitCode,
        128 + signal.SIGINT,
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x): raise UsageError(f'{x} is gone')", [("… is gone", "2")]),
        ("def f(x): raise UsageError(f'{x}{x} is', 1)", [("… is", "2")]),
        ("def f(x): notify('a' if x else f'b {x}')", [("a", "–"), ("b …", "–")]),
        ("A = 'all'\ndef f(x): raise DecodeError(A)", [("all", "file")]),
        ("def f(x): return FailedPhoto(x, 'broken' if x else str(x))", [("broken", "file")]),
        ("def f(x): raise UsageError(x)", []),
        ("def f(x): raise ValueError('not ours')", []),
    ],
)
def test_texts_are_read_out_of_source(source: str, expected: list[tuple[str, str]]) -> None:
    assert sorted((message.text, message.status) for message in said_in("m", ast.parse(source))) == sorted(expected)
