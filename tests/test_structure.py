"""The rooms of the code and what may stand in which: the design's table, and the rooms that have come since."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from rclip.models.processors import has_bf16
from tests import pictures
from tests.conftest import Command, Draw

PACKAGE = Path(__file__).parent.parent / "rclip"

MAY_IMPORT = {
    "__init__": {"errors", "facts", "filters", "library"},
    "__main__": {"cli", "isolation"},
    "cli": {
        "arguments",
        "changes",
        "datadir",
        "errors",
        "interruption",
        "isolation",
        "library",
        "lines",
        "output",
        "places",
        "preview",
        "query",
        "terminal",
        "viewer",
    },
    "arguments": {"errors", "filters", "parser", "query", "template"},
    "parser": {"__init__", "errors", "filters", "query", "shell", "template", "terminal"},
    "shell": {"__init__", "models", "parser"},
    "lines": {"errors", "query"},
    "meaning": {"decoding", "errors", "formats", "image", "models", "query", "store", "walk", "web"},
    "web": {"__init__", "errors"},
    "library": {
        "changes",
        "check",
        "datadir",
        "errors",
        "facts",
        "filters",
        "index",
        "meaning",
        "models",
        "places",
        "prune",
        "query",
        "salvage",
        "shelf",
        "store",
        "walk",
    },
    "shelf": {
        "changes",
        "check",
        "columns",
        "datadir",
        "errors",
        "facts",
        "filters",
        "index",
        "matrix",
        "meaning",
        "models",
        "places",
        "prune",
        "salvage",
        "search",
        "store",
        "walk",
    },
    "check": {"columns", "errors", "matrix", "models", "store"},
    "prune": {"errors", "matrix", "store"},
    "places": {"datadir", "errors", "isolation"},
    "matrix": {"datadir", "errors", "isolation", "sealed", "search", "store"},
    "columns": {"datadir", "errors", "filters", "isolation", "matrix", "sealed", "sieve", "store"},
    "sieve": {"clocks", "filters", "formats", "store", "walk"},
    "clocks": set(),
    "filters": {"formats"},
    "index": {"changes", "describing", "errors", "formats", "models", "store", "walk", "writing"},
    "describing": {"changes", "decoding", "facts", "formats", "reading", "store", "walk"},
    "writing": {"changes", "decoding", "errors", "interruption", "models", "reading", "store"},
    "reading": {"changes", "decoding", "errors", "facts", "formats", "store", "walk"},
    "decoding": {"changes", "errors", "facts", "formats", "isolation"},
    "decoder": {"errors", "image"},
    "changes": {"errors", "formats", "store", "walk"},
    "image": {"errors", "facts", "formats", "metadata"},
    "metadata": {"facts"},
    "facts": set(),
    "formats": set(),
    "walk": {"errors", "places"},
    "store": {"datadir", "errors", "facts", "isolation", "places"},
    "salvage": {"datadir", "errors", "places", "store"},
    "sealed": {"datadir", "isolation"},
    "datadir": set(),
    "search": set(),
    "query": {"errors"},
    "output": {"check", "library", "template", "terminal"},  # but for the last, for their types
    "preview": {"decoding", "errors", "image", "isolation", "library", "output", "terminal"},
    "template": set(),
    "terminal": set(),
    "viewer": {"errors", "isolation"},
    "errors": set(),
    "interruption": set(),
    "isolation": set(),
    "models": {"datadir", "errors", "interruption", "sealed"},
}
OWNED = {
    "argparse": {"parser", "shell"},  # the second for its types
    "shtab": {"shell"},
    "argparse_manpage": {"shell"},
    "sqlite3": {"salvage", "store/connections", "store/database", "store/restoring", "store/schema"},
    "PIL": {f"image/{module}" for module in ("__init__", "blocks", "errors", "geometry", "opening", "raw", "samples")},
    "rawpy": {"image/raw"},
    "pillow_heif": {"image/opening"},
    "pillow_jxl": {"image/opening"},
    "torch": {"models/bulk", "models/torch_tower", "models/originals"},
    "clip": {"models/originals"},
    "urllib": {"models/downloads", "output", "store/connections", "web"},
    "termios": {"preview/probe"},
    "wcwidth": {"output"},
    "mmap": {"columns", "matrix", "models/tensors"},
    "xml": {"metadata"},
    "numkong": {"search"},
    "signal": {"decoder", "decoding", "interruption"},
    "_thread": {"interruption"},
    "subprocess": {"decoding", "preview/probe", "viewer"},
    "socket": {"decoding", "decoder"},
    "threading": {"decoding", "reading"},
    "threadpoolctl": {"models/__init__", "models/encoding"},
    "tqdm": {"cli", "models/downloads"},
}


def modules() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE).with_suffix("")): ast.parse(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }


def imports(tree: ast.Module) -> set[str]:
    """Dotted names of all that is imported, wherever in the module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms(names: set[str]) -> set[str]:
    """The modules and packages of ours among dotted names."""
    inside = [name.split(".") for name in names if name == "rclip" or name.startswith("rclip.")]
    files = {path.stem for path in PACKAGE.iterdir()}
    return {parts[1] if len(parts) > 1 and parts[1] in files else "__init__" for parts in inside}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down_only(module: str) -> None:
    room = module.split("/")[0]
    assert rooms(imports(modules()[module])) - {room} <= MAY_IMPORT[room]


def test_the_table_of_rooms_is_complete() -> None:
    assert {module.split("/")[0] for module in modules()} == set(MAY_IMPORT)


@pytest.mark.parametrize("outside", OWNED)
def test_each_outside_world_has_one_owner(outside: str) -> None:
    users = {module for module, tree in modules().items() if any(n.split(".")[0] == outside for n in imports(tree))}
    assert users <= OWNED[outside]


