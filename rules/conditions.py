"""One line of a condition: a CEL expression that yields true or false about one response.

The language is CEL (cel.dev/spec), so nobody's code runs. Most lines that people write compare one named thing
with a constant, and those are worked out here without CEL at a twentieth of the cost; a property test holds the
two to the same answers. Everything else goes to CEL, on one context for all the lines of a response.

A line that asks for something absent is *unknown*: neither true nor false, and no error.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

import cel

from rules.facts import LISTS, MAPS, RISK, Facts, Vocabulary
from rules.problems import one_of, shown

MAX_LENGTH = 2048
MAX_DEPTH = 32
"""The parser recurses, and a hundred thousand parentheses end the process."""
FUNCTIONS = frozenset(
    {
        "size",
        "has",
        "contains",
        "startsWith",
        "endsWith",
        "exists",
        "exists_one",
        "all",
        "filter",
        "double",
        "string",
    }
)

_TEXT = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_TOKEN = re.compile(rf"({_TEXT})|([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\s*\()?|(.)", re.DOTALL)
_PATH = r"([a-z_]\w*(?:\.\w+)?)"
_NUMBER = r"-?\d+(?:\.\d+)?"
_PLAIN_TEXT = r"\"([^\"\\]*)\"|'([^'\\]*)'"
_COMPARE = re.compile(rf"\s*{_PATH}\s*(==|!=|<=|>=|<|>)\s*(?:({_NUMBER})|{_PLAIN_TEXT}|(true|false))\s*")
_MEMBER = re.compile(rf"\s*(?:{_PLAIN_TEXT})\s+in\s+(themes|intents|suggested)\s*")
_ONE_OF = re.compile(rf"\s*{_PATH}\s+in\s+\[\s*((?:{_PLAIN_TEXT})(?:\s*,\s*(?:{_PLAIN_TEXT}))*)\s*\]\s*")
_FLAG = re.compile(r"\s*(!?)\s*((?:match|attributes)\.\w+)\s*")
_SIZE = re.compile(r"\s*size\((text|staff)\)\s*(==|!=|<=|>=|<|>)\s*(\d+)\s*")
_HAS = re.compile(r"\s*(!?)\s*has\(\s*((?:scores|bands|attributes|sentiment)\.\w+)\s*\)\s*")
_CONTAINS = re.compile(rf"\s*(text|staff)\.contains\(\s*(?:{_PLAIN_TEXT})\s*\)\s*")
_AND = re.compile(rf"(?:{_TEXT}|[^\"'&|?:])+(?:&&(?:{_TEXT}|[^\"'&|?:])+)+")
_PART = re.compile(rf"(?:{_TEXT}|[^\"'&])+")
_MACRO = re.compile(r"\.(?:exists|exists_one|all|filter|map)\(\s*([A-Za-z_]\w*)\s*,")

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_OPEN_ATTRIBUTES = frozenset({"site", "segment", "product", "agent"})
"""Attributes that tell of us and not of the customer: rosters and windows go by them."""


def _may_be_personal(path: str) -> bool:
    root, _, name = path.partition(".")
    return root in ("customer", "staff") or (root == "attributes" and name not in _OPEN_ATTRIBUTES)


Feature = tuple[str, str]
"""(what, value) that a response must have for a line to be true: the key of the index in `judge.py`."""


Native = Callable[[Facts], "bool | None"]
"""Works a line out; None when the values' types are such that CEL should say what is wrong with them."""


class Unknown(Exception):
    """The line asks for something that this response does not have."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class LineError(Exception):
    """The line could not be worked out; says why, without the response's words."""


