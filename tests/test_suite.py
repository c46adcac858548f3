"""How the tests are laid out: each module stands alone, and shares with others only by `tests.support` and fixtures."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import imports
from tests.support.tiers import INDEPENDENT

TESTS = Path(__file__).parent


def modules(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob(pattern))


def parsed(module: str) -> ast.Module:
    return ast.parse((TESTS / module).read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", modules("*.py"))
def test_no_module_imports_a_test_or_a_fixture(module: str) -> None:
    ours = {name.split(".")[1] for name in imports(parsed(module)) if name.startswith("tests.")}
    assert not {name for name in ours if name.startswith(("test_", "conftest"))}


def test_conftest_holds_fixtures_only() -> None:
    definitions = [node for node in parsed("conftest.py").body if not isinstance(node, ast.Import | ast.ImportFrom)]
    docstring, *functions = definitions
    assert isinstance(docstring, ast.Expr)
    for function in functions:
        assert isinstance(function, ast.FunctionDef), ast.unparse(function)
        is_fixture = any(ast.unparse(decorator).startswith("pytest.fixture") for decorator in function.decorator_list)
        assert is_fixture or function.name.startswith("pytest_"), function.name


def test_support_holds_no_tests() -> None:
    for module in modules("support/*.py"):
        names = [node.name for node in ast.walk(parsed(module)) if isinstance(node, ast.FunctionDef)]
        assert not [name for name in names if name.startswith("test_")], module


def test_the_quick_tier_has_one_case_of_a_test_that_starts_processes_and_all_of_one_that_does_not() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", "-m", "not slow"]
    files = ["tests/test_help.py", "tests/test_globs.py"]
    found = subprocess.run([*command, *files], cwd=TESTS.parent, capture_output=True, text=True, check=True).stdout
    assert found.count("::test_a_missing_value_is_answered_in_one_line[") == 1
    assert found.count("::test_a_glob_matches_what_git_lists_for_it[") > 2


def test_each_module_that_runs_without_the_oldest_dependencies_is_there() -> None:
    assert {f"test_{name}.py" for name in INDEPENDENT} <= set(modules("test_*.py"))
