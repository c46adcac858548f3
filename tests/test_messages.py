"""The reference's tables of messages against the program: they list every line that rclip can print, and no other.

What the program can say is read out of its source: the text of each error that is raised, of each notice, and of each
reason for which a file cannot be read, with `…` where something is put in. A row of the table stands for the texts that
match it, `…` there standing for anything.
"""

import ast
import itertools
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rclip.errors import ExitCode
from tests.support.source import modules

REFERENCE = (Path(__file__).parent.parent / "docs/reference.md").read_text(encoding="utf-8")

KINDS = {
    "2": {
        "RclipError",
        "UsageError",
        "ModelError",
        "StoreError",
        "DamagedIndex",
        "ReadOnlyIndex",
        "UnlistedFolder",
        "argparse.ArgumentTypeError",
    },
    "–": {"_tell", "notify", "self._notify"},
    "file": {"Unreadable", "NotNow", "FailedPhoto", "FailedRead"},
}
"""Calls that are given a text, by the status of what they say."""

LAST = {"FailedPhoto", "FailedRead"}
"""Calls of which the text is the last argument."""

_HELP = "{}; rclip --help lists the options"
FRAMES = {"argparse.ArgumentTypeError": "argument …: " + _HELP}
"""What is put around a text before it is shown."""

PASSED_ON = {"str(error)", "str(found)", "error.reason", "item.reason", "outcome.reason"}
"""Arguments that only hand on what another place says."""


class Message(NamedTuple):
    """One thing that the program can say."""

    text: str
    """With `…` for what is put in."""
    status: str
    """`2` for an error, `–` for a notice, after which the run goes on, `file` for a file's reason."""
    where: str


# --- what the program can say ----------------------------------------------------------------------------------------


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """What a module's names stand for."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


CONSTANTS = {name: value for tree in modules().values() for name, value in constants(tree).items()}
"""For names that a module has imported from another one."""


class Texts:
    """The texts that expressions of one module can come to."""

    def __init__(self, tree: ast.Module):
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._constants = CONSTANTS | constants(tree)

    def of(self, node: ast.expr, scope: ast.AST) -> list[str]:
        """All alternatives; `…` for what only a run can tell."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else ["…"]
        if isinstance(node, ast.IfExp):
            return self.of(node.body, scope) + self.of(node.orelse, scope)
        if isinstance(node, ast.JoinedStr):
            return self._joined(node.values, scope)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([node.left, node.right], scope)
        if isinstance(node, ast.FormattedValue):
            return self.of(node.value, scope)
        if isinstance(node, ast.Name):
            return self._named(node.id, scope)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._functions:
            return self._returned(self._functions[node.func.id])
        return ["…"]

    def _joined(self, parts: list[ast.expr], scope: ast.AST) -> list[str]:
        return ["".join(choice) for choice in itertools.product(*(self.of(part, scope) for part in parts))]

    def _named(self, name: str, scope: ast.AST) -> list[str]:
        """What is assigned to the name in this function, or in the module."""
        values = [
            node.value
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        ] or ([self._constants[name]] if name in self._constants else [])
        is_text = all(isinstance(value, ast.Constant | ast.IfExp | ast.JoinedStr) for value in values)
        return [text for value in values for text in self.of(value, scope)] if values and is_text else ["…"]

    def _returned(self, function: ast.FunctionDef) -> list[str]:
        returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
        return [text for value in returns for text in self.of(value, function)]


def said_in(module: str, tree: ast.Module) -> Iterator[Message]:
    texts = Texts(tree)
    for scope in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for call in [node for node in ast.walk(scope) if isinstance(node, ast.Call) and node.args]:
            name, status = kind_of(call.func)
            argument = call.args[-1 if name in LAST else 0]
            if status is None or ast.unparse(argument) in PASSED_ON:
                continue
            for text in texts.of(argument, scope):
                is_systems_own = status == "file" and text == "…"
                if not is_systems_own:
                    yield Message(normal(FRAMES.get(name, "{}").format(text)), status, f"{module}.py:{call.lineno}")


def kind_of(function: ast.expr) -> tuple[str, str | None]:
    """The name of what is called, and the status of what it is given; None for what tells the user nothing."""
    name = ast.unparse(function.body if isinstance(function, ast.IfExp) else function)
    for status, names in KINDS.items():
        if name in names:
            return name, status
    return name, None


def normal(text: str) -> str:
    """What is put in twice in a row is put in once."""
    return re.sub(r"…(\s*…)*", "…", " ".join(text.split()))


MESSAGES = sorted({message for module, tree in modules().items() for message in said_in(module, tree)})


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
    expected = {"2": {"2"}, "file": {"file"}}.get(message.status, {"–", "1", "2", "130"})
    assert told in expected, f"the reference's table gives another status to {message.text!r} than {message.where}"


def test_the_reference_has_no_message_that_is_never_said() -> None:
    assert set(rows()) - {message.text for message in MESSAGES} == set()


def test_no_message_is_in_the_table_twice() -> None:
    assert SECTION.count("\n| `") == len(rows())


def test_enough_is_looked_at() -> None:
    """Else the source is written otherwise than this test reads it."""
    assert len(MESSAGES) > 60
    places = {message.where.split(":")[0] for message in MESSAGES}
    assert {
        "cli/options.py",
        "cli/main.py",
        "photo/image/opening.py",
        "library.py",
        "index/vector_cache.py",
        "index/store/database.py",
        "indexing/walk.py",
    } <= places


def test_every_exit_status_is_in_the_table() -> None:
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)} == {
        *ExitCode,
        128 + signal.SIGINT,
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x): raise StoreError(f'{x} is gone')", [("… is gone", "2")]),
        ("def f(x): raise StoreError(f'{x}{x} is', 1)", [("… is", "2")]),
        ("def f(x): notify('a' if x else f'b {x}')", [("a", "–"), ("b …", "–")]),
        ("A = 'all '\ndef f(x): raise Unreadable(A + str(x))", [("all …", "file")]),
        ("def f(x):\n why = 'so' if x else ''\n raise UsageError(f'no{why}')", [("noso", "2"), ("no", "2")]),
        ("def g(x):\n if x: return 'a'\n return 'b'\ndef f(x): _tell(f'c {g(x)}')", [("c a", "–"), ("c b", "–")]),
        ("def f(x): raise (NotNow if x else Unreadable)(x.why)", []),
        ("def f(x): raise StoreError(x)", [("…", "2")]),
        ("def f(error): _tell(str(error))", []),
        ("def f(x): raise ValueError('not ours')", []),
        (
            "def f(x): raise argparse.ArgumentTypeError('takes a cat')",
            [("argument …: takes a cat; rclip --help lists the options", "2")],
        ),
    ],
)
def test_texts_are_read_out_of_source(source: str, expected: list[tuple[str, str]]) -> None:
    assert sorted((message.text, message.status) for message in said_in("m", ast.parse(source))) == sorted(expected)
