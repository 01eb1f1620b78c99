"""A CSV of somebody else's, read: which column is the text, which says what of it, and in which order it was said.

What is guessed is told, and each guess can be overruled by an argument of `bench_quality.py`. Only that reads this.
"""

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec

from scoring.language import detector
from scoring.learned import Context
from scoring.taxonomy import fold
from scoring.vader import vader

TEXT = ("text", "comment", "comments", "review", "review_text", "reviewtext", "verbatim", "narrative", "content",
        "body", "feedback", "message", "tweet", "sentence", "description", "answer", "response")  # fmt: skip
SCORE = ("score", "stars", "star", "rating", "star_rating", "overall", "nps", "csat", "ces", "nps_score", "points",
         "recommend", "recommendation", "likelihood_to_recommend", "satisfaction", "note", "bewertung")  # fmt: skip
LABEL = ("label", "sentiment", "criticality", "polarity", "airline_sentiment", "class", "target")
THEMES = ("theme", "themes", "topics", "topic", "tags", "categories", "category", "labels")
TIME = ("timestamp", "occurred_at", "date", "time", "datetime", "created_at", "created", "submitted_at",
        "review_date", "reviewtime", "unixreviewtime", "posted_at", "at", "datum")  # fmt: skip
_NUMBER = re.compile(r"\s*(-?\d+(?:[.,]\d+)?)\s*(?:/\s*\d+|stars?|points?|sterne?|étoiles?|estrellas?|★+)?\s*", re.I)
_NEGATIVE = re.compile(
    r"(very |extremely |strongly |mostly )?(neg(ative)?|bad|poor|angry|detractor|dissatisfied|unhappy|complaint)", re.I
)
_POSITIVE = re.compile(
    r"(very |extremely |strongly |mostly )?(pos(itive)?|good|great|happy|promoter|satisfied|praise)", re.I
)
_MANY_LANGUAGES = 0.1
"""Of the texts: a language with less is taken for the commonest one's slips."""
_SAMPLE = 500
_HAIR = 1e-9


class Unreadable(Exception):
    """A file, or an argument about it, that nothing can be measured on. Whose turn: the caller's."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """By argument, else by name; empty for what there is not."""

    text: str
    score: str
    label: str
    themes: str
    time: str
    question: str
    channel: str


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is negative, by one column."""

    column: str
    rule: str
    """As told: "2 or less of 1 to 5 stars"."""
    truths: list[bool | None]
    """By row; None where it does not say."""


