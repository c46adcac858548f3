"""How long the page takes: searches and thumbnails, as a browser asks for them, and as the server itself sees them.

    .venv/bin/python benchmarks/web.py --quick
    .venv/bin/python benchmarks/web.py --json build/web.json

One server with a library of made-up rows answers:

start            from the command to the printed address
search, warm     a text that has not been asked for before, in the server; most of it goes to the text tower
search, repeated the same text once more, in the server
page, repeated   the page of the same text over the connection, rendered, 50 photos

Another one with drawn photos of 12 megapixels answers 50 requests for thumbnails, six at a time as browsers do:

thumbnails, cold when none has been made
thumbnails, warm when all have been made

Disk caches are warm.
"""

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from common import (
    QUERY,
    Ours,
    draw_photos,
    emptied,
    environment,
    keep,
    made_up,
    parse,
    parser,
    prepared,
    print_head,
    print_table,
    say,
    spread,
    spread_cells,
)

AT_ONCE = 6
SCREEN = 50


class Server:
    """A running `rclip --web`."""

    def __init__(self, ours: Ours, data_dir: Path, library: Path):
        command = [*ours.command, "--web", "-n", "--no-open"]
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, cwd=library, env=environment(data_dir), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout
        address = self._process.stdout.readline().decode().strip()
        self.start_s = time.perf_counter() - started
        origin, _, self._token = address.partition("/?token=")
        self._host = origin.removeprefix("http://")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host)

    def get(self, path: str, connection: http.client.HTTPConnection | None = None) -> bytes:
        connection = connection or self.connection()
        connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {content[:200]!r}")
        return content

    def search(self, text: str, more: str = "") -> Any:
        return json.loads(self.get(f"/api/search?q={quote(text)}{more}"))


def timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure_searches(ours: Ours, scratch: Path, rows: int, runs: int) -> dict[str, list[float]]:
    folder = emptied(scratch / "web")
    library, data_dir = folder / "photos", folder / "data"
    library.mkdir()
    say(f"{rows:,} rows: filling the index")
    ours.new_data_dir(data_dir)
    ours.fill(data_dir, library, made_up(library, rows))
    with ours.open(data_dir, library) as opened:
        opened.prepare_search()
    names = ("start", "search, warm", "search, repeated", "page, repeated")
    found: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs):
        with Server(ours, data_dir, library) as server:
            found["start"].append(server.start_s)
            server.search(QUERY)
            for number in range(5):
                text = f"{QUERY}, number {number} of run {run}"  # texts are remembered, also by later processes
                found["search, warm"].append(server.search(text)["seconds"])
                found["search, repeated"].append(server.search(text)["seconds"])
                found["page, repeated"].append(timed(lambda text=text: server.get(f"/?q={quote(text)}")))  # type: ignore[misc]
    shutil.rmtree(folder)
    return found


def measure_thumbnails(
    ours: Ours, scratch: Path, size: tuple[int, int], count: int, runs: int
) -> dict[str, list[float]]:
    folder = emptied(scratch / "web")
    library, data_dir = folder / "photos", folder / "data"
    say(f"drawing {count} photos of {size[0]}x{size[1]}")
    draw_photos(library, *size, count)
    ours.new_data_dir(data_dir)
    with ours.open(data_dir, library) as opened:
        opened.update()
    found: dict[str, list[float]] = {"thumbnails, cold": [], "thumbnails, warm": []}
    for _ in range(runs):
        shutil.rmtree(data_dir / "thumbnails", ignore_errors=True)
        with Server(ours, data_dir, library) as server:
            photos = [photo["id"] for photo in server.search(QUERY, f"&count={count}")["photos"]]
            for case in found:
                found[case].append(timed(lambda server=server, photos=photos: fetch_all(server, photos)))  # type: ignore[misc]
    shutil.rmtree(folder)
    return found


def fetch_all(server: Server, photos: list[str]) -> None:
    """All thumbnails, over as many connections as a browser has, which are kept."""
    parts = [photos[number::AT_ONCE] for number in range(AT_ONCE)]

    def fetch(ids: list[str]) -> None:
        connection = server.connection()
        for photo_id in ids:
            server.get(f"/api/photos/{photo_id}/thumbnail", connection)
        connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, parts))


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--rows", type=int, default=25_000, help="size of the library that is searched")
    made.add_argument("--size", type=int, nargs=2, default=(4000, 3000), help="of the photos, in pixels")
    made.add_argument("--photos", type=int, default=SCREEN, help="thumbnails on the screen")
    options = parse(made, {"rows": 500, "size": (640, 480), "photos": 12})
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    ours = prepared(options)
    metadata = print_head([ours])
    found = measure_searches(ours, options.scratch, options.rows, options.runs)
    found |= measure_thumbnails(ours, options.scratch, tuple(options.size), options.photos, options.runs)
    results: list[dict[str, Any]] = [
        {"case": case, "runs": seconds, **spread(seconds)} for case, seconds in found.items()
    ]
    lines = [("case", "runs", "min s", "median s", "max s")]
    lines += [(each["case"], str(len(each["runs"])), *spread_cells(each, 4)) for each in results]
    print_table(lines)
    keep(options.json, {**metadata, "rows": options.rows, "size": options.size, "results": results})


if __name__ == "__main__":
    main()
