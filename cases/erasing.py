"""Erasing: what is personal in a case goes, and with the customer's key every copy of it that lies anywhere.

The case stays, for a promise was made and its clocks are evidence: who owned it, what was due when, what was done.
Here its own fields are emptied and it goes over to a key of its own, for what people may still write about it; the
shard does the same for the customer's other cases and gives the old key up; `flows/erasures.py` destroys it.
"""

from typing import Any

from cases import sealing
from cases.deeds import say
from cases.refusal import Refusal
from cases.sealing import Keys, UnknownVault
from cases.telling import Telling
from feedback.records import Action


def needs_keys(keys: Keys | None) -> Keys:
    """*keys*; raises Refusal where nothing is sealed, so that copies could not be made unreadable."""
    if keys is None:
        raise Refusal("not_sealed", "this engine seals nothing (privacy.seal is off), so copies cannot be erased")
    return keys


def erase(telling: Telling, action: Action) -> None:
    """The verb: nothing of the customer's is left in the case, and the trail says who asked for it and why."""
    _forget(telling, action)
    say(telling, "case.erased", action)


def erased_elsewhere(telling: Telling, action: Action) -> None:
    """*action* erased another case of the same customer, and so this one."""
    _forget(telling, action)
    say(telling, "case.erased", action, of=action.case)


def _forget(telling: Telling, action: Action) -> None:
    case, keys = telling.case, telling.moment.keys
    case.customer, case.subject, case.about, case.outcome = "", "", {}, {}
    case.erased_at = action.at
    if keys is not None:
        case.leaf = keys.leaf(case.programme, "erased", case.id, str(case.sequence))


def leaf_of_forgotten(action: Action, record: dict[str, Any], keys: Keys | None) -> tuple[int, str]:
    """(the key, the customer) of the case that *record* tells of. Raises Refusal when it is not that case's record."""
    keys, token = needs_keys(keys), record.get(sealing.SEALED)
    if not isinstance(token, str):
        raise Refusal("nothing_to_erase", "its record holds nothing that is sealed, or was erased before")
    try:
        leaf = sealing.leaf_of(keys, token)
        held = sealing.unseal(keys, (action.case, "case"), token)
    except (UnknownVault, ValueError) as error:
        raise Refusal("record_unreadable", f"data.record is not the record of {action.case}: {error}") from None
    if held is None:
        raise Refusal("nothing_to_erase", "it was erased before")
    return leaf, str(held.get("customer", ""))
