"""How long a query to many shards takes that waits for the last of them, and how often one is lost: a simulation.

    .venv/bin/python benchmarks/fan_out.py --quick
    .venv/bin/python benchmarks/fan_out.py --shards 10 20 100

It checks the plan for a billion photos in docs/scale.md. Nothing is sent anywhere: the times of requests are drawn by
chance, from a seed. A request takes a time of its own, log-normal around --median-ms; one of --stragglers takes ten
times that, as others found of servers that also do other work (Dean and Barroso, The Tail at Scale, 2013); and of each
copy of a shard a share of --down never answers. Every shard must answer: a query that has waited --timeout-ms for one
of them ends with an error, and no answer is made of the others.

one copy                each shard is on one machine
two, and another try    of two copies, the second is asked when the first has not answered in half of the time limit
two, and a hedge        … as soon as 95 of 100 requests would have been answered; the first answer counts
two, asked at once      both are always asked

"more requests" is what the second copies are asked beyond one request for each shard. Before the simulation, shards of
real vectors are asked and merged: the answer is that of all vectors together, and without one of the shards there is
none.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from common import Ours, decimal, keep, parse, parser, print_head, print_table, unit_vectors

SEED = 16
TOP = 10
BLOCK_QUERIES = 1000


class ShardLost(Exception):
    """One of the shards has not answered, so there is no answer."""


# --- merging ---------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a shard knows of a query: its best rows, best first."""

    ids: np.ndarray
    scores: np.ndarray


def ask(vectors: np.ndarray, ids: np.ndarray, query: np.ndarray) -> Answer:
    scores = vectors @ query
    best = np.lexsort((ids, -scores))[:TOP]
    return Answer(ids[best], scores[best])


def merged(answers: Sequence[Answer | None]) -> Answer:
    """The best of all shards. Raises `ShardLost` where one of them is None: its photos could be among them."""
    there = [answer for answer in answers if answer is not None]
    if len(there) < len(answers):
        raise ShardLost
    ids, scores = (np.concatenate(parts) for parts in zip(*there, strict=True))
    best = np.lexsort((ids, -scores))[:TOP]
    return Answer(ids[best], scores[best])


def check_merging(shards: int, rows: int) -> None:
    """Raises SystemExit where the shards' answer is not that of the whole, or one is given without one of them."""
    rng = np.random.default_rng(SEED)
    vectors, ids = unit_vectors(rng, rows, 64), np.arange(rows)
    shard_of = rng.integers(shards, size=rows)  # as a hash of the path divides them
    for query in unit_vectors(rng, 20, 64):
        answers = [ask(vectors[shard_of == shard], ids[shard_of == shard], query) for shard in range(shards)]
        if not np.array_equal(merged(answers).ids, ask(vectors, ids, query).ids):
            raise SystemExit("the shards' answers, merged, are not the answer of all photos")
        lost: list[Answer | None] = [*answers]
        lost[int(rng.integers(shards))] = None
        try:
            merged(lost)
        except ShardLost:
            continue
        raise SystemExit("an answer was made without one of the shards")


# --- time ------------------------------------------------------------------------------------------------------------


class Machines(NamedTuple):
    """Where the shards are."""

    median_ms: float
    sigma: float
    """Of the logarithm of a request's time."""
    stragglers: float
    down: float
    timeout_ms: float


def request_ms(rng: np.random.Generator, machines: Machines, shape: tuple[int, ...]) -> np.ndarray:
    """Infinite where the machine is down."""
    times = machines.median_ms * np.exp(machines.sigma * rng.standard_normal(shape))
    times[rng.random(shape) < machines.stragglers] *= 10
    times[rng.random(shape) < machines.down] = np.inf
    return times


POLICIES = ("one copy", "two, and another try", "two, and a hedge", "two, asked at once")


def second_after_ms(policy: str, machines: Machines) -> float:
    """When the second copy of a shard is asked that has not answered yet."""
    if policy == "two, and a hedge":
        sample = request_ms(np.random.default_rng(SEED), machines._replace(down=0), (100_000,))
        return float(np.quantile(sample, 0.95))
    return {"one copy": np.inf, "two, asked at once": 0.0}.get(policy, machines.timeout_ms / 2)


def simulate(policy: str, shards: int, queries: int, machines: Machines) -> dict[str, Any]:
    """Times of queries that had an answer; shares of requests sent twice, and of queries that had none."""
    rng = np.random.default_rng(SEED)
    after_ms = second_after_ms(policy, machines)
    times, twice = [], []
    for start in range(0, queries, BLOCK_QUERIES):
        shape = (min(BLOCK_QUERIES, queries - start), shards)
        first, second = request_ms(rng, machines, shape), request_ms(rng, machines, shape)
        is_asked = first > after_ms
        answered = np.where(is_asked, np.minimum(first, after_ms + second), first) if after_ms < np.inf else first
        times.append(answered.max(axis=1))
        twice.append(is_asked.mean())
    waited = np.concatenate(times)
    is_error = waited > machines.timeout_ms
    answered = waited[~is_error]
    quantiles = [float(each) for each in np.quantile(answered, (0.5, 0.99, 0.999))] if len(answered) else [0.0] * 3
    return {
        "policy": policy,
        "shards": shards,
        **dict(zip(("median_ms", "p99_ms", "p999_ms"), quantiles, strict=True)),
        "more_requests": float(np.mean(twice)),
        "errors": float(is_error.mean()),
    }


def print_results(results: Sequence[dict[str, Any]]) -> None:
    headings = ("shards and copies", "median ms", "99 of 100, ms", "999 of 1,000, ms", "more requests, %", "errors, %")
    lines: list[tuple[str, ...]] = [headings]
    for each in results:
        milliseconds = [decimal(each[key], 0) for key in ("median_ms", "p99_ms", "p999_ms")]
        shares = decimal(100 * each["more_requests"], 1), decimal(100 * each["errors"], 3)
        lines.append((f"{each['shards']} shards, {each['policy']}", *milliseconds, *shares))
    print_table(lines)


def main() -> None:
    made = parser(__doc__, runs=1)
    made.add_argument("--shards", type=int, nargs="+", default=[10, 20, 100], help="how many (10 20 100)")
    made.add_argument("--queries", type=int, default=100_000, help="of each case (100000)")
    made.add_argument("--median-ms", type=float, default=35, help="of one request to one shard (35)")
    made.add_argument("--sigma", type=float, default=0.3, help="of the logarithm of its time (0.3)")
    made.add_argument(
        "--stragglers", type=float, default=0.01, help="share of requests that take ten times that (0.01)"
    )
    made.add_argument("--down", type=float, default=0.001, help="share of copies that do not answer (0.001)")
    made.add_argument("--timeout-ms", type=float, default=2000, help="after which a query ends with an error (2000)")
    options = parse(made, {"shards": [10], "queries": 2000})
    metadata = print_head([Ours(options.scratch, options.model)])
    machines = Machines(options.median_ms, options.sigma, options.stragglers, options.down, options.timeout_ms)
    for shards in options.shards:
        check_merging(shards, rows=200 * shards)
    results = [simulate(policy, shards, options.queries, machines) for shards in options.shards for policy in POLICIES]
    print_results(results)
    keep(options.json, {**metadata, "machines": machines._asdict(), "results": results})


if __name__ == "__main__":
    main()
