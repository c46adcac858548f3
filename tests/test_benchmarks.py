"""Each benchmark runs, quickly and with the tiny CLIP, and prints figures. What they are is no test's business.

Of `versus_rclip.py` only the refusals are tested: it installs another program. `quality.py` has tests of its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support import chroma, postgres
from tests.support.tiers import few

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that the model is prepared once."""
    return tmp_path_factory.mktemp("benchmarks")


def run_quickly(name: str, scratch: Path, model: Path, *arguments: str | Path) -> str:
    """What the script prints; what it keeps is JSON that names the machine."""
    kept = scratch / f"{name}.json"
    options = ("--quick", "--scratch", scratch, "--model", model, "--json", kept, *arguments)
    command = [sys.executable, BENCHMARKS / name, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(kept.read_text())["machine"]["cores"] >= 1
    return done.stdout


def figures(printed: str) -> dict[str, list[float]]:
    """The numbers of each line of the printed tables, by what stands in front of them."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    return {
        line[0]: [float(cell.replace(",", "")) for cell in line[1:]]
        for line in lines
        if all(cell[:1].isdigit() for cell in line[1:])
    }


@pytest.mark.parametrize(
    ("name", "lines"),
    few(
        [
            ("no_change.py", {"look for changes and search", "search only", "compare"}),
            ("indexing.py", {"640x480, few", "640x480, many", "12 MP, few", "12 MP, many"}),
            ("moved.py", {"unchanged", "renamed", "copied", "read once", "stat once"}),
            ("matrix_candidates.py", {"numpy float32", "numkong float16 in parts", "numkong int8"}),
            ("sketch.py", {"warm, in full", "warm, by the sketch", "quantiles, by the sketch"}),
            ("approximate.py", {"exact, in full", "exact, by the sketch", "IndexFlatIP"}),
            ("fan_out.py", {"10 shards, one copy", "10 shards, two, and a hedge"}),
            ("cluster.py", {"8", "32", "64", "256"}),
            ("startup.py", {"numpy", "torch", "both"}),
            ("library.py", {"cold", "warm", "repeated", "vectors"}),
            ("many_queries.py", {"one query", "20 queries"}),
            ("videos.py", {"1 min of 160x120"}),
            ("models.py", {"tiny"}),
            ("language.py", {"query, plain", "query, any language"}),
            ("gpu.py", {"640x480", "12 MP"}),
            ("interface.py", {"frame, cold", "screen, warm"}),
            ("filtered_query.py", {"no filter", "half by date", "many names", "a day, no query"}),
        ]
    ),
)
def test_a_benchmark_prints_figures(name: str, lines: set[str], scratch: Path, tiny_checkpoint: Path) -> None:
    found = figures(run_quickly(name, scratch, tiny_checkpoint))
    assert lines <= set(found)
    assert all(max(found[line]) > 0 for line in lines)


def test_a_lost_shard_is_no_part_of_an_answer(scratch: Path, tiny_checkpoint: Path) -> None:
    """With one copy of each, and half of them down, hardly a query of ten shards has an answer, and none has a part."""
    run_quickly("fan_out.py", scratch, tiny_checkpoint, "--down", "0.5")
    one, *two = json.loads((scratch / "fan_out.py.json").read_text())["results"]
    assert one["errors"] == pytest.approx(1 - 0.5**10, abs=0.01)
    assert [each["errors"] for each in two] == pytest.approx([1 - 0.75**10] * 3, abs=0.05)


def test_a_hedge_shortens_the_longest_waits(scratch: Path, tiny_checkpoint: Path) -> None:
    """Of one request for each shard, all of the same length but for one in a hundred, which takes ten times as long."""
    run_quickly("fan_out.py", scratch, tiny_checkpoint, "--sigma", "0", "--down", "0", "--stragglers", "0.02")
    one, _, hedged, _ = json.loads((scratch / "fan_out.py.json").read_text())["results"]
    assert (one["median_ms"], one["p99_ms"]) == pytest.approx((35, 350))
    assert hedged["p99_ms"] == pytest.approx(70)
    assert hedged["more_requests"] == pytest.approx(0.02, abs=0.005)


@pytest.mark.skipif(postgres.programs() is None, reason="there is no PostgreSQL with pgvector here")
def test_databases_are_asked_for_what_the_index_finds(scratch: Path, tiny_checkpoint: Path) -> None:
    found = figures(run_quickly("vector_databases.py", scratch, tiny_checkpoint, "--engines", "postgres"))
    for name in ("PostgreSQL, exact", "PostgreSQL, HNSW"):
        assert min(found[name][:1] + found[name][2:4]) > 0  # rows a second, bytes, time
    assert found["PostgreSQL, exact"][5::3] == [1, 1]  # recall


@pytest.mark.slow
@pytest.mark.skipif(not chroma.is_there(), reason="there is no Chroma here")
def test_chroma_is_asked_for_what_the_index_finds(scratch: Path, tiny_checkpoint: Path) -> None:
    found = figures(run_quickly("vector_databases.py", scratch, tiny_checkpoint, "--engines", "chroma"))
    for name in ("Chroma, a folder", "Chroma, a server", "Chroma's own settings"):
        assert min(found[name][:1] + found[name][2:4]) > 0
        assert found[name][5::3] == [1, 1]  # so few photos are ranked exactly


@pytest.mark.slow
def test_relevance_draws_its_shares(scratch: Path, tiny_checkpoint: Path) -> None:
    plot = scratch / "relevance.svg"
    run_quickly("relevance.py", scratch, tiny_checkpoint, "--galleries", "--plot", plot)
    kept = json.loads((scratch / "relevance.py.json").read_text())
    for of_one in (*kept["scores"].values(), *kept["galleries"].values()):
        assert all(0 <= share <= 1 for share in of_one.values())
    assert kept["scores"]["600"]["answered"] > kept["scores"]["600"]["by chance"]
    lines = [each for each in ElementTree.parse(plot).getroot().iter() if each.tag.endswith("polyline")]
    assert [len(line.get("points", "").split()) for line in lines] == [2, 2, 2]


@pytest.mark.slow
def test_query_by_size_draws_its_figures_beside_the_peers(scratch: Path, tiny_checkpoint: Path) -> None:
    peer, plot = scratch / "peer.json", scratch / "plot.svg"
    cases = [{"case": "text-query", "photos": 1000, "peer": {"median_s": 0.7}}]
    peer.write_text(json.dumps({"cases": cases}))
    found = figures(run_quickly("query_by_size.py", scratch, tiny_checkpoint, "--plot", plot, "--peer", peer))
    assert {"query", "sub-folder", "1,000 results", "add ten", "query after", "from scratch"} <= set(found)
    drawn = ElementTree.parse(plot).getroot()
    lines = [element.get("points", "").split() for element in drawn.iter() if element.tag.endswith("polyline")]
    assert [len(line) for line in lines] == [2, 1]


def refusal(tmp_path: Path, *arguments: str | Path) -> str:
    """What `versus_rclip.py` says on stderr when it does not even begin."""
    venv = str(tmp_path / "venv")
    command = [sys.executable, str(BENCHMARKS / "versus_rclip.py"), "--scratch", str(tmp_path), "--peer-venv", venv]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode
    assert not (tmp_path / "venv").exists()
    return done.stderr


def test_the_comparison_names_the_pythons_that_the_other_program_supports(tmp_path: Path) -> None:
    said = refusal(tmp_path, "--peer-python", tmp_path / "python")
    assert "needs Python 3.12 or 3.13" in said
    assert str(tmp_path / "python") in said


def test_the_comparison_overwrites_no_results(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("{}")
    assert "--resume" in refusal(tmp_path, "--json", kept)
    assert kept.read_text() == "{}"