def test_only_the_command_exits_and_prints() -> None:
    for module, tree in modules().items():
        if module in ("cli", "interruption", "__main__"):
            continue
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not calls & {"print", "sys.exit", "exit", "quit", "os._exit"}, module


def calls(tree: ast.Module) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("module", sorted(modules()))
def test_nothing_runs_code_that_it_has_read(module: str) -> None:
    tree = modules()[module]
    roots = {name.split(".")[0] for name in imports(tree)}
    assert not roots & {"pickle", "marshal", "shelve", "dill", "joblib", "code", "codeop", "runpy"}
    assert not calls(tree) & {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("shell", "False") == "False"
        assert given.get("allow_pickle", "False") == "False"
        if ast.unparse(call.func) == "torch.load":
            assert given["weights_only"] == "True"


@pytest.mark.parametrize("module", sorted(modules()))
def test_sql_has_parameters(module: str) -> None:
    """But for PRAGMA, which takes none, and the names of our own schema's tables and columns, which may not be one.

    What is put into those is ours.
    """
    for node in ast.walk(modules()[module]):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in ("execute", "executemany", "executescript", "value") or not node.args:
            continue
        sql = node.args[0]
        assert not isinstance(sql, ast.BinOp) or ast.unparse(sql) == "sql + 'LIMIT 0'", ast.unparse(node)
        if isinstance(sql, ast.JoinedStr):
            assert ast.unparse(sql.values[0]).startswith("'PRAGMA "), ast.unparse(node)
        assert not (isinstance(sql, ast.Call) and ast.unparse(sql.func).endswith("format")), ast.unparse(node)


def test_only_the_store_asks_its_database() -> None:
    for module, tree in modules().items():
        if module.split("/")[0] in ("store", "salvage"):  # the second has a connection of its own
            continue
        assert not any(isinstance(node, ast.Attribute) and node.attr == "connection" for node in ast.walk(tree)), module


# --- what speed rests on: what a run does not import ------------------------------------------------------------------


def imported_by(rclip: Command, *arguments: str, cwd: Path | None = None) -> set[str]:
    """The modules that the command imported, as told by the interpreter."""
    done = rclip(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"}, cwd=cwd)
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50
    return {line.rpartition("|")[2].strip() for line in lines}


HEAVY = {
    *("torch", "clip", "torchvision", "PIL", "tqdm", "ftfy", "regex", "shtab", "argparse_manpage"),
    *("concurrent.futures", "urllib.request", "ssl"),
}
UNASKED = {
    *("rclip.filters", "rclip.columns", "rclip.metadata"),
    *("rclip.store.filterable", "rclip.store.lending", "rclip.store.restoring", "rclip.store.upkeep"),
}
"""What a text query has no use for."""


def test_a_text_query_imports_nothing_heavy(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    found = imported_by(rclip, "-n", "a red star")
    assert not found & (HEAVY | UNASKED)
    assert {"numpy", "sqlite3", "rclip.store.photos"} <= found  # else this test looks at nothing


def test_a_query_that_finds_nothing_changed_imports_no_decoder(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    assert not imported_by(rclip, "a red star") & {"torch", "clip", "torchvision", "PIL"}


def test_filters_alone_load_no_model(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    assert not imported_by(rclip, "--after", "2020", "--type", "jpg") & HEAVY


def test_an_update_of_ten_photos_and_a_picture_query_import_no_torch(rclip: Command, draw: Draw) -> None:
    for number in range(10):
        draw(f"{number}.jpg")
    found = imported_by(rclip, "a red star")
    assert not found & {"torch", "clip", "torchvision", "PIL"}  # pictures are decoded in other processes
    assert "rclip.decoding" in found
    assert not imported_by(rclip, "-n", "./3.jpg") & {"torch", "clip", "torchvision"}


@pytest.mark.parametrize(
    ("suffix", "name", "is_decoded_here"),
    [
        *((suffix, f"a.{suffix}", True) for suffix in ("jpg", "png", "webp", "gif", "bmp")),
        *((suffix, f"a.{suffix}", False) for suffix in ("tif", "heic", "dng", "qoi")),
        ("jpg", "a.tif", True),
        ("tif", "a.jpg", False),
        ("jpg", "a.nef", False),
    ],
)
def test_a_picture_query_loads_none_but_the_common_decoders(
    rclip: Command, draw: Draw, tmp_path: Path, suffix: str, name: str, is_decoded_here: bool
) -> None:
    """Others may crash, and are loaded by a process that may."""
    draw("a.jpg")
    rclip("--index")
    (tmp_path / name).write_bytes(pictures.encode(pictures.drawn(), suffix))
    assert ("PIL" in imported_by(rclip, "-n", str(tmp_path / name))) == is_decoded_here


def test_a_large_update_takes_torch_where_it_is_faster(rclip: Command, draw: Draw) -> None:
    for number in range(150):
        draw(f"{number}.png")
    assert ("torch" in imported_by(rclip, "--index")) >= has_bf16()


def test_moved_photos_take_neither_torch_nor_the_model(rclip: Command, draw: Draw, photos: Path) -> None:
    for number in range(150):
        draw(f"a/{number}.png")
    rclip("--index")
    (photos / "a").rename(photos / "b")
    assert not imported_by(rclip, "--index") & {"torch", "clip", "torchvision"}


def test_help_imports_nothing_heavy(rclip: Command) -> None:
    assert not imported_by(rclip, "--help") & (HEAVY | {"numpy", "sqlite3"})


def test_importing_the_package_imports_nothing() -> None:
    code = "import sys; import rclip; sys.exit('numpy' in sys.modules or 'rclip.library' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