def lines(path: Path) -> list[dict[str, str]]:
    """The rows, whatever the separator and whether gzipped; no text is None."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    csv.field_size_limit(1 << 24)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    first = text[: text.find("\n")] if "\n" in text else text
    separator = max(",;\t|", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    return [{name: value or "" for name, value in row.items() if isinstance(name, str)} for row in rows]


def column(header: Sequence[str], given: str, guesses: Sequence[str]) -> str:
    """The column *given*, else the first whose name is guessed; empty when there is none."""
    if given:
        return given if given in header else ""
    known = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in header}
    return next((known[guess] for guess in guesses if guess in known), "")


def columns_of(rows: Sequence[dict[str, str]], given: Callable[[str], str]) -> Columns:
    """The columns of *rows*, each as *given* by argument or guessed. Raises Unreadable for one that is not there."""
    header = list(rows[0]) if rows else []
    for asked in ("text", "score", "label", "themes", "time", "question", "channel"):
        if given(asked) and given(asked) not in header:
            raise Unreadable(f"no column {given(asked)!r} for the {asked}; there are {', '.join(header)}")
    text = column(header, given("text"), TEXT) or _longest_text(rows, header)
    score = column(header, given("score"), SCORE)
    label = column(header, given("label"), LABEL)
    if not given("score"):
        score = _first(header, score, SCORE, lambda name: _numbers(rows, name) >= 0.5)
    if not given("label"):
        label = _first(header, label, LABEL, lambda name: name != text and _is_label(rows, name))
    return Columns(
        text=text, score=score, label="" if label == score and not given("label") else label,
        themes=column([name for name in header if name not in (text, label)], given("themes"), THEMES),
        time=column(header, given("time"), TIME),
        question=column(header, given("question"), ("question",)),
        channel=column(header, given("channel"), ("channel", "source", "touchpoint")),
    )  # fmt: skip


def _first(header: Sequence[str], found: str, guesses: Sequence[str], fits: Callable[[str], bool]) -> str:
    """*found* when it fits, else the next column of a guessed name that does."""
    if found and fits(found):
        return found
    left = [name for name in header if name != found]
    other = column(left, "", guesses)
    return _first(left, other, guesses, fits) if other else ""


def _longest_text(rows: Sequence[dict[str, str]], header: Sequence[str]) -> str:
    """The column with the most words in it; empty when none has three a row."""
    sample = rows[:_SAMPLE]
    words = {name: sum(len(row[name].split()) for row in sample) for name in header}
    most = max(words, key=words.__getitem__, default="")
    return most if most and words[most] >= 3 * len(sample) else ""


def number(cell: str) -> float | None:
    """The number of a cell: `4`, `4.0`, `4,5`, `4/5`, `4 stars`; None for anything else."""
    match = _NUMBER.fullmatch(cell)
    return float(match[1].replace(",", ".")) if match else None


def _numbers(rows: Sequence[dict[str, str]], name: str) -> float:
    """The share of the filled cells of a column that are numbers."""
    filled = [row[name] for row in rows if row[name].strip()]
    return sum(number(cell) is not None for cell in filled) / len(filled) if filled else 0.0


def _is_label(rows: Sequence[dict[str, str]], name: str) -> bool:
    if _numbers(rows, name) >= 0.5:
        return True
    filled = [row[name] for row in rows if row[name].strip()]
    return any(_NEGATIVE.fullmatch(cell.strip()) for cell in filled)


def target(rows: Sequence[dict[str, str]], name: str, text: str, negative: str = "") -> Target:
    """Which rows are negative by the column *name*; *negative* is a rule like `<=2`, `>=4`, or values with commas.

    Without one: words by their meaning; a number by its scale, the low end of it, or the high end when VADER finds
    the texts there the worse ones. Raises Unreadable when neither is known.
    """
    cells = [row[name].strip() for row in rows]
    values = [number(cell) for cell in cells]
    if negative:
        return _by_rule(name, cells, values, negative)
    known = [value for value in values if value is not None]
    if len(known) * 2 < sum(map(bool, cells)):
        said = [True if _NEGATIVE.fullmatch(cell) else False if cell else None for cell in cells]
        if not any(said):
            raise Unreadable(f"no cell of {name!r} says negative in words known here; give --negative=VALUE,VALUE")
        has_positive = any(_POSITIVE.fullmatch(cell) for cell in cells)
        return Target(column=name, rule="says negative" + ("" if has_positive else ", else not"), truths=said)
    if not known:
        raise Unreadable(f"{name!r} is empty")
    low, high, scale = _scale(name, known)
    if _high_is_bad(rows, values, text):
        told = "above zero" if high == _HAIR else f"{high:g} or more"
        return Target(column=name, rule=f"{told} of {scale}", truths=_marked(values, lambda v: v >= high))
    told = "below zero" if low == -_HAIR else f"{low:g} or less"
    return Target(column=name, rule=f"{told} of {scale}", truths=_marked(values, lambda v: v <= low))


def _scale(name: str, known: Sequence[float]) -> tuple[float, float, str]:
    """The negative end of a column's scale: up to which, or from which when high is bad; and what it is called."""
    least, most = min(known), max(known)
    title = name.lower()
    if "nps" in title or "recommend" in title:
        return 6, 9, "NPS 0 to 10"
    if least < 0:
        return -_HAIR, _HAIR, f"a scale either side of zero, {least:g} to {most:g}"
    if set(known) <= {0.0, 1.0}:
        return 0, 1, "0 and 1"
    if set(known) <= {0.0, 1.0, 2.0}:
        return 0, 2, "0 to 2"
    if most <= 1:
        return 0.4, 0.6, "0 to 1"
    if most <= 3 and least >= 1 and "star" not in title:
        return 1, 3, "1 to 3"
    if most <= 5:
        return 2, 4, "1 to 5 stars"
    if most <= 7 and least >= 1:
        return 3, 5, "1 to 7"
    if most <= 10:
        return (6, 9, "NPS 0 to 10") if least < 1 else (4, 7, "1 to 10")
    return 0.4 * 100, 0.6 * 100, "0 to 100"


def _high_is_bad(rows: Sequence[dict[str, str]], values: Sequence[float | None], text: str) -> bool:
    """Whether VADER finds the texts of high values the worse ones, and not by a hair."""
    pairs = [(v, vader().score(row[text]).compound) for row, v in zip(rows, values, strict=True) if v is not None]
    count = len(pairs)
    mean_value, mean_mood = (sum(column) / count for column in zip(*pairs, strict=True))
    both = sum((v - mean_value) * (mood - mean_mood) for v, mood in pairs)
    spread = sum((v - mean_value) ** 2 for v, _ in pairs) * sum((mood - mean_mood) ** 2 for _, mood in pairs)
    return bool(spread) and both / spread**0.5 < -0.1


