"""A case told again for a store that lost it: what it is now, and nothing that happened to it.

No event of the case: its trail goes on where it was. `connectors/redis_script.py` makes record and indexes of it.
"""

from collections.abc import Iterable

from cases import case as cases
from cases.case import Case
from cases.events import Event
from cases.sealing import Keys
from feedback.ids import event_id
from feedback.instants import Instant


def restate(known: Iterable[Case], at: Instant, keys: Keys | None = None) -> list[Event]:
    """Each case as it stands. Closed ones that are still remembered too: an older store has them open."""
    return [_restated(case, at, keys) for case in known]


def _restated(case: Case, at: Instant, keys: Keys | None) -> Event:
    return Event(
        id=event_id(case.id, "restated", str(case.sequence)),
        type="case.restated",
        programme=case.programme,
        time=at,
        case=case.id,
        sequence=case.sequence,
        data={},
        record=cases.record(cases.sealed_view(case, keys)[0]),
        standing=cases.standing(case),
        restates=True,
    )
