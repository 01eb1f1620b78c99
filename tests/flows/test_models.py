"""Learning beside the flow: versions on a shelf, taken up by the stream, taught by it, and gone back from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bytewax.errors import BytewaxRuntimeError
from prometheus_client import CollectorRegistry

from cases.events import Event
from connectors.journal import Journal
from connectors.records import RedisError
from connectors.vault import Vault
from feedback.instants import Instant
from feedback.metrics import STANDARD
from feedback.records import Action, Outcome, Response, Verb
from flows import models as shelves
from flows.erasures import SNAPSHOTS, Erasures
from flows.learning import EACH_LABELS, Learning
from flows.learning_figures import LearningFigures
from flows.model_feed import ModelFeed
from flows.models import ModelError, ModelShelf, rollback_to
from scoring.learned import Context, Learner
from scoring.learned_themes import ThemeLearner
from scoring.models import Models, pack
from scoring.reader import Reader
from scoring.vader import vader
from tests.builders import START, response
from tests.flows.story import Store, World, envelope, run, said
from tests.flows.story import response as heard

READER = Reader((), STANDARD)
HERE = Context(programme="default", language="en")
BAD, FINE = "nobody rang back at all", "in and out within minutes"
"""Both neutral to VADER."""


def learned(count: int = 400, flipped: bool = False) -> tuple[str, bytes]:
    learner = Learner()
    for number in range(count):
        text = BAD if number % 2 else FINE
        learner.learn(text, HERE, vader().score(text), (number % 2 == 1) != flipped)
    return pack(learner, ThemeLearner())


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(tmp_path / "models")


def learning(shelf: ModelShelf, case_of: Callable[[str, str], Any] = lambda *_: None) -> Learning:
    return Learning(shelf, STANDARD, case_of, every_s=0.0, now=lambda: START + 10.0)


def hears(pupil: Learning, number: int, nps: float, text: str, **fields: Any) -> None:
    given: Response = response(
        id=str(number), customer=f"c{number}", text=text, language="en", scores={"nps": nps}, **fields
    )
    pupil.heard(given, READER.read(given))


def newest(pupil: Learning) -> str:
    return pupil.announced[-1].version if pupil.announced else ""


def stream(pupil: Learning, count: int = EACH_LABELS) -> str:
    for number in range(count):
        hears(pupil, number, 1 if number % 2 else 10, BAD if number % 2 else FINE)
    pupil.work()
    return newest(pupil)


def risk(models: Models, text: str) -> float:
    found = models.read(response(text=text, language="en"), READER.read(response(text=text, language="en"))).risk
    assert found is not None
    return found


def test_the_streams_own_scores_teach(shelf: ModelShelf) -> None:
    version = stream(learning(shelf))
    assert risk(shelf.open(version), BAD) > 0.8 > 0.2 > risk(shelf.open(version), FINE)


def test_a_version_waits_for_enough_labels(shelf: ModelShelf) -> None:
    assert stream(learning(shelf), EACH_LABELS - 1) == ""


def test_the_same_response_heard_again_teaches_once(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    for _ in range(EACH_LABELS):
        hears(pupil, 1, 1, BAD)
    pupil.work()
    assert not pupil.announced


def test_one_customer_cannot_teach_a_thousand_times(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    for number in range(EACH_LABELS):
        given = response(id=str(number), customer="loud", text=FINE, language="en", scores={"nps": 0})
        pupil.heard(given, READER.read(given))
    pupil.work()
    assert not pupil.announced


def _case(text: str) -> dict[str, Any]:
    said = {"id": "r1", "source": "test", "text": text, "channel": "sms"}
    reading = {"language": "en", "themes": []}
    return {"responses": [said], "log": [{"data": {"response": said, "reading": reading}}]}


def _corrects(field: str, to: Any, by: str, verb: Verb = Verb.CORRECT) -> Action:
    return Action(
        id="a", programme="default", case="c-1-0", do=verb, by=by, at=START, received_at=START, arrived=float(START),
        data={"field": field, "to": to},
    )  # fmt: skip


def test_a_corrected_sentiment_and_themes_are_learned_of_the_case_text(shelf: ModelShelf) -> None:
    texts = {"lifts|repairs": "the lift is stuck", "calls": "nobody picks up the phone"}
    now = ""
    pupil = learning(shelf, lambda *_: _case(texts[now]))
    for number in range(EACH_LABELS):
        now = [*texts][number % 2]
        pupil.acted(_corrects("themes", now, f"p{number % 32}"))
        pupil.work()
    found = shelf.open(newest(pupil)).read(
        response(text="the lift is stuck", language="en"),
        READER.read(response(text="the lift is stuck", language="en")),
    )
    assert {one.path for one in found.suggested} == {"lifts", "repairs"}


def test_one_login_cannot_correct_all_night(shelf: ModelShelf) -> None:
    pupil = learning(shelf, lambda *_: _case(FINE))
    for _ in range(EACH_LABELS * 2):
        pupil.acted(_corrects("sentiment", "negative", "mallory"))
    pupil.work()
    assert not pupil.announced


def test_a_store_that_is_away_loses_a_correction_and_nothing_else(shelf: ModelShelf) -> None:
    def away(*_: str) -> None:
        raise RedisError("away")

    pupil = learning(shelf, away)
    pupil.acted(_corrects("sentiment", "negative", "ann"))
    assert stream(pupil) != ""


def test_an_outcome_teaches_by_what_the_customer_said_last(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    for number in range(EACH_LABELS):
        given = response(id=str(number), customer=f"c{number}", text=BAD if number % 2 else FINE, language="en")
        pupil.heard(given, READER.read(given))
        result = "left" if number % 2 else "renewed"
        pupil.ended(
            Outcome(id="o", programme="default", customer=f"c{number}", result=result, occurred_at=START,
                    received_at=START)
        )  # fmt: skip
    pupil.work()
    assert risk(shelf.open(newest(pupil)), BAD) > 0.8


def test_the_figures_tell_the_learned_risk_from_vaders_and_what_say_it_has(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    stream(pupil)
    (standing,) = pupil.standings().values()
    assert standing.weight > 0
    registry = CollectorRegistry()
    registry.register(LearningFigures(pupil))
    where = {"programme": "default", "language": "en"}
    assert registry.get_sample_value("tocsin_risk_auc", {**where, "scorer": "learned"}) == standing.learned_auc
    assert registry.get_sample_value("tocsin_risk_auc", {**where, "scorer": "vader"}) == standing.vader_auc
    assert registry.get_sample_value("tocsin_risk_learned_weight", where) == standing.weight


def test_what_there_is_no_room_for_is_dropped_and_counted(shelf: ModelShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.learning.WAITING", 10)
    pupil = learning(shelf)
    for number in range(25):
        hears(pupil, number, 1, BAD)
    assert pupil.became["dropped"] == 15


def test_going_back_forgets_what_was_learned_since(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    first = stream(pupil)
    for number in range(1000, 1000 + 2 * EACH_LABELS):
        hears(pupil, number, 10 if number % 2 else 1, BAD if number % 2 else FINE)
    pupil.work()
    assert newest(pupil) != first
    pupil.restart(first)
    pupil.close()
    pupil.work()
    assert pupil._teacher.publish()[0] == first


def test_a_model_that_falls_behind_is_published_at_once(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    stream(pupil, 2 * EACH_LABELS)
    pupil.announced.clear()
    for number in range(5000, 9000):
        bad = number % 2 == 1
        text = f"{'awful' if bad else 'lovely'} {number} {FINE if bad else BAD}"
        hears(pupil, number, 1 if bad else 10, text, received_at=Instant(START + number))
        pupil.work()
        if pupil._teacher.labels and pupil.announced:
            break
    assert pupil.announced


def test_a_version_is_kept_whole_and_found_by_its_hash(shelf: ModelShelf, tmp_path: Path) -> None:
    version, data = learned()
    shelf.put(version, data)
    assert [one.version for one in shelf.versions()] == [version]
    assert risk(ModelShelf(tmp_path / "models").open(version), BAD) > 0.9
    assert shelf.open("").version == ""
    with pytest.raises(ModelError, match="is gone"):
        shelf.open("0" * 16)
    (tmp_path / "models" / f"{'1' * 16}.model").write_bytes(b"torn")
    with pytest.raises(ModelError, match="not readable"):
        shelf.open("1" * 16)
    with pytest.raises(ModelError, match="no version"):
        shelf.open("../../etc/passwd")


def test_old_versions_go_but_never_the_one_in_force(shelf: ModelShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "KEPT", 2)
    versions = []
    for count in (40, 41, 42, 43):
        version, data = learned(count)
        shelf.put(version, data)
        versions.append(version)
    shelf.prune(versions[0])
    left = {one.version for one in shelf.versions()}
    assert len(left) <= 3
    assert versions[0] in left


def test_a_rollback_names_a_version_that_can_be_opened(shelf: ModelShelf) -> None:
    version, data = learned()
    shelf.put(version, data)
    assert rollback_to(shelf, version) == version
    assert rollback_to(shelf, "vader") == ""
    for name in ("", "0" * 16):
        with pytest.raises(ModelError):
            rollback_to(shelf, name)


def test_what_was_published_enters_the_stream_once(tmp_path: Path, shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    version = stream(pupil)
    feed = ModelFeed(Journal(tmp_path / "j"), None, pupil.announced, "default")
    (given,) = feed.poll(10)
    assert msgspec.json.decode(given.raw)["data"] == {"model": version, "base": ""}
    assert feed.poll(10) == ()
    feed.close()
    again = ModelFeed(Journal(tmp_path / "j"), None, pupil.announced, "default")
    assert [envelope.raw for envelope in again.poll(10)] == [given.raw]
    again.close()


# -- in the stream ------------------------------------------------------------------------------------------------


VERSIONS = {version: Models(version, *shelves.unpack(data)) for version, data in (learned(), learned(300))}
FIRST, SECOND = VERSIONS


def _open(version: str) -> Models:
    if version and version not in VERSIONS:
        raise ModelError("gone")
    return VERSIONS.get(version, Models())


def _takes_up(number: int, at: int, version: str, base: str | None = None) -> Any:
    """Learned on from *base*; without one, somebody goes back to it."""
    by, data = "ops" if base is None else "learning", {"model": version, "base": base or ""}
    return envelope(number, at, {"kind": "control", "do": "model", "by": by, "data": data})


STORY = [
    heard(1, 10, text=BAD),
    _takes_up(2, 20, FIRST, ""),
    heard(3, 30, text=BAD),
    heard(4, 40, text=FINE, nps=1),
    _takes_up(5, 50, "0000", FIRST),
    heard(6, 60, text=BAD),
    _takes_up(7, 70, SECOND, FIRST),
    heard(8, 80, text=BAD),
    _takes_up(9, 90, ""),
    _takes_up(10, 95, SECOND, FIRST),  # learned on from what somebody went back from
    heard(11, 100, text=BAD),
]


def _opened(store: Store) -> dict[str, Event]:
    return {e.data["response"]["id"]: e for e in store.events.values() if e.type == "case.opened"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store()
    run(store, STORY, tmp_path_factory.mktemp("models") / "r", open_models=_open)
    return store


def test_a_rule_on_risk_fires_by_the_version_in_force_and_says_why(whole: Store) -> None:
    opened = _opened(whole)
    assert sorted(opened) == ["3", "4", "6", "8"]
    (why,) = opened["3"].data["rules"][0]["why"]
    assert why.startswith("risk >= 0.9 (risk = 0.9")
    assert why.endswith(f"scored by {FIRST})")
    assert set(opened["3"].data["risk_words"]) & {"nobody", "rang", "nobody rang", "rang back"}
    assert [opened[n].data["reading"]["scored_by"] for n in ("3", "4", "6", "8")] == [FIRST, FIRST, FIRST, SECOND]
    changed = [e.data["after"] for e in whole.events.values() if e.type == "model.changed"]
    assert changed == [FIRST, SECOND, "vader"]


@pytest.mark.parametrize("cut", range(1, len(STORY) + 1))
def test_a_run_cut_anywhere_scores_by_the_version_it_scored_by_before(whole: Store, tmp_path: Path, cut: int) -> None:
    store, world = Store(), World()
    with pytest.raises(BytewaxRuntimeError):
        run(store, STORY, tmp_path / "r", world=world, cut=cut, open_models=_open)
    run(store, STORY, tmp_path / "r", world=world, open_models=_open)
    assert {i: said(e) for i, e in store.events.items()} == {i: said(e) for i, e in whole.events.items()}


def test_figures_of_learning_begin_at_zero_and_count_what_became_of_lessons(shelf: ModelShelf) -> None:
    pupil, registry = learning(shelf), CollectorRegistry()
    registry.register(LearningFigures(pupil))

    def figure(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"tocsin_{name}", labels)

    assert figure("lessons_total", outcome="learned") == figure("labels_limited_total", kind="person") == 0
    for number in range(6):
        given = response(id=str(number), customer="loud", text=FINE, language="en", scores={"nps": 0})
        pupil.heard(given, READER.read(given))
    assert figure("lessons_waiting") == 6
    pupil.work()
    assert figure("lessons_waiting") == 0
    assert (figure("lessons_total", outcome="learned"), figure("lessons_total", outcome="limited")) == (4, 2)
    assert figure("labels_limited_total", kind="customer") == 2


def test_going_back_gives_no_source_a_new_allowance(shelf: ModelShelf) -> None:
    pupil = learning(shelf)
    for turn in range(2):
        for number in range(4):
            given = response(id=f"{turn} {number}", customer="loud", text=FINE, language="en", scores={"nps": 0})
            pupil.heard(given, READER.read(given))
        pupil.restart("")
        pupil.work()
    assert pupil.became["limited"] == 4


def test_what_a_customer_said_last_goes_with_their_erasure(shelf: ModelShelf, tmp_path: Path) -> None:
    pupil, vault = learning(shelf), Vault(tmp_path / "keys", create=True)
    erasures = Erasures(vault)
    erasures.memories.append(pupil)
    for number in (1, 2):
        hears(pupil, number, 5, BAD)
    erasures.ask([(vault.leaf("default", "c1", "0"), "c-1")])
    for _ in range(SNAPSHOTS + 1):
        erasures.snapshotted([])
        if erasures._sweeper is not None:
            erasures._sweeper.join()
    assert [*pupil._last] == [("default", "c2")]
