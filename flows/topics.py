"""Emerging topics, beside the flow: phrases are counted in the thread that learns, and what grew lies in a file.

`tocsin themes` reads that file, and what people have decided of it. A crash costs what was counted since it was last
written (`EVERY_S`); proposals are for people, and nothing of the flow hangs on them.
"""

import os
import time
from collections import deque
from pathlib import Path
from zlib import crc32

import msgspec
import structlog

from feedback.instants import Instant
from feedback.records import Response
from scoring.reading import Found, Reading
from scoring.topics import Topic, Topics

log = structlog.get_logger()

WAITING = 1024
"""Responses at most; past them new ones are not counted, which makes a sample of them."""
EVERY_S = 60.0
"""Seconds between two writings."""
FILE, DECIDED = "topics", "decided.jsonl"


class _Heard(msgspec.Struct, frozen=True):
    programme: str
    text: str
    found: tuple[Found, ...]
    who: int
    at: Instant
    ref: tuple[str, str]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody made of a proposal."""

    phrase: str
    do: str
    """`accept` or `dismiss`."""
    by: str
    at: str
    programme: str = ""
    theme: str = ""
    into: str = ""
    """The taxonomy that it was written into."""


class TopicWatch:
    """Counts phrases. `heard` is called by the flow and returns at once; the rest is the thread's."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._waiting: deque[_Heard] = deque()
        self._topics = Topics()
        self._written_at = time.monotonic()
        self._changed = False
        self.passed_over = 0
        """Responses that there was no room for."""

    def begin(self) -> None:
        """Go on from what was written; what cannot be read begins anew."""
        try:
            self._topics = Topics.load(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.error("topics.begin_anew", error=str(error))

    def heard(self, response: Response, reading: Reading) -> None:
        if len(self._waiting) >= WAITING:
            self.passed_over += 1
            return
        who = crc32(response.customer_key.encode("utf-8", "surrogatepass"))
        at = min(response.occurred_at, response.received_at)
        ref = response.source, response.id
        self._waiting.append(_Heard(response.programme, response.text, reading.themes, who, at, ref))

    def work(self, most: int = WAITING) -> bool:
        """Count up to *most* that wait; False when there was nothing to do."""
        done = 0
        while self._waiting and done < most:
            one = self._waiting.popleft()
            self._topics.hear(one.programme, one.text, one.found, one.who, one.at, one.ref)
            done += 1
        self._changed |= done > 0
        if self._changed and time.monotonic() - self._written_at >= EVERY_S:
            self.write()
        return done > 0

    def write(self) -> None:
        """Put what was counted on disk, whole or not at all."""
        self._written_at, self._changed = time.monotonic(), False
        draft = self._path.with_suffix(".draft")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(self._topics.dump())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            log.error("topics.not_written", error=str(error))


def proposals(state: Path, programme: str) -> list[Topic]:
    """What every lane of the store in *state* proposes and nobody has decided, the most customers first.

    Raises ValueError where a file is of another release.
    """
    settled = {one.phrase for one in decisions(state) if one.programme in ("", programme)}
    found: dict[str, Topic] = {}
    for path in sorted([*state.glob(f"topics/{FILE}"), *state.glob(f"lanes-*/*/topics/{FILE}")]):
        for topic in Topics.load(path.read_bytes()).proposed(programme):
            known = found.get(topic.phrase)
            if topic.phrase not in settled and (known is None or known.count < topic.count):
                found[topic.phrase] = topic
    return sorted(found.values(), key=lambda topic: (-topic.count, topic.phrase))


def decisions(state: Path) -> list[Decision]:
    """What people decided, in its order."""
    try:
        lines = (state / "topics" / DECIDED).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Decision) for line in lines]


def decide(state: Path, decision: Decision) -> None:
    """Keep *decision*, with the name of who made it."""
    path = state / "topics" / DECIDED
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(decision) + b"\n")
        file.flush()
        os.fsync(file.fileno())
