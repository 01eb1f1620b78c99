"""The shipped rules with a window, told stories: responses in, alerts out."""

from collections.abc import Iterable
from typing import Any

from feedback.instants import Instant
from feedback.metrics import STANDARD
from flows.settings import CHECKOUT
from rules.kinds import Event, Finding
from rules.kinds.drawer import Drawer
from rules.parse import load
from rules.watching import watch
from scoring.reader import Reader
from tests.builders import START, response

SET = load(CHECKOUT / "rules", "contact-centre", STANDARD)
READER = Reader(SET.taxonomies, STANDARD)
WINDOWS = {rule.window.id: rule.window for rule in SET.windows}
MINUTE, HOUR, DAY = 60, 3600, 86_400


def alerts(story: Iterable[dict[str, Any]], until_s: int = 0) -> list[tuple[str, str, str, int]]:
    """(rule, key, kind, count) of what is raised and ended; each response says `after_s` the start it came."""
    drawer = Drawer()
    events: list[Event] = []
    for number, said in enumerate(story):
        at = Instant(START + said["after_s"])
        events += drawer.wake(WINDOWS, at)
        fields = {name: value for name, value in said.items() if name != "after_s"}
        one = response(id=str(number), occurred_at=at, received_at=at, **fields)
        for fact in watch(SET, one, READER.read(one)).facts:
            events += drawer.step(WINDOWS, fact, at)
        drawer = Drawer(drawer.pack())
    events += drawer.wake(WINDOWS, Instant(START + until_s))
    return [(e.rule, e.key, e.kind, e.count) for e in events if isinstance(e, Finding) and e.kind != "joined"]


def answer(after_s: int, nps: float, site: str = "leeds") -> dict[str, Any]:
    return {"after_s": after_s, "scores": {"nps": nps}, "attributes": {"site": site}}


def ticket(after_s: int, touchpoint: str = "") -> dict[str, Any]:
    return {"after_s": after_s, "channel": "ticket", "touchpoint": touchpoint, "attributes": {"ticket": "T1"}}


def test_five_detractors_at_one_site_within_an_hour_raise_one_alert_that_ends() -> None:
    story = [answer(n * 10 * MINUTE, 2.0) for n in range(6)]
    assert alerts(story, DAY) == [
        ("detractors-at-a-site", "leeds", "raised", 5),
        ("detractors-at-a-site", "leeds", "ended", 6),
    ]


def test_five_at_five_sites_raise_none() -> None:
    assert alerts([answer(n * MINUTE, 2.0, f"site-{n}") for n in range(5)], DAY) == []


def test_forty_per_cent_of_detractors_found_twice_in_a_row_raise_one_alert() -> None:
    story = [answer(n * HOUR, 2.0 if n % 5 in (1, 3) else 9.0) for n in range(22)]
    assert alerts(story[:21], 20 * HOUR) == []  # 8 of 20, then 8 of 21
    story[20:] = [answer(20 * HOUR, 2.0), answer(21 * HOUR, 2.0)]
    assert alerts(story[:21], 20 * HOUR) == [("share-of-detractors", "", "raised", 9)]


def test_a_ticket_without_a_reply_is_told_after_four_hours_and_one_with_a_reply_is_not() -> None:
    assert alerts([ticket(0)], 4 * HOUR + 10 * MINUTE) == [("ticket-without-reply", "T1", "raised", 1)]
    assert alerts([ticket(0)], 4 * HOUR + 9 * MINUTE) == []
    assert alerts([ticket(0), ticket(3 * HOUR, "reply")], DAY) == []


def test_a_site_that_falls_silent_for_twice_its_usual_is_told() -> None:
    story = [answer(n * 2 * HOUR, 9.0) for n in range(25)]
    last = story[-1]["after_s"]
    assert alerts(story, last + 4 * HOUR) == []
    assert [found[:3] for found in alerts(story, last + 5 * HOUR)] == [("silent-site", "leeds", "raised")]


def test_a_theme_that_is_heard_eight_times_in_an_hour_where_it_never_was_spikes() -> None:
    usual = [{"after_s": n * 7 * DAY, "text": "The adviser was rude"} for n in range(4)]
    storm = [{"after_s": 22 * DAY + n, "text": "The adviser was rude"} for n in range(9)]
    found = [one for one in alerts([*usual, *storm], 22 * DAY) if one[2] == "raised"]
    assert found
    assert {(rule, count) for rule, _, _, count in found} == {("theme-spike", 8)}
