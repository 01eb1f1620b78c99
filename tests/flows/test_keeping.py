"""How much is kept, as the engine's page tells it."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from connectors.keyspace import Keys
from connectors.redis_link import client
from connectors.retaining import Retention
from feedback.instants import Instant
from flows.keeping import EVERY_S, Keeping, kept, sizes
from flows.settings import Retention as Settings

NOW = Instant(1_800_000_000)


def test_bytes_are_told_by_part(tmp_path: Path) -> None:
    for name, size in (
        ("recovery/a", 10),
        ("recovery/deep/b", 5),
        ("journals/in/c", 7),
        ("store.json", 3),
        ("odd/d", 2),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    assert {part: size for part, size in sizes(tmp_path).items() if size} == {"recovery": 15, "journals": 7, "other": 5}


def test_what_went_and_what_is_there_are_metrics_looked_at_now_and_then(tmp_path: Path, store_url: str) -> None:
    keys, seconds = Keys("kept"), [100.0]
    with client(store_url) as redis:
        redis.delete(keys.dead)
        for number in range(300):
            redis.xadd(keys.dead, {"record": "x"}, id=f"{number + 1}-0")
        redis.xadd(keys.dead, {"record": "x"}, id=f"{NOW * 1000}-0")
        registry = CollectorRegistry()
        keeping = Keeping(registry, Retention(store_url, kept(Settings())), tmp_path, ["kept"], now=lambda: seconds[0])
        keeping.look(NOW)
        removed = registry.get_sample_value(
            "tocsin_retention_removed_total", {"programme": "kept", "what": "dead_letters"}
        )
        left = registry.get_sample_value("tocsin_kept_entries", {"programme": "kept", "what": "dead"})
        assert (removed, left) == (300 - (redis.xlen(keys.dead) - 1), redis.xlen(keys.dead))
        assert removed
        redis.delete(keys.dead)
        keeping.look(NOW)
        assert registry.get_sample_value("tocsin_kept_entries", {"programme": "kept", "what": "dead"}) == left
        seconds[0] += EVERY_S
        keeping.look(NOW)
        assert registry.get_sample_value("tocsin_kept_entries", {"programme": "kept", "what": "dead"}) == 0
        keeping.close()
