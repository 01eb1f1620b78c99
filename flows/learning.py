"""Learning, beside the flow: a thread that takes what the stream teaches and publishes versions of the models.

Scoring never waits for it: what it has no room for is dropped and counted. What it learned counts only when a
version has been put on the shelf (`models.py`) and announced in the stream, where `hearing.py` takes it up like a
change of rules. So how fast this thread is changes when a version comes, never what a version says of a text.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from connectors.records import RedisError
from feedback.ids import response_key
from feedback.instants import Instant
from feedback.metrics import Metric
from feedback.records import Action, Outcome, Response, Verb
from flows.models import ModelError, ModelShelf
from flows.topics import TopicWatch
from scoring.earned import Standing
from scoring.labels import Allowance, label_of
from scoring.learned import Context, Learner, VersionUnknown
from scoring.learned_themes import ThemeLearner
from scoring.models import context_of, pack, unpack
from scoring.reading import Found, Reading, Sentiment
from scoring.vader import vader

log = structlog.get_logger()

WAITING = 2048
"""Lessons at most; past them new ones are dropped and counted."""
EACH_LABELS = 256
"""Labels between two versions; a model that falls behind is told of at once."""
AT_LEAST_EVERY_S = 30.0
"""Seconds between two versions, at least."""
AT_MOST_EVERY_S = 900.0
"""Seconds after which a single label makes a version, so that what few people correct counts the same hour."""
BEHIND_S = 60.0
"""While the stream is further behind nothing is published: what it reads was received long before any new version."""
REMEMBERED = 16_384
"""Responses whose label was learned: the same again teaches nothing, a changed one once more."""
CUSTOMERS = 4096
"""Whose last text is kept, in memory only, for an outcome to teach by."""
NEGATIVE = {"negative": True, "detractor": True, "positive": False, "neutral": False, "promoter": False}
"""What a correction of the sentiment may say."""
LEFT, STAYED = frozenset({"left", "churned", "cancelled"}), frozenset({"renewed", "stayed", "upgraded"})
_PAUSE_S = 0.2
_AT_ONCE = 8
"""Lessons before the thread lets others go first, for a while:"""
_REST = 9.0
"""times as long as it learned. One interpreter runs both, so that is what learning may cost the flow: a tenth."""


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """What one text teaches."""

    text: str
    context: Context
    sentiment: Sentiment | None
    at: Instant
    sources: dict[str, str]
    """Kind to name, of those whose labels are counted (`scoring/labels.py`)."""
    key: int = 0
    """Of the response; 0 for a label that somebody gave by hand."""
    negative: bool | None = None
    themes: tuple[str, ...] | None = None
    found: tuple[Found, ...] = ()


class Announced(msgspec.Struct, frozen=True):
    """A version on the shelf, and the one that it was learned on from."""

    version: str
    base: str


class _Mark(msgspec.Struct, frozen=True):
    version: str


_What = Lesson | Action | str | _Mark
"""What waits for the thread; a text is the version to begin again from."""


class Teacher:
    """The learners, and when a version is due. Not a thread's business: one caller."""

    def __init__(
        self,
        learner: Learner | None = None,
        themes: ThemeLearner | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.learner, self.themes = learner or Learner(), themes or ThemeLearner()
        self._allowance = allowance or Allowance()
        self._known: dict[int, bool] = {}
        self.labels = 0
        """Learned since the last version."""
        self.fell = False
        """Since the last version, the learned risk lost what say it had somewhere."""

    def take(self, lesson: Lesson) -> str:
        """Learn it; what became of it: `learned`, `known` before, or `limited` by its source's allowance."""
        if lesson.key and lesson.negative is not None:
            if self._known.get(lesson.key) == lesson.negative:
                return "known"
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[lesson.key] = lesson.negative
        if not self._allowance.take(lesson.sources, lesson.at):
            return "limited"
        self.labels += 1
        if lesson.negative is not None:
            where = lesson.context.programme, lesson.context.language
            before = self.learner.standing(*where)
            self.learner.learn(lesson.text, lesson.context, lesson.sentiment, lesson.negative)
            after = self.learner.standing(*where)
            if before is not None and after is not None and before.weight and not after.weight:
                self.fell = True
        if lesson.themes is not None:
            self.themes.learn(lesson.text, lesson.context, lesson.found, lesson.themes)
        return "learned"

    def publish(self) -> tuple[str, bytes]:
        """The version that all was learned up to now makes."""
        self.labels, self.fell = 0, False
        return pack(self.learner, self.themes)


class Learning:
    """The thread and its queue. `heard`, `acted` and `ended` are called by the flow, and return at once."""

    def __init__(
        self,
        shelf: ModelShelf,
        metrics: Mapping[str, Metric],
        case_of: Callable[[str, str], dict[str, Any] | None],
        *,
        every_s: float = AT_LEAST_EVERY_S,
        now: Callable[[], float] = time.time,
        topics: TopicWatch | None = None,
    ) -> None:
        """*case_of* finds the record of a case, for a correction made of it; it may raise RedisError.

        *topics* counts phrases in the same thread.
        """
        self._now, self._topics = now, topics
        self._heard_until = 0.0
        self._rest = _REST
        self._shelf, self._metrics, self._case_of, self._every_s = shelf, metrics, case_of, every_s
        self._waiting: deque[_What] = deque()
        self._last: dict[tuple[str, str], Lesson] = {}
        self.announced: deque[Announced] = deque()
        """Versions on the shelf that the stream is to be told of; `ModelFeed` takes them."""
        self.became = dict.fromkeys(("learned", "known", "limited", "dropped", "lost", "failed"), 0)
        """Lessons by what became of them: `dropped` for want of room, `lost` with the store, `failed` by a mistake."""
        self.allowance = Allowance()
        self._teacher = Teacher(allowance=self.allowance)
        self._version = ""
        self._published_at = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="learning", daemon=True)

    def begin(self, version: str) -> None:
        """Go on from what *version* had learned, and start."""
        self._restart(version)
        if self._topics is not None:
            self._topics.begin()
        self._thread.start()

    def close(self) -> None:
        """Learn what waits, and publish it for the next run."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
            if self._teacher.labels:
                self._publish()
            if self._topics is not None:
                self._topics.work()
                self._topics.write()

    # -- from the flow --------------------------------------------------------------------------------------

    def heard(self, response: Response, reading: Reading) -> None:
        """A response, which teaches by its own scores."""
        self._heard_until = response.arrived
        if reading.unscored == "no_text" or not reading.language:
            return
        if response.history:
            self._wait_for_room()
        if self._topics is not None:
            self._topics.heard(response, reading)
        if len(self._waiting) >= WAITING:
            self.became["dropped"] += 1  # before anything is made of it: there is no time to spare now
            return
        lesson = Lesson(
            text=response.text, context=context_of(response, reading), sentiment=reading.sentiment,
            at=response.received_at, key=response_key(response.programme, response.source, response.id),
            negative=label_of(response, self._metrics), found=reading.themes,
            sources={"source": response.source, "customer": f"{response.programme} {response.customer_key}"},
        )  # fmt: skip
        if response.customer:
            who = response.programme, response.customer
            self._last.pop(who, None)
            if len(self._last) >= CUSTOMERS:
                del self._last[next(iter(self._last))]
            self._last[who] = lesson
        if lesson.negative is not None:
            self._offer(lesson)

    def _wait_for_room(self) -> None:
        """A history is heard as fast as it can be learned from: nobody waits for what the flow says."""
        self._rest = 0.0
        while len(self._waiting) >= WAITING and self._thread.is_alive():
            time.sleep(_PAUSE_S / 10)

    def acted(self, action: Action) -> None:
        """An action, which teaches when it corrects a sentiment or themes, or says that a case was no case."""
        self._heard_until = action.arrived
        field = action.data.get("field")
        if action.do is Verb.INVALIDATE or (action.do is Verb.CORRECT and field in ("sentiment", "themes")):
            self._offer(action)

    def ended(self, outcome: Outcome) -> None:
        """What became of a customer, which teaches by what they said last."""
        said = self._last.get((outcome.programme, outcome.customer))
        result = outcome.result.lower()
        if said is None or result not in LEFT | STAYED:
            return
        negative = result in LEFT
        self._offer(msgspec.structs.replace(said, key=0, negative=negative, at=outcome.received_at))

    def forget(self, is_theirs: Callable[[str, str], bool]) -> None:
        """Let go of what the customers said last of whom *is_theirs* says so (programme, customer). Any thread."""
        for who in [*self._last]:
            if is_theirs(*who):
                self._last.pop(who, None)

    @property
    def passed_over(self) -> int:
        """Responses whose phrases were not counted, for want of room."""
        return 0 if self._topics is None else self._topics.passed_over

    def standings(self) -> dict[tuple[str, str], Standing]:
        """What the models have earned up to now, by programme and language; the next version may say so. Any thread."""
        return self._teacher.learner.standings()

    @property
    def waiting(self) -> int:
        """Lessons not learned yet."""
        return len(self._waiting)

    def restart(self, version: str) -> None:
        """Somebody went back to *version*: what was learned since is forgotten."""
        self._offer(version)

    def scored_by(self, version: str) -> None:
        """*version* scores from now on: the shelf is marked with it."""
        self._offer(_Mark(version))

    def _offer(self, what: "_What") -> None:
        if len(self._waiting) >= WAITING and isinstance(what, Lesson | Action):
            self.became["dropped"] += 1
            return
        self._waiting.append(what)

    # -- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._done.is_set():
            self.work(rest=self._rest)
            while self._topics is not None and not self._done.is_set():
                began = time.monotonic()
                if not self._topics.work(_AT_ONCE):
                    break
                self._done.wait(self._rest * (time.monotonic() - began))  # as with lessons
            self._done.wait(_PAUSE_S)
        self.work()

    def work(self, rest: float = 0.0) -> None:
        """Learn what waits, and publish when that is due. The thread's; tests call it without one, and no *rest*."""
        taken, began = 0, time.monotonic()
        while self._waiting:
            self._take(self._waiting.popleft())
            taken += 1
            if rest and taken % _AT_ONCE == 0:
                self._done.wait(rest * (time.monotonic() - began))  # the flow goes first
                began = time.monotonic()
        if self._is_due() and self._now() - self._heard_until <= BEHIND_S:
            self._publish()

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._published_at
        enough = self._teacher.fell or self._teacher.labels >= EACH_LABELS
        return waited >= self._every_s and (enough or (self._teacher.labels > 0 and waited >= AT_MOST_EVERY_S))

    def _take(self, what: "_What") -> None:
        try:
            match what:
                case str():
                    self._restart(what)
                    return
                case _Mark():
                    self._shelf.mark(what.version)
                    return
            lesson = what if isinstance(what, Lesson) else self._corrected(what)
            if lesson is not None:
                self.became[self._teacher.take(lesson)] += 1
        except RedisError as error:
            self.became["lost"] += 1
            log.warning("learning.correction_lost", error=str(error))
        except Exception as error:  # a lesson that fails is lost alone; scoring goes on by the version in force
            self.became["failed"] += 1
            log.error("learning.lesson_failed", error=f"{type(error).__name__}: {error}")

    def _publish(self) -> None:
        version, data = self._teacher.publish()
        self._published_at = time.monotonic()
        if version == self._version:
            return
        try:
            self._shelf.put(version, data)
        except OSError as error:
            log.error("learning.not_published", version=version, error=str(error))
            return
        self._shelf.prune(self._version, version)
        self.announced.append(Announced(version, self._version))
        self._version = version

    def _restart(self, version: str) -> None:
        self._version = version
        try:
            learner, themes = unpack(self._shelf.data(version)) if version else (None, None)
        except (ModelError, VersionUnknown, msgspec.DecodeError, ValueError) as error:
            log.error("learning.begins_anew", model=version, error=str(error))
            learner = themes = None
        self._teacher = Teacher(learner, themes, self.allowance)

    def _corrected(self, action: Action) -> Lesson | None:
        """What a correction teaches, of the newest text of its case."""
        record = self._case_of(action.programme, action.case)
        responses = [r for r in (record or {}).get("responses", ()) if r.get("text")]
        to = action.data.get("to", "")
        if action.do is Verb.INVALIDATE:
            # That it was no case says that it was no negative one, unless the customer's own score says it was.
            negative = None if responses and responses[-1].get("scores") else False
        else:
            negative = NEGATIVE.get(str(to).lower())
        themes = _listed(to) if action.do is Verb.CORRECT and action.data.get("field") == "themes" else None
        if not responses or (themes is None and negative is None):
            return None
        said = responses[-1]
        reading = _reading_of(record or {}, said)
        context = Context(
            programme=action.programme, language=str(reading.get("language", "")),
            channel=str(said.get("channel", "")),
            question=str(said.get("attributes", {}).get("question") or said.get("touchpoint", "")),
        )  # fmt: skip
        return Lesson(
            text=said["text"], context=context, at=action.received_at,
            sentiment=vader().score(said["text"]) if context.language == "en" else None,
            negative=None if themes is not None else negative, themes=themes,
            found=tuple(Found(one["path"], one["phrase"]) for one in reading.get("themes", ())),
            sources={"person": action.principal or action.by},
        )  # fmt: skip


def _listed(to: Any) -> tuple[str, ...]:
    """The themes that a correction names: a list, or a text of them with bars between."""
    parts: Sequence[Any] = to if isinstance(to, list) else str(to).split("|")
    return tuple(part for each in parts if (part := str(each).strip()))


def _reading_of(record: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What was read of *said* when it was judged, from the log of its case."""
    for event in reversed(record.get("log", ())):
        data = event.get("data", {})
        if "reading" in data and data.get("response", {}).get("id") == said.get("id"):
            reading: dict[str, Any] = data["reading"]
            return reading
    return {"language": said.get("language", "")}
