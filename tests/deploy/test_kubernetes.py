"""The manifests fit together, and two pods' commands run as two lanes that share one vault."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from connectors.records import Records
from tests.deploy.compose import SERVICES
from tests.watch.files import ROOT, load_yaml
from tests.watch.stage import free_ports, get, until

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = load_yaml(FOLDER / "kustomization.yaml")


def documents() -> Iterator[dict[str, Any]]:
    for name in KUSTOMIZATION["resources"]:
        yield from YAML(typ="safe", pure=True).load_all((FOLDER / name).read_text(encoding="utf-8"))


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in documents() if one["kind"] in kinds}


WORKLOADS = of_kind("StatefulSet", "Deployment")
EACH = pytest.mark.parametrize("name", WORKLOADS)
LITERALS = dict(
    literal.split("=", 1)
    for generator in KUSTOMIZATION["configMapGenerator"]
    for literal in generator.get("literals", ())
)


def pod(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the pod's spec, its one container)."""
    spec = WORKLOADS[name]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def test_every_file_is_a_resource_or_is_made_into_one() -> None:
    generated = {name for one in KUSTOMIZATION["configMapGenerator"] for name in one.get("files", ())}
    here = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}
    assert here == {*KUSTOMIZATION["resources"], *generated}


def test_there_are_as_many_pods_as_lanes() -> None:
    (replicas,) = KUSTOMIZATION["replicas"]
    assert (replicas["name"], str(replicas["count"])) == ("tocsin-engine", LITERALS["TOCSIN_LANES"])
    assert WORKLOADS["tocsin-engine"]["kind"] == "StatefulSet"


@EACH
def test_a_pod_is_restricted(name: str) -> None:
    spec, container = pod(name)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


@EACH
def test_what_a_pod_refers_to_is_there(name: str) -> None:
    spec, container = pod(name)
    workload = WORKLOADS[name]["spec"]
    claims = {claim["metadata"]["name"] for claim in workload.get("volumeClaimTemplates", ())}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {*volumes, *claims}
    assert volumes["settings"]["configMap"]["name"] in {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    if "vault" in volumes:
        assert volumes["vault"]["persistentVolumeClaim"]["claimName"] in of_kind("PersistentVolumeClaim")
    ports = {port["name"] for port in container["ports"]}
    probes = [container[probe] for probe in ("startupProbe", "livenessProbe", "readinessProbe") if probe in container]
    assert {probe["httpGet"]["port"] for probe in probes} <= ports
    labels = workload["template"]["metadata"]["labels"]
    assert workload["selector"]["matchLabels"].items() <= labels.items()
    for service in of_kind("Service").values():
        if service["spec"]["selector"].items() <= labels.items():
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_pods_are_told_the_same_as_compose_tells() -> None:
    theirs = SERVICES["engine"]["environment"]
    assert {name: LITERALS[name] for name in theirs if name != "TOCSIN_REDIS_URL"} == {
        name: value for name, value in theirs.items() if name != "TOCSIN_REDIS_URL"
    }
    for name in ("deliveries", "door"):
        assert pod(f"tocsin-{name}")[1]["command"] == SERVICES[name]["command"]


def command(lane: int) -> list[str]:
    """What Kubernetes makes of the engine's command for that pod."""
    given = {**LITERALS, "TOCSIN_LANE": str(lane)}
    words = pod("tocsin-engine")[1]["command"]
    return [given[word[2:-1]] if word.startswith("$(") else word for word in words]


def test_two_pods_are_two_lanes_of_one_store(store_url: str, tmp_path: Path) -> None:
    """Each with a volume of its own, the vault shared, started one after the other as a StatefulSet does."""
    container = pod("tocsin-engine")[1]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/state", "/vault", "/etc/tocsin"} <= mounted
    ready = container["readinessProbe"]["httpGet"]["path"]
    vault = tmp_path / "vault"
    vault.mkdir()
    pods: list[subprocess.Popen[bytes]] = []
    try:
        for lane, port in enumerate(free_ports(2)):
            env = {
                **LITERALS,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TOCSIN_REDIS_URL": store_url,
                "TOCSIN_SETTINGS": str(FOLDER / "tocsin.yaml"),
                "TOCSIN_STATE": str(tmp_path / f"state-{lane}"),
                "TOCSIN_VAULT": str(vault / "keys"),
                "TOCSIN_METRICS_HOST": "127.0.0.1",
                "TOCSIN_METRICS_PORT": str(port),
            }
            with (tmp_path / f"{lane}.log").open("wb") as log:
                pods.append(subprocess.Popen(command(lane), cwd=ROOT, env=env, stderr=log, start_new_session=True))
            until(lambda port=port: _is_ready(port, ready), f"lane {lane}")  # type: ignore[misc]
        records = Records(store_url)
        for number in range(20):
            said = {"id": f"r{number}", "customer": f"c{number}", "scores": {"nps": 1}, "text": "Nobody rang."}
            records.respond("default", msgspec.json.encode(said))
        until(lambda: records.counts("default", 0)[0] >= 20, "a case of every customer")
        records.close()
    finally:
        for process in pods:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(30) for process in pods]
    assert codes == [0, 0], [(tmp_path / f"{lane}.log").read_text()[-500:] for lane in (0, 1)]


def _is_ready(port: int, path: str) -> bool:
    try:
        return bool(get(f"http://127.0.0.1:{port}{path}")["ready"])
    except OSError:
        return False
