"""Makes an environment with the oldest version allowed of every dependency: `make test-oldest`.

python -m tests.oldest FOLDER
FOLDER/bin/python -m pip install --constraint FOLDER/constraints.txt ...

It starts as hard links to the packages installed here, so that pip fetches and unpacks only those that differ. Of torch
and torchvision, which are gigabytes, the versions are those installed here.
"""

import os
import re
import shutil
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
HUGE = ("torch", "torchvision")
LOWER_BOUND = re.compile(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)")


def oldest(requirements: list[str]) -> list[str]:
    """Of requirements with a lower bound; those without, such as extras of our own, stay free."""
    bounds = [bound.groups() for bound in map(LOWER_BOUND.match, requirements) if bound]
    return [f"{name}=={version(name) if name in HUGE else lowest}" for name, lowest in bounds]


def link_packages(environment: Path) -> None:
    """pip and Python replace files and write into none, so that those here stay as they are."""
    packages = Path(sysconfig.get_path("purelib"))
    target = environment / packages.relative_to(sys.prefix)
    shutil.copytree(packages, target, copy_function=os.link, symlinks=True, dirs_exist_ok=True)


def copy_programs(environment: Path) -> None:
    """Those that the packages here have brought, to be run by the environment's own Python."""
    here, its = (os.fsencode(f"#!{folder}/bin/") for folder in (sys.prefix, environment.absolute()))
    for program in Path(sys.prefix, "bin").iterdir():
        target = environment / "bin" / program.name
        if program.is_file() and not target.exists() and (content := program.read_bytes()).startswith(here):
            target.write_bytes(its + content.removeprefix(here))
            shutil.copymode(program, target)


def main() -> None:
    environment = Path(sys.argv[1])
    venv.create(environment, clear=True, symlinks=True)
    link_packages(environment)
    copy_programs(environment)
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    constraints = "\n".join(oldest(project["dependencies"] + optional))
    (environment / "constraints.txt").write_text(f"{constraints}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
