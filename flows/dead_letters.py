"""What could not be read is kept, but whoever it is about can be erased from it too.

The original goes to the dead letters sealed under the customer's key, where it names one that can be found, in
broken JSON as well. One that names nobody stays as it came: nobody's erasure could ask for it, so its retention is
what bounds it (`docs/privacy.md`).
"""

import re

import msgspec

from cases import sealing
from cases.events import Event
from flows.erasures import Erasures

_CUSTOMER = re.compile(rb'"customer"\s*:\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+))')
PLACE = "dead"
"""What the token is bound to, beside the event's id."""


def sealed_original(event: Event, erasures: Erasures) -> Event:
    """*event* with `data.original` sealed as `data.sealed`, if there is a vault and it names its customer."""
    keys, original = erasures.vault, event.data.get("original")
    customer = customer_of(original) if isinstance(original, bytes) else ""
    if keys is None or not customer:
        return event
    leaf = sealing.leaf_of_customer(keys, event.programme, customer, erasures.is_given_up)
    sealed = sealing.seal(keys, leaf, (event.id, PLACE), {"original": original})
    data = {name: value for name, value in event.data.items() if name != "original"}
    return msgspec.structs.replace(event, data={**data, **sealed}, private={"data": {"original": original}})


def customer_of(original: bytes) -> str:
    """Whom a record names as its customer, even where it cannot be read as a whole; empty when nobody."""
    found = _CUSTOMER.search(original)
    if found is None:
        return ""
    text, number = found.groups()
    if number is not None:
        return str(number.decode())
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
