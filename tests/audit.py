"""Asks pip-audit which of the packages installed have known holes: `make audit`.

python -m tests.audit PATH-OF-PIP-AUDIT

Exits with 1 where there are any. Where its database cannot be reached, that is said and is no failure.
"""

import json
import subprocess
import sys
import sysconfig
from typing import Any

UNREACHABLE = "audit: the database of known holes cannot be reached; nothing was audited"


def report(dependencies: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """Lines about what pip-audit has found, and whether that is sound."""
    holes = [
        f"audit: {each['name']} {each['version']}: {hole['id']}, closed in {' or '.join(hole['fix_versions'])}"
        for each in dependencies
        for hole in each.get("vulns", ())
    ]
    audited = [each for each in dependencies if "skip_reason" not in each]
    if not audited:
        return [UNREACHABLE], True
    skipped = len(dependencies) - len(audited)
    return [*holes, f"audit: {len(audited)} packages audited, {skipped} unknown to the database"], not holes


def main(program: str) -> int:
    folder = sysconfig.get_path("purelib")
    command = [program, "--path", folder, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except ValueError:  # it has ended before it had anything to say
        dependencies = []
    lines, is_sound = report(dependencies)
    print("\n".join(lines))
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
