"""Prometheus and Alertmanager, found on this machine or fetched from Debian.

`python -m tests.watch.parts` sees to both and is what `make test-watch` runs first. Taken are, in this order, those in
`PROMETHEUS_HOME` (a folder with prometheus, promtool, alertmanager and amtool), those on the path, and the packages
`prometheus` and `prometheus-alertmanager`, downloaded by apt-get and unpacked below `build/watch`, never installed: no
service is started. One file has to lie where Debian's Alertmanager looks for it, and is put there by root.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "watch"
PACKAGES = {"prometheus": ("prometheus", "promtool"), "prometheus-alertmanager": ("prometheus-alertmanager", "amtool")}
NAMES = ("prometheus", "promtool", "alertmanager", "amtool")
TEMPLATES = Path("usr/share/prometheus/alertmanager")
"""Debian compiled this place into its Alertmanager, which does not start without its templates there."""
DEBIAN_NAME = {"alertmanager": "prometheus-alertmanager"}


class PartsError(Exception):
    """A program cannot be had; the text says which, and what to do."""


def programs() -> Mapping[str, Path]:
    """Name to program, complete. Raises PartsError."""
    found = {name: path for name in NAMES if (path := _find(name)) is not None}
    if FOLDER in found.get("alertmanager", FOLDER.parent).parents and not (Path("/") / TEMPLATES).is_dir():
        del found["alertmanager"]
    if len(found) < len(NAMES):
        missing = ", ".join(name for name in NAMES if name not in found)
        raise PartsError(
            f"{missing} cannot be found; on Debian or Ubuntu `python -m tests.watch.parts` fetches them, elsewhere "
            "unpack the releases of prometheus.io/download into one folder and name it in PROMETHEUS_HOME"
        )
    return found


def _find(name: str) -> Path | None:
    folders = [Path(home)] if (home := os.environ.get("PROMETHEUS_HOME")) else []
    for spelt in (name, DEBIAN_NAME.get(name, name)):
        for folder in (*folders, FOLDER / "usr" / "bin"):
            if (folder / spelt).is_file():
                return folder / spelt
        if not folders and (on_path := shutil.which(spelt)):
            return Path(on_path)
    return None


def fetch() -> None:
    """Make `programs` complete. Raises PartsError."""
    try:
        programs()
        return
    except PartsError:
        apt, unpack = shutil.which("apt-get"), shutil.which("dpkg-deb")
        if apt is None or unpack is None or os.environ.get("PROMETHEUS_HOME"):
            raise
    debs = FOLDER / "packages"
    debs.mkdir(parents=True, exist_ok=True)
    print(f"fetching {' and '.join(PACKAGES)} by apt-get into {FOLDER}", file=sys.stderr)
    try:
        _run(debs, apt, "download", "-q", *PACKAGES)
    except PartsError:
        if os.geteuid() != 0:
            raise
        _run(debs, apt, "update", "-q")  # a machine whose lists are empty or old
        _run(debs, apt, "download", "-q", *PACKAGES)
    for package in debs.glob("*.deb"):
        _run(debs, unpack, "-x", str(package), str(FOLDER))
    wanted = Path("/") / TEMPLATES
    if not wanted.is_dir():
        try:
            shutil.copytree(FOLDER / TEMPLATES, wanted)
        except OSError as error:
            raise PartsError(
                f"Debian's Alertmanager wants its templates in {wanted}, which cannot be written: {error.strerror}. "
                "Run this as root once, or apt-get install prometheus-alertmanager, or set PROMETHEUS_HOME"
            ) from None
    programs()


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout)[-500:]
        raise PartsError(
            f"{' '.join(words[:2])} ended with {done.returncode}: {said}\nIt needs Debian's package lists (root: "
            "apt-get update) and a network; or set PROMETHEUS_HOME"
        )


if __name__ == "__main__":
    try:
        fetch()
    except PartsError as trouble:
        sys.exit(f"test-watch: {trouble}")
