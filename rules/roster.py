"""Who answers for a role: people in order, by default, by site and by segment, with absences and stand-ins.

An owner is a role resolved to a person, never a bare team. Resolving is pure: the same role, attributes, instant
and exclusions give the same person on every replay.
"""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from feedback.instants import Instant
from feedback.records import Scalar


class Away(msgspec.Struct, frozen=True):
    """An absence, half-open: from `start` up to but not at `end`."""

    start: Instant
    end: Instant
    stand_in: str = ""
    """Id of who takes over; empty when nobody does."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    email: str = ""
    away: tuple[Away, ...] = ()

    def absence(self, at: Instant) -> Away | None:
        return next((away for away in self.away if away.start <= at < away.end), None)


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """People by id, in order. The most specific list that names anybody present is asked first."""

    default: tuple[str, ...] = ()
    by_site: dict[str, tuple[str, ...]] = {}
    by_segment: dict[str, tuple[str, ...]] = {}
    spread: bool = False
    """Start at a place that hangs on the case id, so that cases are shared out; else always at the first."""


class Roster(msgspec.Struct, frozen=True):
    people: dict[str, Person]
    roles: dict[str, Role]

    def person(self, id_: str) -> Person | None:
        """The person of that id; None when the roster has no such person."""
        return self.people.get(id_)

    def resolve(
        self,
        role: str,
        *,
        attributes: Mapping[str, Scalar],
        at: Instant,
        seed: str = "",
        exclude: frozenset[str] = frozenset(),
    ) -> Person | None:
        """Who answers for *role* at *at*: by site, else by segment, else by default; None when nobody can.

        Somebody away is replaced by their stand-in, if that one is here; *exclude* names people who are not
        asked (again). *seed* is the case id, for roles that are spread.
        """
        held = self.roles.get(role)
        if held is None:
            return None
        site, segment = str(attributes.get("site", "")), str(attributes.get("segment", ""))
        for ids in (held.by_site.get(site, ()), held.by_segment.get(segment, ()), held.default):
            for id_ in _in_turn(ids, seed if held.spread else ""):
                person = self._present(id_, at, exclude)
                if person is not None:
                    return person
        return None

    def _present(self, id_: str, at: Instant, exclude: frozenset[str]) -> Person | None:
        asked: set[str] = set()
        while id_ not in asked:  # two people may stand in for each other
            asked.add(id_)
            person = self.people[id_]
            away = person.absence(at)
            if away is None:
                return None if id_ in exclude else person
            if not away.stand_in:
                return None
            id_ = away.stand_in
        return None


def _in_turn(ids: tuple[str, ...], seed: str) -> tuple[str, ...]:
    if not seed or len(ids) < 2:
        return ids
    first = int.from_bytes(blake2b(seed.encode(), digest_size=4).digest(), "big") % len(ids)
    return ids[first:] + ids[:first]