class Line:
    """One expression, compiled. `features` is empty when nothing cheap follows from its being true."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.paths, self.functions = names_in(source)
        self.features: tuple[Feature, ...] = ()
        self._program: Any = None
        self._native = self._compile_native()
        self.roots: frozenset[str] = frozenset()
        """The names, up to their first dot, that CEL must be given; none for a line that is worked out without it."""
        if self._native is None:
            self._program = cel.compile(source)
            self.roots = frozenset(path.partition(".")[0] for path in self.paths)

    def holds(self, facts: Facts, context: Callable[[bool], Any]) -> bool:
        """Whether it is true of *facts*. Raises Unknown or LineError.

        *context* gives the shared CEL context: the whole of it when asked with True, else at least all `roots`.
        """
        if self._native is not None:
            answer = self._native(facts)
            if answer is not None:
                return answer
        return self._by_cel(facts, context(self._native is not None))

    def _by_cel(self, facts: Facts, context: Any) -> bool:
        if self._program is None:
            self._program = cel.compile(self.source)
        try:
            answer = self._program.execute(context)
        except Exception as error:
            for path in self.paths:
                if path not in MAPS and facts.get(path) is None:
                    raise Unknown(path) from None
            raise LineError(f"{type(error).__name__}: {str(error).splitlines()[0][:120]}") from None
        if not isinstance(answer, bool):
            raise LineError(f"the result is {type(answer).__name__}, not true or false")
        return answer

    def plainly(self, facts: Facts, context: Any) -> bool:
        """As `holds`, through CEL alone: the oracle of the tests, and of nothing else."""
        return self._by_cel(facts, context)

    def seen(self, facts: Facts, *, whole: bool = False) -> str:
        """The line and the values it saw; of what may be personal only its length, unless *whole*: this is kept."""
        values = []
        for path in self.paths:
            value = facts.get(path)
            if path in MAPS:
                continue
            if path == "text":
                values.append(f"text of {len(value or '')} characters")
            elif value is None:
                values.append(f"no {path}")
            elif path == RISK:
                values.append(facts.risk_told())
            elif isinstance(value, str) and not whole and _may_be_personal(path):
                values.append(f"{path} of {len(value)} characters")
            elif isinstance(value, tuple):
                values.append(f"{path} = {', '.join(value) or 'none'}")
            else:
                values.append(f"{path} = {value:g}" if isinstance(value, float) else f"{path} = {value}")
        return f"{self.source} ({'; '.join(values)})" if values else self.source

    # -- the shapes that need no CEL ------------------------------------------------------------------------

    def _compile_native(self) -> Native | None:
        source = self.source
        if "&&" in source and _AND.fullmatch(source):
            return self._compile_all([Line(part) for part in _PART.findall(source)])
        if match := _COMPARE.fullmatch(source):
            return self._compile_compare(*match.groups())
        if match := _MEMBER.fullmatch(source):
            wanted = match[1] if match[1] is not None else match[2]
            self.features = ((match[3], wanted),)
            return _member(match[3], wanted)
        if match := _ONE_OF.fullmatch(source):
            path = match[1]
            if path in LISTS or path in MAPS:
                return None
            members = frozenset(a or b for a, b in re.findall(_PLAIN_TEXT, match[2]))
            self.features = tuple((path, member) for member in sorted(members))
            return _one_of(path, members)
        if match := _FLAG.fullmatch(source):
            return _flag(match[2], bool(match[1]))
        if match := _SIZE.fullmatch(source):
            return _size(match[1], _OPERATORS[match[2]], int(match[3]))
        if match := _HAS.fullmatch(source):
            return _has(match[2], bool(match[1]))
        if match := _CONTAINS.fullmatch(source):
            return _contains(match[1], match[2] if match[2] is not None else match[3])
        return None

    def _compile_compare(
        self, path: str, sign: str, number: str | None, double: str | None, single: str | None, flag: str | None
    ) -> Native | None:
        if path in LISTS or path in MAPS:
            return None
        if number is not None:
            return _compare_number(path, sign, float(number))
        if sign not in ("==", "!="):
            return None
        if flag is not None:
            return _compare_flag(path, sign, flag == "true")
        text = double if double is not None else single or ""
        if sign == "==":
            self.features = ((path, text),)
        return _compare_text(path, sign, text)

    def _compile_all(self, parts: list["Line"]) -> Native | None:
        """`a && b`, when every part needs no CEL; as in CEL a false part wins over an unknown one."""
        natives = [part._native for part in parts]
        if any(native is None for native in natives):
            return None
        self.features = next((part.features for part in parts if part.features), ())

        def holds(facts: Facts) -> bool | None:
            unknown: Unknown | None = None
            every: bool | None = True
            for native in natives:
                assert native is not None
                try:
                    answer = native(facts)
                except Unknown as error:
                    unknown = error
                    continue
                if answer is False:
                    return False
                if answer is None:
                    every = None
            if unknown is not None:
                raise unknown
            return every

        return holds


def _compare_number(path: str, sign: str, number: float) -> Native:
    compare, ordered = _OPERATORS[sign], sign not in ("==", "!=")

    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if type(value) is float:
            return compare(value, number)
        if value is None:
            raise Unknown(path)
        return None if ordered else sign == "!="  # CEL: things of two types are unequal, and have no order

    return holds


def _compare_text(path: str, sign: str, text: str) -> Native:
    equal = sign == "=="

    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if value is None:
            raise Unknown(path)
        return bool(value == text) is equal

    return holds


def _compare_flag(path: str, sign: str, flag: bool) -> Native:
    equal = sign == "=="

    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if value is None:
            raise Unknown(path)
        return (value is flag) is equal

    return holds


def _member(path: str, wanted: str) -> Native:
    def holds(facts: Facts) -> bool | None:
        return wanted in facts.get(path)

    return holds


def _one_of(path: str, members: frozenset[str]) -> Native:
    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if value is None:
            raise Unknown(path)
        return value in members

    return holds


def _flag(path: str, negated: bool) -> Native:
    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if value is None:
            raise Unknown(path)
        return value is not negated if isinstance(value, bool) else None

    return holds


def _size(path: str, compare: Callable[[Any, Any], bool], number: int) -> Native:
    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if value is None:
            raise Unknown(path)
        return compare(len(value), number)

    return holds


def _has(path: str, negated: bool) -> Native:
    def holds(facts: Facts) -> bool | None:
        return (facts.get(path) is None) is negated

    return holds


def _contains(path: str, wanted: str) -> Native:
    def holds(facts: Facts) -> bool | None:
        value = facts.get(path)
        if value is None:
            raise Unknown(path)
        return wanted in value

    return holds


# -- checks at load ------------------------------------------------------------------------------------------


def names_in(source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(dotted names asked for, functions called) in an expression, in order; a macro's own variable left out."""
    local = set(_MACRO.findall(source))
    paths: dict[str, None] = {}
    functions: dict[str, None] = {}
    method = False
    for text, name, call, other in _TOKEN.findall(source):
        if text or other:
            method = other == "."
            continue
        head, _, last = name.rpartition(".")
        if call:
            functions[last] = None
            name = head
        if method and not call:
            name = ""
        method = False
        if name and name not in ("true", "false", "null", "in") and name.split(".")[0] not in local:
            paths[name] = None
    return tuple(paths), tuple(functions)