def _marked(values: Sequence[float | None], negative: Callable[[float], bool]) -> list[bool | None]:
    return [None if value is None else negative(value) for value in values]


def _by_rule(name: str, cells: Sequence[str], values: Sequence[float | None], rule: str) -> Target:
    match = re.fullmatch(r"(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)", rule.strip())
    if match:
        edge = float(match[2])
        compare: dict[str, Callable[[float], bool]] = {
            "<=": lambda v: v <= edge, ">=": lambda v: v >= edge, "<": lambda v: v < edge, ">": lambda v: v > edge,
        }  # fmt: skip
        return Target(column=name, rule=rule, truths=_marked(values, compare[match[1]]))
    wanted = {value.strip().lower() for value in rule.split(",")}
    return Target(column=name, rule=rule, truths=[cell.lower() in wanted if cell else None for cell in cells])


def in_order(rows: list[dict[str, str]], name: str) -> tuple[list[dict[str, str]], str]:
    """The rows by time, and how that was told; as they stand in the file where no way of writing dates fits."""
    cells = [row[name].strip() for row in rows] if name else []
    filled = [cell for cell in cells if cell]
    if not filled:
        return rows, "order of the file"
    for told, read in _DATES:
        read_cells = [_read_date(read, cell) for cell in filled[:_SAMPLE]]
        if sum(at is not None for at in read_cells) < 0.95 * len(read_cells):
            continue
        keys = []
        last = -float("inf")
        for cell in cells:
            at = _read_date(read, cell) if cell else None
            last = last if at is None else at
            keys.append(last)  # a row without a date stays behind the one before it
        order = sorted(range(len(rows)), key=keys.__getitem__)
        return [rows[n] for n in order], f"order of {name} ({told})"
    return rows, f"order of the file; the dates of {name} are not readable"


def _read_date(read: Callable[[str], float], cell: str) -> float | None:
    try:
        return read(cell)
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return None


def _iso(cell: str) -> float:
    at = datetime.fromisoformat(cell)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _epoch(cell: str) -> float:
    seconds = float(cell)
    if not 1e8 < seconds < 1e14:
        raise ValueError(cell)
    return seconds / 1000 if seconds > 1e11 else seconds


def _written(layout: str) -> Callable[[str], float]:
    return lambda cell: datetime.strptime(cell, layout).replace(tzinfo=UTC).timestamp()


_LAYOUTS = ("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d",
            "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%B %Y", "%b %Y",
            "%Y-%m")  # fmt: skip
_DATES: list[tuple[str, Callable[[str], float]]] = [
    ("ISO 8601", _iso),
    ("seconds since 1970", _epoch),
    *((layout + clock, _written(layout + clock)) for layout in _LAYOUTS for clock in ("", " %H:%M", " %H:%M:%S")),
    ("%a %b %d %H:%M:%S %z %Y", _written("%a %b %d %H:%M:%S %z %Y")),
    ("RFC 2822", lambda cell: parsedate_to_datetime(cell).timestamp()),
]
"""Day before month where both fit: these are British readers' files."""


def languages(texts: Sequence[str], given: str) -> list[str]:
    """The language of each text: *given*, else as detected where enough are in it, else the commonest."""
    if given:
        return [given] * len(texts)
    found = [detector().detect(fold(text)) for text in texts]
    counts = Counter(language for language in found if language)
    if not counts:
        return ["en"] * len(texts)
    common = {language for language, count in counts.items() if count >= _MANY_LANGUAGES * len(texts)}
    most = counts.most_common(1)[0][0]
    return [language if language in common else most for language in found]


def contexts(rows: Sequence[dict[str, str]], columns: Columns, programme: str, language: str) -> list[Context]:
    spoken = languages([row[columns.text] for row in rows], language)
    return [
        Context(
            programme=programme, language=spoken[n],
            channel=row[columns.channel] if columns.channel else "",
            question=row[columns.question] if columns.question else "",
        )
        for n, row in enumerate(rows)
    ]  # fmt: skip


def themes_of(cell: str) -> frozenset[str]:
    """The themes of a cell, which bars, semicolons or commas part; a comma only where neither of the others is."""
    separator = next((one for one in ("|", ";") if one in cell), None)
    if separator is None:
        separator = "," if not re.search(r",\s", cell) else "\0"
    return frozenset(part.strip() for part in cell.split(separator) if part.strip())
