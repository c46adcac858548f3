"""The layers of the code, the modules that may use each outside world, and what a run does not import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from rclip.models.hardware import has_bf16
from tests.support import pictures
from tests.support.command import Command, imported_by
from tests.support.gallery import Draw
from tests.support.source import PACKAGE, imports, modules
from tests.support.tiers import few

LAYERS = (
    {"__init__", "__main__"},
    {"cli"},
    {"web", "tui"},
    {"explore"},
    {"library", "remote_library"},
    {"search", "indexing", "maintenance", "thumbnails", "terminal", "watching"},
    {"index", "vectordb"},
    {"models", "photo"},
    {
        "_version",
        "argument_checks",
        "cores",
        "datadir",
        "deadlines",
        "desktop",
        "errors",
        "files",
        "filters",
        "formats",
        "garbage",
        "globs",
        "ignore_patterns",
        "ignoring",
        "inotify",
        "isolation",
        "manifest",
        "mounts",
        "places",
        "resizing",
        "signals",
        "vectors",
        "words",
    },
)
"""From the top down. A module imports lower layers only, and its own package; the last layer also its own modules."""

OWNED = {
    "argparse": {"cli/arguments", "cli/completion"},  # the last for its types
    "shtab": {"cli/completion"},
    "argparse_manpage": {"cli/completion"},
    "sqlite3": {
        *(f"index/store/{module}" for module in ("connections", "recovery", "schema", "session")),
        "index/text_vectors",
        "index/word_index",
        "maintenance/recovery",
        "places",
    },
    "PIL": {
        f"photo/image/{module}"
        for module in (
            *("__init__", "bmp", "by_imagecodecs", "geometry", "guard", "jpeg", "metadata_blocks", "opened", "opening"),
            *("previews", "psd", "raw", "samples", "tiff"),
        )
    }
    | {f"photo/video/{module}" for module in ("__init__", "frames", "sampling")}
    | {"photo/pillow_image", "search/query"},  # the latter for its types
    "rawpy": {"photo/image/raw"},
    "pillow_heif": {"photo/image/opening"},
    "tifffile": {"photo/image/tiff"},
    "imagecodecs": {"photo/image/by_imagecodecs"},
    "pillow_jxl": {"photo/image/opening"},
    "torch": {"models/open_clip_towers", "models/openai_clip", "models/torch_encoder", "models/torch_tower"},
    "open_clip": {"models/hub", "models/open_clip_towers"},
    "huggingface_hub": {"models/hub"},
    "tokenizers": {"models/file_tokenizer"},
    "transformers": {"models/open_clip_towers"},  # to know of code before open_clip has it run
    "timm": set(),
    "clip": {"models/openai_clip"},
    "urllib": {
        *("cli/text", "desktop", "index/store/connections", "models/download", "search/remote_image"),
        *("vectordb/chroma/folder", "vectordb/chroma/server"),
        "search/query",  # percent signs in file:// addresses
        "web/addresses",
    },
    "av": {f"photo/video/{module}" for module in ("container", "frames", "sampling")},
    "termios": {"terminal/probe"},
    "wcwidth": {"terminal/text"},
    "mmap": {
        *(f"index/{module}" for module in ("approximate", "mapped", "sketch", "vector_cache", "vector_search")),
        "models/safetensors",
    },
    "xml": {"photo/metadata_parser", "photo/xmp_editing"},
    "numkong": {"vectors"},
    "faiss": {"index/approximate"},
    "signal": {"photo/decode_pool", "photo/decode_worker", "signals", "vectordb/chroma/worker"},
    "_thread": {"signals"},
    "subprocess": {"terminal/probe", "desktop", "photo/decode_pool", "vectordb/chroma/folder"},
    "socket": {
        *("deadlines", "photo/decode_pool", "photo/decode_worker", "web/listening"),
        *("vectordb/chroma/folder", "vectordb/chroma/worker"),
    },
    "starlette": {f"web/{module}" for module in ("api", "app", "context", "pages", "security")},
    "anyio": {"web/app", "web/context"},
    "uvicorn": {"web/protocol", "web/server"},
    "jinja2": {"web/pages"},
    "distributed": {"indexing/cluster/dask_engine", "indexing/cluster/dask_client", "indexing/cluster/dask_local"},
    "dask": {"indexing/cluster/dask_client", "indexing/cluster/dask_engine"},
    "tornado": {"indexing/cluster/dask_local"},
    "threading": {
        *(
            "cli/activity",
            "cores",
            "indexing/claims",
            "indexing/cluster/worker",
            "indexing/listing",
            "indexing/reader",
            "photo/decode_pool",
            "models/blas",
            "search/near_pairs",
            "models/local_encoder",
            "models/model",
        ),
        *(
            "search/query_encoder",
            "library",
            "places",
            "index/approximate",
            "index/photo_index",
            "index/store/connections",
            "index/store/session",
        ),
        *("thumbnails/file_cache", "thumbnails/store", "explore/explorer", "explore/updates", "deadlines"),
        "web/server",
        *("tui/jobs", "tui/opened"),
    },
    "threadpoolctl": {"models/blas"},
    "zipfile": {"models/torch_archive", "search/export"},
    "pickletools": {"models/torch_archive"},  # it lists a pickle's instructions and follows none
    "textual": {
        *(
            f"tui/{module}"
            for module in (
                *("app", "detail", "driver", "facts", "filter_panel", "grid", "help", "keys", "lines", "pictures"),
                *("gallery", "main_screen", "query_line", "style"),
            )
        )
    },
    "watchfiles": {"watching"},
    "pyarrow": {"search/export"},
    "psycopg": {"vectordb/postgres"},
    "chromadb": {"vectordb/chroma/worker"},
    "tqdm": {"cli/report", "models/download"},
}


def layer_of(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


def imported_modules(module: str) -> set[str]:
    """The modules of ours that this one imports, wherever in it."""
    known = modules()
    found = set()
    for name in imports(known[module]):
        parts = name.split(".")
        if parts[0] == "rclip":
            paths = ["/".join(parts[1:end]) for end in range(len(parts), 1, -1)]
            candidates = [form for path in paths for form in (path, f"{path}/__init__")]
            found.add(next((path for path in candidates if path in known), "__init__"))
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_to_lower_layers(module: str) -> None:
    package = module.split("/")[0]
    for imported in imported_modules(module):
        other = imported.split("/")[0]
        is_allowed = layer_of(other) > layer_of(package) or other == package or layer_of(package) == len(LAYERS) - 1
        assert is_allowed, f"{module} -> {imported}: {package} may not import {other}"


def test_no_import_leads_back_to_where_it_started() -> None:
    arrows = {module: imported_modules(module) for module in modules()}
    done: set[str] = set()

    def visit(module: str, chain: tuple[str, ...]) -> None:
        assert module not in chain, " -> ".join((*chain[chain.index(module) :], module))
        if module not in done:
            for imported in arrows[module] - {module}:
                visit(imported, (*chain, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


@pytest.mark.parametrize("outside", OWNED)
def test_each_outside_world_has_one_owner(outside: str) -> None:
    users = {module for module, tree in modules().items() if any(n.split(".")[0] == outside for n in imports(tree))}
    assert users <= OWNED[outside]


def test_only_the_command_exits_and_prints() -> None:
    for module, tree in modules().items():
        if module in ("cli/main", "signals", "__main__"):
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
        if module.startswith("index/store/") or module == "maintenance/recovery":  # which has a connection of its own
            continue
        assert not any(isinstance(node, ast.Attribute) and node.attr == "connection" for node in ast.walk(tree)), module


MOST_LINES = 250
"""Of a class, blank ones and docstrings aside: a contract should not be shorter for it."""


def code_lines(definition: ast.ClassDef, source: list[str]) -> int:
    """How many lines of the class have code or comments."""
    documented: set[int] = set()
    for node in ast.walk(definition):
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", []), list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                documented |= set(range(statement.lineno, (statement.end_lineno or 0) + 1))
    lines = range(definition.lineno, (definition.end_lineno or 0) + 1)
    return sum(number not in documented and bool(source[number - 1].strip()) for number in lines)


def test_no_class_is_too_long_to_have_one_job() -> None:
    for module, tree in modules().items():
        source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert code_lines(node, source) <= MOST_LINES, f"{module}: {node.name}"


# --- what speed rests on: what a run does not import ------------------------------------------------------------------


HEAVY = {
    *("torch", "clip", "torchvision", "PIL", "av", "tqdm", "ftfy", "regex", "shtab", "argparse_manpage"),
    *("concurrent.futures", "urllib.request", "ssl"),
}
UNASKED = {
    *("rclip.globs", "rclip.ignore_patterns", "rclip.photo.metadata_parser"),
    *(
        "rclip.index.store.filtering",
        "rclip.index.store.files",
        "rclip.index.store.films",
        "rclip.index.store.unread_metadata",
        "rclip.index.approximate",
        "rclip.index.sketch",
        "rclip.index.store.importing",
        "rclip.index.store.recovery",
        "rclip.index.store.maintenance",
    ),
    *("rclip.remote_library", "rclip.search.remote", "rclip.search.push", "rclip.vectordb", "psycopg"),
    *("rclip.search.newest", "rclip.search.all_photos", "rclip.search.ranking", "rclip.photo.memory"),
    *("rclip.indexing.cluster", "dask", "distributed"),
}
"""What a text query has no use for."""


def test_a_text_query_imports_nothing_heavy(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    found = imported_by(rclip, "-n", "a red star")
    assert not found & (HEAVY | UNASKED)
    assert {"numpy", "sqlite3", "rclip.index.store.photos"} <= found  # else this test looks at nothing


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
    assert "rclip.photo.decode_pool" in found
    assert not imported_by(rclip, "-n", "./3.jpg") & {"torch", "clip", "torchvision"}


@pytest.mark.parametrize("suffix", few(("jpg", "png", "tif", "heic", "dng", "webp", "gif", "bmp", "qoi"), fast=2))
def test_a_picture_query_loads_no_decoder(rclip: Command, draw: Draw, tmp_path: Path, suffix: str) -> None:
    """One may crash, and is loaded by a process that may."""
    draw("a.jpg")
    rclip("--index")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(pictures.encode(pictures.drawn(), suffix))
    found = imported_by(rclip, "-n", str(path))
    assert "PIL" not in found
    assert "rclip.photo.decode_pool" in found


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
