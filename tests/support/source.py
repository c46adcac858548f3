"""The package's source, parsed."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "rclip"


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its path below it and without its suffix."""
    return {
        str(path.relative_to(PACKAGE).with_suffix("")): ast.parse(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }


@cache
def imports(tree: ast.Module) -> frozenset[str]:
    """Dotted names of all that is imported, wherever in the module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)
