"""The cache on a cluster of three masters and behind three sentinels: same addresses in the settings, same promises."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis import Redis

from webapp.infra.farnews import FarBoard
from webapp.infra.layers import Layers, Namespace
from webapp.infra.news import News, Told
from webapp.infra.probes import probe_redis
from webapp.infra.redis import FAILURES

from .servers import PrivateRedis, wait_until

SPACE: Namespace[int] = Namespace("numbers", int, fresh=60, near=0.01)


class ClusterNode(PrivateRedis):
    """A master of a cluster; its bus listens 10,000 ports higher unless told otherwise."""

    def command(self) -> list[str]:
        bus = ["--cluster-port", str(self.port - 10_000 if self.port > 40_000 else self.port + 10_000)]
        return [*super().command(), "--cluster-enabled", "yes", *bus]


class Replica(PrivateRedis):
    """A Redis that follows another."""

    def __init__(self, master: PrivateRedis) -> None:
        super().__init__()
        self.master = master

    def command(self) -> list[str]:
        return [*super().command(), "--replicaof", "127.0.0.1", str(self.master.port)]


class Sentinel(PrivateRedis):
    """Watches a master and makes a replica its successor within about a second."""

    def __init__(self, master: PrivateRedis) -> None:
        super().__init__()
        self.master = master

    def prepare(self) -> None:
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.home}"]
        lines += [f"sentinel monitor vault 127.0.0.1 {self.master.port} 2"]
        lines += ["sentinel down-after-milliseconds vault 1000", "sentinel failover-timeout vault 5000"]
        (self.home / "sentinel.conf").write_text("\n".join(lines))

    def command(self) -> list[str]:
        return ["redis-server", str(self.home / "sentinel.conf"), "--sentinel"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with ExitStack() as stack:
        nodes = [stack.enter_context(ClusterNode()) for _ in range(3)]
        hosts = [f"127.0.0.1:{node.port}" for node in nodes]
        command = ["redis-cli", "--cluster", "create", *hosts, "--cluster-replicas", "0", "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for node in nodes:
            client = Redis.from_url(node.url)
            wait_until(lambda client=client: client.cluster("info")["cluster_state"] == "ok", about="the cluster")  # type: ignore[misc]
        yield "redis+cluster://" + ",".join(hosts)


def test_a_cluster_holds_values_tags_and_namespaces(cluster: str) -> None:
    ours, theirs = Layers(cluster), Layers(cluster)
    spaces: list[Namespace[int]] = [Namespace(f"space-{n}", int, fresh=60, near=0.0) for n in range(6)]
    for space in spaces:
        assert ours.get(space, "a", lambda: 1, ["ana"]) == 1
        assert theirs.get(space, "a", lambda: 2, ["ana"]) == 1
        ours.clear(space, "ana")
        assert theirs.get(space, "a", lambda: 3, ["ana"]) == 3
    for space in spaces:
        ours.empty(space)
        assert theirs.get(space, "a", lambda: 4, ["ana"]) == 4
    state = probe_redis(cluster)
    assert state.version[0].isdecimal()
    assert state.used > 3 * 500_000, "of three nodes together"


def test_news_reach_listeners_on_a_cluster_and_are_kept_there(cluster: str) -> None:
    teller, listener = FarBoard(cluster), FarBoard(cluster)
    heard: list[Told] = []
    assert listener.follow(heard.append, lambda: None)
    begin = listener.past(7, None)
    assert begin
    teller.tell([News(owner, "file.changed", f'{{"id":"{owner}"}}') for owner in range(5, 10)])
    wait_until(lambda: len(heard) == 5, about="the news")
    assert {told.owner_id for told in heard} == set(range(5, 10))
    since = listener.past(7, begin.newest)
    assert since
    assert (since.whole, [told.data for told in since.after]) == (True, ['{"id":"7"}'])


def test_sentinels_lead_to_the_new_master_after_the_old_one_died() -> None:
    with ExitStack() as stack:
        master = stack.enter_context(PrivateRedis())
        replica = stack.enter_context(Replica(master))
        sentinels = [stack.enter_context(Sentinel(master)) for _ in range(3)]
        watch = Redis.from_url(sentinels[0].url, decode_responses=True)
        wait_until(lambda: _knows(watch, replicas=1, sentinels=2), about="the sentinels to know each other")
        layers = Layers("redis+sentinel://" + ",".join(f"127.0.0.1:{s.port}" for s in sentinels) + "/vault/0")
        assert layers.get(SPACE, "a", lambda: 1, ["ana"]) == 1
        master.kill()
        wait_until(lambda: _role(replica) == "master", about="the succession")
        assert layers.get(SPACE, "b", lambda: 2) == 2  # with or without Redis: nobody waits or fails
        wait_until(lambda: layers.far and layers.far.look("numbers.1", "c", []) is not None, about="the new master")
        layers.clear(SPACE, "ana")
        assert layers.get(SPACE, "a", lambda: 3, ["ana"]) == 3


def _knows(watch: Redis, replicas: int, sentinels: int) -> bool:
    state = watch.execute_command("SENTINEL", "MASTER", "vault")
    state = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
    return int(state["num-slaves"]) >= replicas and int(state["num-other-sentinels"]) >= sentinels


def _role(server: PrivateRedis) -> str:
    try:
        return str(Redis.from_url(server.url).info("replication")["role"])
    except FAILURES:
        return ""