def check(source: str, words: Vocabulary) -> list[tuple[str, str]]:
    """(found, expected) for everything wrong with an expression that can be told without a response."""
    if len(source.encode()) > MAX_LENGTH:
        return [(f"an expression of {len(source.encode())} bytes", f"at most {MAX_LENGTH}")]
    if _depth(source) > MAX_DEPTH:
        return [(f"brackets {_depth(source)} deep", f"at most {MAX_DEPTH}")]
    try:
        cel.compile(source)
    except Exception as error:
        return [(f"{shown(source)} ({_first_line(error)})", "a CEL expression")]
    wrong = []
    paths, functions = names_in(source)
    for name in functions:
        if name == "matches":
            wrong.append(("matches()", "a pattern under `patterns:`, asked for as match.<name>"))
        elif name not in FUNCTIONS:
            wrong.append((f"the function {name}()", one_of(FUNCTIONS, name)))
    for path in paths:
        if path not in words.kinds and not words.is_map(path):
            head, _, rest = path.partition(".")
            near = [k for k in words.kinds if k.startswith(head + ".")] if rest and head in MAPS else words.kinds
            wrong.append((f"the unknown name {path}", one_of(near, path)))
    for text, member in re.findall(rf"({_TEXT})\s+in\s+(themes|intents|suggested)\b", source):
        known = words.intents if member == "intents" else words.themes
        if text[1:-1] not in known:
            wrong.append((f"{text} in {member}", one_of(known, text[1:-1])))
    return wrong


def check_result(line: Line, full: Facts, context: Any) -> list[tuple[str, str]]:
    """What goes wrong when *line* is tried on a sample that has everything."""
    try:
        line.plainly(full, context)
    except Unknown as unknown:
        return [(f"{unknown.path}, which no response has", "a declared name")]
    except LineError as error:
        return [(f"{shown(line.source)}: {error}", "an expression that is true or false")]
    return []


def _depth(source: str) -> int:
    deepest = depth = 0
    for char in re.sub(_TEXT, "", source):
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    # Chains of `!` and `-` nest without brackets.
    runs = re.findall(r"(?:[!-]\s*){2,}", source)
    return max([deepest, *(sum(c in "!-" for c in run) for run in runs)])


def _first_line(error: Exception) -> str:
    text = str(error)
    found = re.search(r"ERROR: (?:<input>)?:?(\d+):(\d+): (?:Syntax error: )?([^\n|]*)", text)
    return f"column {found[2]}: {found[3][:80].strip()}" if found else text.splitlines()[0][:100]
