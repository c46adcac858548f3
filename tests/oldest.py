"""Prints constraints for pip that give the oldest version allowed of every dependency: `make test-oldest`.

python -m tests.oldest > constraints.txt

Of torch and torchvision the versions installed here, which need not be fetched again: they are gigabytes.
"""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
HUGE = ("torch", "torchvision")
LOWER_BOUND = re.compile(r"([\w-]+)>=([\w.]+)")


def oldest(requirements: list[str]) -> list[str]:
    """Of requirements with a lower bound; those without, such as extras of our own, stay free."""
    bounds = [bound.groups() for bound in map(LOWER_BOUND.match, requirements) if bound]
    return [f"{name}=={version(name) if name in HUGE else lowest}" for name, lowest in bounds]


def main() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    print("\n".join(oldest(project["dependencies"] + optional)))


if __name__ == "__main__":
    main()
