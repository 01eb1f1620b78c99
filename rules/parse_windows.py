"""The rules of a set that have a `window`: read and checked. The format is told in `docs/windows.md`.

Conditions and case are read as an ordinary rule's are (`parse_rules.py`); here is what is counted, by what, and how.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from feedback.instants import parse_span
from rules.facts import Vocabulary
from rules.kinds import Absence, Change, Count, Kind, NewValue, Role, Sequence, Share, Spike, Window
from rules.parse_rules import RuleReader, has_window
from rules.problems import one_of
from rules.ruleset import Rule, WindowRule
from rules.yaml import Sheet, YamlNode, plain

DAY_S = 86_400
MAX_WITHIN_S = 92 * DAY_S
"""A quarter. A window of a year is a report, not an alarm, and its memory has no bound worth the name."""
MAX_LATE_S = 7 * DAY_S
MAX_KEEP_S = 366 * DAY_S
MAX_IDS, MAX_KEYS = 10_000, 1_000_000
_RULE_KEYS = ("id", "title", "when", "only", "window", "mutes", "case")
_COMMON = ("kind", "by", "ancestors", "late", "open_after", "stay_open", "keep", "ids", "keys")
_OWN: Mapping[str, tuple[str, ...]] = {
    "count": ("count", "within"),
    "rate": ("per_hour", "within"),
    "share": ("part", "share", "at_least", "within", "last"),
    "spike": ("within", "at_least", "factor", "z", "weeks", "learn"),
    "absence": ("longer_than", "times", "history", "gaps"),
    "new_value": ("value", "learn"),
    "change": ("score", "falls", "rises", "within"),
    "sequence": ("then", "without", "within"),
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "count": ("count", "within"),
    "rate": ("per_hour", "within"),
    "share": ("part", "share", "at_least"),
    "spike": ("within", "at_least"),
    "new_value": ("value",),
    "change": ("score", "within"),
    "sequence": ("within",),
}
_IN_ID = ("kind", "by", "ancestors", "within", "last", "part", "value", "score", "then", "without")
"""What state depends on: an edit of any of these begins the window anew, an edit of anything else keeps it."""
_BY = ("none", "programme", "theme", "customer")
_ATTRIBUTES = ("site", "product", "agent")
"""Short for `attributes.<name>`."""


def read_windows(
    reader: RuleReader, sheet: Sheet, words: Vocabulary, node: YamlNode | None, set_name: str, zone: str
) -> tuple[WindowRule, ...]:
    """The rules with memory below *node*, the list of all the rules of a set, once *reader* has read the others."""
    found = []
    muting: dict[str, tuple[YamlNode, tuple[str, ...]]] = {}
    for member in sheet.list(node):
        if has_window(member):
            one = _Reader(reader, sheet, words, member, set_name, zone)
            found.append(one.read())
            muting.update(one.muting)
    _check_muting(sheet, muting)
    return tuple(found)


def _check_muting(sheet: Sheet, muting: Mapping[str, tuple[YamlNode, tuple[str, ...]]]) -> None:
    """A rule that mutes itself, by itself or by way of others, would never be heard again."""
    for name, (node, _) in muting.items():
        reached: set[str] = set()
        ways = [name]
        while ways:
            for muted in muting.get(ways.pop(), (node, ()))[1]:
                if muted not in reached:
                    reached.add(muted)
                    ways.append(muted)
        if name in reached:
            sheet.problem(node, f"the rule {name}, which mutes itself", "other rules, and no way back")


class _Reader:
    """One rule with memory."""

    def __init__(
        self, reader: RuleReader, sheet: Sheet, words: Vocabulary, node: YamlNode, set_name: str, zone: str
    ) -> None:
        self._reader, self._sheet, self._words = reader, sheet, words
        self._node, self._set, self._zone = node, set_name, zone
        self._fields = sheet.map(node, _RULE_KEYS, ("id", "window", "case"))
        self.muting: dict[str, tuple[YamlNode, tuple[str, ...]]] = {}

    def read(self) -> WindowRule:
        sheet, fields = self._sheet, self._fields
        written = sheet.map(fields["window"], None)
        name = sheet.choice(written.get("kind"), {name: name for name in _OWN}, "")
        if name or "kind" not in written:
            known, needed = (*_COMMON, *_OWN.get(name, ())), ("kind", "by", *_NEEDED.get(name, ()))
            written = sheet.map(fields["window"], known if name else None, needed)
        case = self._reader.case(fields.get("case"))
        counts = self._reader.asking(self._node, fields, fields.get("when"), case)
        other = self._other(counts, written)
        asks: tuple[tuple[Role, Rule], ...] = ((Role.COUNTS, counts),)
        if name == "sequence" and other is not None:
            asks = ((Role.FIRST, counts), (Role.THEN, other))
        ids = self._whole(written.get("ids"), 1, MAX_IDS, 1000)
        kind = self._kind(name, written, ids)
        usual_stay = min(getattr(kind, "within_s", 0) or DAY_S, DAY_S)
        window = Window(
            rule=counts.id,
            version=counts.version,
            title=counts.title,
            id=self._id(counts.id, written),
            by=self._by(written.get("by")),
            ancestors=sheet.flag(written.get("ancestors")),
            kind=kind,
            late_s=self._span(written.get("late"), 0, MAX_LATE_S, 600),
            open_after=self._whole(written.get("open_after"), 1, 1000, 1),
            stay_open_s=self._span(written.get("stay_open"), 1, MAX_WITHIN_S, usual_stay),
            keep_s=self._span(written.get("keep"), DAY_S, MAX_KEEP_S, 90 * DAY_S),
            max_ids=ids,
            max_keys=self._whole(written.get("keys"), 1, MAX_KEYS, 10_000),
        )
        self._check(name, window, written)
        return WindowRule(
            window=window,
            asks=asks,
            part=other if name == "share" else None,
            case=case,
            mutes=self._mutes(counts.id, fields.get("mutes")),
        )

    def _other(self, counts: Rule, written: Mapping[str, YamlNode]) -> Rule | None:
        """The second conditions: the part of a share, the end of a sequence."""
        node = written.get("part") or written.get("then") or written.get("without")
        if node is None:
            return None
        names: dict[str, YamlNode] = {key: own for key, own in self._fields.items() if key in ("id", "title")}
        other = self._reader.asking(self._node, names, node, counts.case)
        other.sites, other.segments = counts.sites, counts.segments
        return other

    def _id(self, rule: str, written: Mapping[str, YamlNode]) -> str:
        kept: dict[str, Any] = {key: plain(written[key]) for key in _IN_ID if key in written}
        kept |= {key: plain(self._fields[key]) for key in ("when", "only") if key in self._fields}
        text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
        return f"{self._set}/{rule}/{blake2b(text.encode(), digest_size=4).hexdigest()}"

    def _by(self, node: YamlNode | None) -> str:
        by = self._sheet.text(node, "none")
        path = f"attributes.{by}" if by in _ATTRIBUTES else by
        if by not in _BY and (path not in self._words.kinds or not path.startswith("attributes.")):
            known = [k.removeprefix("attributes.") for k in self._words.kinds if k.startswith("attributes.")]
            names = [*_BY, *(k if k in _ATTRIBUTES else f"attributes.{k}" for k in known)]
            assert node is not None
            self._sheet.problem(node, f"by {by}", one_of(names, by))
        return path

    def _mutes(self, rule: str, node: YamlNode | None) -> tuple[str, ...]:
        muted = self._sheet.texts(node)
        for name in muted:
            if name not in self._reader.ids and node is not None:
                self._sheet.problem(node, f"the rule {name}", one_of(self._reader.ids, name))
        if node is not None:
            self.muting[rule] = (node, muted)
        return muted

    # -- the kinds --------------------------------------------------------------------------------------------

    def _kind(self, name: str, w: Mapping[str, YamlNode], ids: int) -> Kind:
        within = self._span(w.get("within"), 1, MAX_WITHIN_S, 3600)
        match name:
            case "count":
                return Count(within_s=within, count=self._whole(w.get("count"), 1, ids, 1))
            case "rate":
                return Count(within_s=within, per_hour=self._number(w.get("per_hour"), 0, 1e6, 1.0))
            case "share":
                self._either(w, "within", "last")
                return Share(
                    share=self._sheet.read(w.get("share"), _share, 0.5, "a share above 0% and up to 100%"),
                    at_least=self._whole(w.get("at_least"), 1, ids, 1),
                    within_s=within if "within" in w else 0,
                    last=self._whole(w.get("last"), 1, ids, 50) if "within" not in w else 0,
                )
            case "spike":
                return Spike(
                    within_s=within,
                    at_least=self._whole(w.get("at_least"), 1, 1_000_000, 1),
                    factor=self._number(w.get("factor"), 1, 1000, 3.0),
                    z=self._number(w.get("z"), 0, 100, 3.0),
                    weeks=self._whole(w.get("weeks"), 2, 26, 8),
                    learn_s=self._span(w.get("learn"), 3 * DAY_S, MAX_WITHIN_S, 14 * DAY_S),
                    zone=self._zone,
                )
            case "absence":
                self._either(w, "longer_than", "times")
                return Absence(
                    longer_than_s=self._span(w.get("longer_than"), 1, MAX_WITHIN_S, 0),
                    times=self._number(w.get("times"), 0, 100, 0.0),
                    history=self._whole(w.get("history"), 2, ids - 1, 20),
                    gaps=self._whole(w.get("gaps"), 2, ids - 1, min(100, ids - 1)),
                )
            case "new_value":
                learn = self._span(w.get("learn"), 1, MAX_WITHIN_S, 14 * DAY_S)
                return NewValue(path=self._path(w.get("value"), ("text", "list")), learn_s=learn)
            case "change":
                self._either(w, "falls", "rises")
                by = self._number(w.get("falls") or w.get("rises"), 0, 1e9, 1.0)
                path = self._path(w.get("score"), ("number",))
                return Change(path=path, by=by, within_s=within, rises="rises" in w)
            case "sequence":
                self._either(w, "then", "without")
                return Sequence(within_s=within, without="without" in w)
        return Kind()

    def _check(self, name: str, window: Window, w: Mapping[str, YamlNode]) -> None:
        """What can only be told of several settings together."""
        kind, sheet = window.kind, self._sheet
        if isinstance(kind, Spike) and DAY_S % kind.within_s and "within" in w:
            sheet.problem(w["within"], sheet.text(w["within"]), "a span that divides a day, like 15m, 1h or 1d")
        if isinstance(kind, Spike) and kind.learn_s > kind.weeks * 7 * DAY_S and "learn" in w:
            sheet.problem(w["learn"], sheet.text(w["learn"]), f"at most the {kind.weeks} weeks that are remembered")
        if isinstance(kind, Share) and kind.last and kind.at_least > kind.last:
            sheet.problem(w["at_least"], f"at least {kind.at_least} of the last {kind.last}", f"at most {kind.last}")
        if isinstance(kind, Count) and kind.needed > window.max_ids and "per_hour" in w:
            expected = f"no more than the {window.max_ids} responses that are remembered (ids)"
            sheet.problem(w["per_hour"], f"{kind.needed} responses to a window", expected)
        if isinstance(kind, Absence) and kind.history > kind.gaps:
            node = w.get("history") or w.get("gaps") or self._node
            sheet.problem(node, f"a history of {kind.history} of {kind.gaps} silences", f"at most {kind.gaps}")
        if isinstance(kind, Absence) and kind.longer_than_s >= window.keep_s:
            sheet.problem(w["longer_than"], sheet.text(w["longer_than"]), "less than `keep`, when it is forgotten")
        if not kind.lingers:
            for key in ("open_after", "stay_open"):
                if key in w:
                    sheet.problem(w[key], f"{key} on {name}", "nothing: it ends with the next response")
        if window.ancestors and window.by != "theme":
            sheet.problem(w["ancestors"], f"ancestors by {window.by}", "by: theme")

    def _either(self, w: Mapping[str, YamlNode], one: str, other: str) -> None:
        if (one in w) == (other in w):
            found = f"{one} and {other}" if one in w else f"neither {one} nor {other}"
            self._sheet.problem(self._fields["window"], found, f"one of {one} and {other}")

    def _path(self, node: YamlNode | None, kinds: tuple[str, ...]) -> str:
        path = self._sheet.text(node)
        if node is not None and self._words.kinds.get(path) not in kinds:
            known = [k for k, kind in self._words.kinds.items() if kind in kinds and k != "text"]
            self._sheet.problem(node, path, one_of(known, path))
        return path

    # -- numbers ----------------------------------------------------------------------------------------------

    def _span(self, node: YamlNode | None, low: int, high: int, default: int) -> int:
        def how(text: str) -> int:
            return _within(0 if low == 0 and text.strip() in ("0", "0s") else parse_span(text), low, high)

        return self._sheet.read(node, how, default, f"a span from {_words(low)} to {_words(high)}")

    def _whole(self, node: YamlNode | None, low: int, high: int, default: int) -> int:
        return self._sheet.read(
            node, lambda text: _within(int(text), low, high), default, f"a whole number from {low} to {high}"
        )

    def _number(self, node: YamlNode | None, above: float, high: float, default: float) -> float:
        def how(text: str) -> float:
            number = float(text)
            if not above < number <= high:
                raise ValueError(text)
            return number

        return self._sheet.read(node, how, default, f"a number above {above:g}, at most {high:g}")


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise ValueError(str(number))
    return number


def _words(seconds: int) -> str:
    return f"{seconds // DAY_S}d" if seconds and seconds % DAY_S == 0 else f"{seconds}s"


def _share(text: str) -> float:
    """`40%` or `0.4`. Raises ValueError."""
    share = float(text.strip()[:-1]) / 100 if text.strip().endswith("%") else float(text)
    if not 0 < share <= 1:
        raise ValueError(text)
    return share
