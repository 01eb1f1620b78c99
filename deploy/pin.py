"""`make pin`: every base image gets the digest that its registry has for its tag, in docker-compose.yml and deploy/.

`name:tag` becomes `name:tag@sha256:…`, and an older digest is renewed. A registry that does not answer leaves its
images as they are, and is told of; the exit code is then 1. Speaks the registry's own HTTP API (OCI distribution
spec 1.1, "pulling manifests"), with the anonymous token that it asks for; `TOCSIN_REGISTRY_MIRROR` is asked in place
of Docker Hub.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("docker-compose.yml", "deploy/Dockerfile", "deploy/kubernetes/*.yaml")
HUB = "https://registry-1.docker.io"
OURS = "tocsin"
"""Built here, not pulled."""
IMAGE = re.compile(r"^(\s*(?:-\s+)?image:\s*|FROM\s+)([a-z0-9./_-]+):([A-Za-z0-9._-]+)(@sha256:[0-9a-f]{64})?", re.M)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
TIMEOUT_S = 20


class NoAnswer(Exception):
    """A registry could not be asked, or has no such tag."""


def digest_of(name: str, tag: str) -> str:
    """The digest of an image's tag. Raises NoAnswer."""
    first, _, rest = name.partition("/")
    if rest and ("." in first or ":" in first):
        base, path = f"https://{first}", rest
    else:
        base = os.environ.get("TOCSIN_REGISTRY_MIRROR", HUB).rstrip("/")
        path = name if rest else f"library/{name}"
    url = f"{base}/v2/{path}/manifests/{tag}"
    try:
        try:
            return _ask(url, "")
        except urllib.error.HTTPError as refusal:
            if refusal.code != 401:
                raise
            return _ask(url, _token(refusal.headers.get("WWW-Authenticate", "")))
    except (OSError, ValueError, KeyError) as error:
        raise NoAnswer(f"{url}: {error}") from None


def _ask(url: str, token: str) -> str:
    headers = {"Accept": MANIFESTS, **({"Authorization": f"Bearer {token}"} if token else {})}
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers, method="HEAD"), timeout=TIMEOUT_S
    ) as answer:
        found = str(answer.headers.get("Docker-Content-Digest", ""))
    if not DIGEST.fullmatch(found):
        raise ValueError(f"the registry named no digest, but {found[:80]!r}")
    return found


def _token(challenge: str) -> str:
    """The anonymous token that *challenge* (`Bearer realm="…",service="…",scope="…"`) leads to."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = asked.pop("realm")
    with urllib.request.urlopen(f"{realm}?{urllib.parse.urlencode(asked)}", timeout=TIMEOUT_S) as answer:
        given = json.load(answer)
    return str(given.get("token") or given["access_token"])


def pin(root: Path = ROOT) -> int:
    """Pin every image below *root*; the number that could not be."""
    found: dict[tuple[str, str], str] = {}
    failed = 0
    for path in sorted(path for pattern in FILES for path in root.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        for _, name, tag, _ in IMAGE.findall(text):
            if name != OURS and (name, tag) not in found:
                try:
                    found[name, tag] = digest_of(name, tag)
                    print(f"{name}:{tag}@{found[name, tag]}")
                except NoAnswer as error:
                    found[name, tag] = ""
                    failed += 1
                    print(f"{name}:{tag} stays as it is: {error}", file=sys.stderr)

        def pinned(image: re.Match[str]) -> str:
            said, name, tag, _ = image.groups()
            digest = found.get((name, tag), "")
            return f"{said}{name}:{tag}@{digest}" if digest else image.group(0)

        path.write_text(IMAGE.sub(pinned, text), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(1 if pin() else 0)
