"""The names of everything Tocsin keeps in Redis: other people's software depends on them.

All keys of one programme carry its name as the hash tag, so that one script may touch them all and a
cluster keeps them on one node. `redis_script.py` writes these keys, `records.py` reads them.
"""

import re

PROGRAMMES = "tocsin:programmes"
"""Set of the programmes that this store has been opened for."""
CALENDARS = "tocsin:calendars"
"""Hash: key (`name@hash`) to the text of every calendar that a clock counts on."""

_PROGRAMME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

PROBE = "probe"
"""The marker that is counted up only to see whether the server takes writes."""


class Keys:
    """The keys of one programme."""

    __slots__ = (
        "actions", "api_keys", "cases", "dead", "due", "events", "facts", "fetch_jobs", "fetches", "inbox", "layout",
        "marker", "open", "refusals", "stem",
    )  # fmt: skip

    def __init__(self, programme: str) -> None:
        """Raises ValueError for a name that could be taken for another key (braces, colons, blanks)."""
        if not _PROGRAMME.fullmatch(programme):
            raise ValueError(
                f"{programme[:80]!r} cannot name a programme: letters, digits, '.', '_' and '-', 64 at most"
            )
        self.stem = f"tocsin:{{{programme}}}:"
        self.events = self.stem + "events"
        """Stream, the log: `id type time event`, and of a case's events `case sequence` too."""
        self.inbox = self.stem + "in"
        """Stream of responses."""
        self.actions = self.stem + "actions"
        """Stream of actions."""
        self.facts = self.stem + "facts"
        """Stream, where a store has several lanes: what responses of the others mean to windows of this one."""
        self.dead = self.stem + "dead"
        """Stream of what could not be read, with the original bytes."""
        self.cases = self.stem + "cases"
        """Sorted set: every case ever, by `opened_at`. All scores are Unix seconds."""
        self.open = self.stem + "open"
        """Sorted set: cases that are not closed, by `opened_at`."""
        self.due = self.stem + "due"
        """Sorted set: open cases with a live clock, by the earliest `due_at`."""
        self.layout = self.stem + "layout"
        """String: how the store is cut into lanes (`feedback/layout.py`); absent before an engine has opened it."""
        self.marker = self.stem + "marker"
        """Stem of the counters that `marker_of` names."""
        self.api_keys = self.stem + "api-keys"
        """Hash: id of an API key to the key as JSON, its secret only as a digest."""
        self.refusals = self.stem + "refusals"
        """Stream, the newest some ten thousand: what the HTTP door turned away, and whose it was."""
        self.fetches = self.stem + "fetches"
        """Sorted set: notices whose answers are still to be fetched, by when to try."""
        self.fetch_jobs = self.stem + "fetch-jobs"
        """Hash: the notice's id to the notice as JSON."""

    @staticmethod
    def of_lane(stream: str, lane: int) -> str:
        """The `in`, `actions` or `facts` of one lane: that of lane 0 has the plain name."""
        return f"{stream}:{lane}" if lane else stream

    def marker_of(self, engine: str) -> str:
        """A counter of one engine's: how far is the append-only file on disk, and is this the store it knew?"""
        return f"{self.marker}:{engine}"

    def case(self, case: str) -> str:
        """Hash: the case as it stands, flat; `record` (JSON); `response:<source>:<id>` (JSON) of each response."""
        return f"{self.stem}case:{case}"

    def log(self, case: str) -> str:
        """Hash: event id to event JSON, all that was ever said about the case."""
        return f"{self.stem}case:{case}:log"

    def notices(self, case: str) -> str:
        """Hash: event id to event JSON, what noise control made of the notices that the case asked for."""
        return f"{self.stem}case:{case}:notices"

    def owner(self, owner: str) -> str:
        """Sorted set: one person's open cases, by `due_at`, or by `opened_at` when no clock runs."""
        return f"{self.stem}owner:{owner}"

    def seen(self, mark: str) -> str:
        """String with a lifetime: the stream id under which a door took in that very response."""
        return f"{self.stem}seen:{mark}"

    def asked(self, mark: str) -> str:
        """String with a lifetime: the digest of what was asked under an idempotency key."""
        return f"{self.stem}asked:{mark}"

    def partial(self, mark: str) -> str:
        """String with a lifetime: a response that a tool sends answer by answer, as far as it has come."""
        return f"{self.stem}partial:{mark}"

    def acted(self, action: str) -> str:
        """String with a lifetime: the stream id under which an action of that id was taken in."""
        return f"{self.stem}acted:{action}"
