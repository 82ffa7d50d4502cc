"""What another event store is for the benchmark: a program that measures it in its own process.

Each gets the same events, the same numbers of connections and times as the service, and a new
database on the same server. It is called as its own users call it: no HTTP is between, which is to
its advantage.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from app.embedded import PORT
from bench.cluster import OWNER, Cluster
from bench.figures import Spread
from bench.payload import EVENTS_A_BATCH, EVENTS_A_CASE, permit_events
from bench.peers.installation import NotInstalled, install_emmett, install_eventsourcing
from bench.processes import ROOT
from bench.scale import Scale

INSTALLED_IN: Final = ROOT / ".data/bench-peers"
PROGRAMS: Final = Path(__file__).resolve().parent
ENDS_WITHIN_S: Final = 600.0
PAGE_SIZE: Final = 5_000


@dataclass(frozen=True, slots=True)
class Peer:
    """Another event store."""

    name: str
    """Of its folder here, and of that in which its packages are."""
    install: Callable[[Path, Path], list[str]]
    """From one folder into another; the command that runs its program."""


PEERS: Final = (
    Peer("eventsourcing", install_eventsourcing),
    Peer("emmett", install_emmett),
)


@dataclass(frozen=True, slots=True)
class PeerOutcome:
    """What it has reached, by the name of the service's measurement of the same kind of work."""

    name: str
    title: str
    """With its version."""
    rates: Mapping[str, Spread]
    """Events a second."""


class PeerFailed(Exception):
    """Its program has not ended well; the message is its own."""


def measure_peers(
    cluster: Cluster, scale: Scale, peers: Sequence[Peer] = PEERS
) -> list[PeerOutcome]:
    """All that can be installed here, one after the other."""
    outcomes = []
    for peer in peers:
        try:
            cluster.tell(f"installing {peer.name}")
            command = peer.install(PROGRAMS / peer.name, INSTALLED_IN / peer.name)
        except NotInstalled as error:
            cluster.tell(f"{peer.name} is left out: {error}")
            continue
        rounds = []
        for number in range(1, scale.trial_rounds + 1):
            cluster.tell(f"{peer.name}: round {number} of {scale.trial_rounds}")
            rounds.append(_round(cluster, scale, peer, command))
        outcomes.append(_outcome(peer, rounds))
    return outcomes


def _outcome(peer: Peer, rounds: Sequence[dict[str, Any]]) -> PeerOutcome:
    works = rounds[0]["rates"]
    return PeerOutcome(
        peer.name,
        rounds[0]["title"],
        {work: Spread.of([found["rates"][work] for found in rounds]) for work in works},
    )


def _round(cluster: Cluster, scale: Scale, peer: Peer, command: list[str]) -> dict[str, Any]:
    name = f"bench_peer_{peer.name}"
    cluster.execute(f"CREATE DATABASE {name} OWNER {OWNER}", "CHECKPOINT")
    plan = {
        "host": cluster.socket_dir,
        "port": PORT,
        "user": OWNER,
        "database": name,
        "warm_up_s": scale.timing.warm_up_s,
        "duration_s": scale.timing.duration_s,
        "events": [asdict(event) for event in permit_events(EVENTS_A_BATCH)],
        "events_a_case": EVENTS_A_CASE,
        "page_size": PAGE_SIZE,
        # As many as the service's reader of the feed has in quick mode; cached either way.
        "feed_events": 100_000,
        "connections": {"single": 64, "batch": 8, "pool": 10},
    }
    try:
        done = subprocess.run(
            command,
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            check=False,
            timeout=ENDS_WITHIN_S,
        )
    finally:
        cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
    if done.returncode != 0:
        raise PeerFailed(f"{peer.name}: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peers_as_json(outcomes: Sequence[PeerOutcome]) -> list[dict[str, Any]]:
    """What is kept."""
    return [asdict(outcome) for outcome in outcomes]
