"""Precision of each rule and version: of the cases that it opened, how many should never have been.

A case that people invalidated, or a label of which they corrected, is a false alarm of every rule that opened it, in
the version that did; a corrected priority is none. Folded from the events of cases, wherever they are kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Precision(msgspec.Struct, kw_only=True):
    """One rule in one version."""

    programme: str
    rule: str
    version: str
    title: str = ""
    opened: int = 0
    """Cases that opened by it, alone or with others."""
    invalidated: int = 0
    """Of these the ones that were invalidated: false alarms."""
    corrected: int = 0
    """Of these the ones of which a label was corrected, and that were not invalidated: false alarms as well."""
    decided: int = 0
    """Of these the ones that are closed, or are known for a false alarm."""
    first_at: str = ""
    last_at: str = ""
    """When it first and last opened a case."""

    @property
    def precision(self) -> float | None:
        """Share of the decided cases that were no false alarm; None before any is."""
        return None if not self.decided else round(1 - (self.invalidated + self.corrected) / self.decided, 4)


class Precisions:
    """Counts case after case; what is known is in `rows`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], Precision] = {}

    def take(self, programme: str, log: Iterable[Mapping[str, Any]]) -> None:
        """Count one case by its *log*, in order: CloudEvents as JSON objects."""
        opening: Mapping[str, Any] | None = None
        ending, corrected = "", False
        for event in log:
            match event["type"].removeprefix("tocsin."):
                case "case.opened":
                    opening = opening or event
                case "case.invalidated" | "case.closed" as ending_:
                    ending = ending_
                case "case.reopened":
                    ending = ""
                case "case.updated":
                    field = (event["data"].get("correction") or {}).get("field", "priority")
                    corrected = corrected or field != "priority"
        invalid = ending == "case.invalidated"
        for rule in opening["data"].get("rules", ()) if opening is not None else ():
            row = self._row(programme, rule)
            at = opening["time"] if opening is not None else ""
            row.opened += 1
            row.first_at, row.last_at = min(row.first_at or at, at), max(row.last_at, at)
            row.invalidated += invalid
            row.corrected += corrected and not invalid
            row.decided += bool(ending) or corrected

    def _row(self, programme: str, rule: Mapping[str, Any]) -> Precision:
        key = (programme, rule["id"], rule["version"])
        if key not in self._rows:
            self._rows[key] = Precision(
                programme=programme, rule=rule["id"], version=rule["version"], title=rule.get("title", "")
            )
        return self._rows[key]

    @property
    def rows(self) -> list[Precision]:
        """By programme and rule, the newest version of each first."""
        newest = sorted(self._rows.values(), key=lambda row: row.last_at, reverse=True)
        return sorted(newest, key=lambda row: (row.programme, row.rule))
