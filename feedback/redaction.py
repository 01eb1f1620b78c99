"""What must not be kept is taken out of a text before anything reads it: addresses, numbers of cards and accounts.

Patterns are RE2's, linear in the text. What has a check digit is checked: an order number is not taken for a card.
"""

import re
from collections.abc import Callable, Iterable, Mapping

import re2


def _luhn(found: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(c) for c in reversed(found) if c.isdigit()]
    doubled = [d if place % 2 == 0 else 2 * d - 9 * (d > 4) for place, d in enumerate(digits)]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _mod_97(found: str) -> bool:
    """ISO 13616: an IBAN, its first four characters put last, is 1 modulo 97."""
    plain = "".join(found.split())
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")


def _phone(found: str) -> bool:
    return not _DATE.fullmatch(found) and 8 <= sum(c.isdigit() for c in found) <= 15


_KINDS: dict[str, tuple[str, Callable[[str], bool] | None]] = {
    "email": (r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}", None),
    "iban": (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _mod_97),
    "card": (r"\b\d(?:[ -]?\d){12,18}\b", _luhn),
    "phone": (r"(?:\+\d|\b0\d)(?:[ ()./-]{0,3}\d){6,13}\b", _phone),
    "national_insurance": (r"\b[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]\b", None),
    "ip": (r"\b(?:\d{1,3}\.){3}\d{1,3}\b", None),
}
KINDS = tuple(_KINDS)
"""Names of what is known, in the order in which it is looked for; a text shows `[email]` in its place."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}", re.ASCII)
MAX_PATTERN = 500
"""Characters of a pattern of one's own."""


class Redactor:
    """Takes kinds, and patterns of one's own by name, out of texts."""

    def __init__(self, kinds: Iterable[str], own: Mapping[str, str] = {}) -> None:
        """Raises ValueError for a name that is not known, and for a pattern that is none."""
        wanted = list(kinds)
        if unknown := [kind for kind in wanted if kind not in _KINDS]:
            raise ValueError(f"{unknown[0][:60]!r} is not known; expected some of {', '.join(KINDS)}")
        self._steps = [(name, re2.compile(_KINDS[name][0]), _KINDS[name][1]) for name in KINDS if name in wanted]
        self._only_known = not own
        options = re2.Options()
        options.log_errors = False
        for name, pattern in own.items():
            if not _NAME.fullmatch(name) or name in _KINDS:
                raise ValueError(
                    f"{name[:60]!r} is no name for a pattern: lower case, and not one of {', '.join(KINDS)}"
                )
            if len(pattern) > MAX_PATTERN:
                raise ValueError(f"{name}: {len(pattern)} characters; at most {MAX_PATTERN}")
            try:
                compiled = re2.compile(pattern, options)
            except re2.error as error:
                raise ValueError(f"{name}: {error}; patterns are RE2's") from None
            if compiled.fullmatch(""):
                raise ValueError(f"{name}: it matches nothing at all, and so everywhere")
            self._steps.append((name, compiled, None))

    def __call__(self, text: str) -> str:
        """*text* with `[kind]` in the place of each."""
        if self._only_known and not _SUSPECT.search(text):
            return text
        for name, pattern, check in self._steps:
            mask = f"[{name}]"
            if check is None:
                text = pattern.sub(lambda _, mask=mask: mask, text)
            else:
                text = pattern.sub(lambda m, mask=mask, check=check: mask if check(m.group()) else m.group(), text)
        return text


_SUSPECT = re.compile(r"[@0-9]")
"""Without one of these nothing that is known by itself can be in a text; most have none."""
