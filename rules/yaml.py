"""YAML with positions: a file as a tree of nodes that know where they stand, and the questions a parser asks.

Every question notes a `Problem` instead of raising, and answers None or a default, so that one reading of a
file finds everything that is wrong with it. Aliases are refused: nobody needs them here, and a few lines of
them can stand for a billion nodes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from rules.problems import Problem, one_of, shown

YamlNode = Node
"""A place in a file; for those who read files and need not know the library."""

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
_PREFIX = "tag:yaml.org,2002:"
_KIND = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "nothing",
    "map": "a map", "seq": "a list", "timestamp": "a date",
}  # fmt: skip

T = TypeVar("T")

_trees: ContextVar[dict[str, Node] | None] = ContextVar("trees", default=None)


@contextmanager
def read_once() -> Iterator[None]:
    """While this is entered, a text that is read again has the tree that it had: several sets share files."""
    token = _trees.set({})
    try:
        yield
    finally:
        _trees.reset(token)


class Sheet:
    """One file while it is read: its name and the problems found so far."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems

    def parse(self, text: str, *, aliases: bool = False) -> Node | None:
        """The root node of *text*; None, with a problem noted, when it is no YAML or says nothing.

        With *aliases* they may be used, as long as what they stand for is of a sane size.
        """
        if len(text) > MAX_BYTES:
            self._note(1, 1, f"{len(text)} characters", f"at most {MAX_BYTES}")
            return None
        trees = _trees.get()
        if trees is not None and (known := trees.get(text)) is not None:
            return known
        try:
            # Without a star there is no alias: half of the time that a file takes.
            for event in YAML(typ="safe", pure=True).parse(text) if "*" in text else ():
                if isinstance(event, AliasEvent) and not aliases:
                    mark = event.start_mark
                    self._note(mark.line + 1, mark.column + 1, f"the alias *{event.anchor}", "the thing itself")
                    return None
            root: Node | None = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            self._note(line, column, f"{error.problem or 'text'} {error.context or ''}".strip(), "YAML")
            return None
        except (YAMLError, ValueError, RecursionError) as error:
            self._note(1, 1, type(error).__name__, "YAML that can be read")
            return None
        if root is None:
            self._note(1, 1, "an empty file", "a map")
        if root is not None and aliases and _is_vast(root):
            self._note(1, 1, f"aliases that stand for more than {MAX_NODES} things", "less")
            return None
        if trees is not None and root is not None:
            trees[text] = root
        return root

    def _note(self, line: int, column: int, found: str, expected: str, warning: bool = False) -> None:
        self.problems.append(Problem(self.file, line, column, found, expected, warning))

    def problem(self, node: Node, found: str, expected: str, *, warning: bool = False) -> None:
        """Note that at *node* there is *found* where *expected* was expected."""
        self._note(node.start_mark.line + 1, node.start_mark.column + 1, found or "nothing", expected, warning)

    # -- questions ----------------------------------------------------------------------------------------

    def map(self, node: Node | None, known: Collection[str] | None, required: Collection[str] = ()) -> dict[str, Node]:
        """The entries of a map; keys that are not *known* (None allows any), double or missing are problems."""
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self.problem(node, kind(node), "a map")
            return {}
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else ""
            if not key:
                self.problem(key_node, kind(key_node), "a name")
            elif key in found:
                self.problem(key_node, f"{key} a second time", "each name once")
            elif known is not None and key not in known:
                self.problem(key_node, f"the unknown name {shown(key)}", one_of(known, key))
            else:
                found[key] = value
        for key in required:
            if key not in found:
                self.problem(node, f"no {key}", f"{key}: …")
        return found

    def list(self, node: Node | None) -> Iterator[Node]:
        """The members of a list; a single text stands for a list of one."""
        if node is None:
            return
        if isinstance(node, SequenceNode):
            yield from node.value
        elif isinstance(node, ScalarNode) and node.tag == _PREFIX + "str":
            yield node
        else:
            self.problem(node, kind(node), "a list")

    def text(self, node: Node | None, default: str = "") -> str:
        """A text; numbers are taken as written."""
        if node is None:
            return default
        if not isinstance(node, ScalarNode) or node.tag == _PREFIX + "null":
            self.problem(node, kind(node), "text")
            return default
        return str(node.value)

    def texts(self, node: Node | None) -> tuple[str, ...]:
        """A list of texts, none empty."""
        return tuple(text for member in self.list(node) if (text := self.text(member).strip()))

    def flag(self, node: Node | None, default: bool = False) -> bool:
        if node is None:
            return default
        if isinstance(node, ScalarNode) and node.tag == _PREFIX + "bool":
            return str(node.value).lower() in ("true", "yes", "on")
        self.problem(node, shown(getattr(node, "value", kind(node))), "true or false")
        return default

    def read(self, node: Node | None, how: Callable[[str], T], default: T, expected: str) -> T:
        """A text read by *how*, which raises ValueError or KeyError for what it does not take."""
        if node is None:
            return default
        text = self.text(node)
        try:
            return how(text)
        except (ValueError, KeyError):
            self.problem(node, shown(text), expected)
            return default

    def choice(self, node: Node | None, of: Mapping[str, T], default: T) -> T:
        """One of the names in *of*."""
        return self.read(node, of.__getitem__, default, one_of(of, self.text(node) if node is not None else ""))


def kind(node: Node) -> str:
    """What *node* is, in a person's words."""
    return _KIND.get(str(node.tag).removeprefix(_PREFIX), "something else")


def plain(node: Node) -> Any:
    """*node* as lists, dicts and the texts of its scalars; for hashing what was written."""
    if isinstance(node, MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [plain(member) for member in node.value]
    return str(node.value)


def value(node: Node) -> Any:
    """*node* as lists, dicts, texts, numbers, flags and None; a date stays the text that was written."""
    if isinstance(node, MappingNode):
        return {str(key.value): value(member) for key, member in node.value}
    if isinstance(node, SequenceNode):
        return [value(member) for member in node.value]
    text, tag = str(node.value), str(node.tag).removeprefix(_PREFIX)
    try:
        if tag == "int":
            return int(text.replace("_", ""), 0)
        if tag == "float":
            return float(text)
    except ValueError:
        return text
    if tag == "bool":
        return text.lower() == "true"
    return None if tag == "null" else text


def _is_vast(root: Node) -> bool:
    """Whether *root*, its aliases spelt out, has more than `MAX_NODES` nodes; also when it contains itself."""
    count, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        count += 1
        if count > MAX_NODES:
            return True
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            waiting += [part for pair in node.value for part in pair]
    return False
