"""What is particular to one tool."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from connectors.targets.alertmanager import Alertmanager
from connectors.targets.loading import DeclaredTarget, ready
from connectors.targets.secrets import fetching
from connectors.webhooks import Dead, Delivered, Retry
from feedback.instants import parse_instant
from tests.connectors.targets.mailroom import MailTool
from tests.connectors.targets.standins import AlertmanagerTool, HttpTool, PagerDutyTool, SlackTool, Standin
from tests.connectors.targets.talking import CASE, WIRE, event, target, tell
from tests.connectors.targets.ticket_standins import HubSpotTool, JiraTool, ServiceNowTool
from tests.flows.delivery_world import told

# -- Slack --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("ratelimited", Retry),
        ("internal_error", Retry),
        ("channel_not_found", Dead),
        ("msg_too_long", Dead),
        ("Not A Word <x>", Retry),
    ],
)
@told
async def test_what_slack_says_in_the_body_decides(error: str, outcome: type) -> None:
    async with SlackTool().running() as tool:
        said = msgspec.json.encode({"ok": False, "error": error})
        tool.forced = [(200, {"content-type": "application/json"}, said)]
        found = (await tell(target(tool), event("case.opened"))).outcome

        assert isinstance(found, outcome)
        if isinstance(found, Dead):
            assert found.blames_endpoint == (error != "msg_too_long")


@told
async def test_a_message_that_slack_would_read_as_a_mention_is_only_text() -> None:
    async with SlackTool().running() as tool:
        opened = event("case.opened")
        opened["data"]["response"]["text"] = "<!channel> & <http://evil|click>"
        await tell(target(tool), opened)

        [message] = tool.kept.values()
        assert "&lt;!channel&gt; &amp; &lt;http://evil|click&gt;" in message["blocks"][0]["text"]["text"]


# -- mail ---------------------------------------------------------------------------------------------------


@told
async def test_a_mail_names_its_event_and_its_case() -> None:
    async with MailTool().running() as tool:
        opened = event("case.opened")
        for plain in (opened, opened, event("case.resolved")):
            assert (await tell(target(tool), plain)).outcome == Delivered()

        first, again, later = (mail["Message-ID"] for mail in tool.mails)
        assert first == again == f"<{opened['id']}.tool@example.com>"
        assert later != first
        assert {mail["References"] for mail in tool.mails} == {f"<{CASE}.tool@example.com>"}
        assert tool.mails[0]["Subject"] == "Case opened: Detractor, high"


@pytest.mark.parametrize(
    ("says", "outcome"),
    [("451 later", Retry), ("452 full", Retry), ("554 spam", Dead), ("550 no", Dead)],
)
@told
async def test_a_mail_server_says_whether_to_come_again(says: str, outcome: type) -> None:
    async with MailTool().running() as tool:
        tool.says = [says]
        found = (await tell(target(tool), event("case.opened"))).outcome

        assert isinstance(found, outcome)
        assert f"smtp_{says[:3]}" in repr(found)


@told
async def test_an_address_that_is_refused_is_no_fault_of_the_server() -> None:
    async with MailTool().running() as tool:
        found = (await tell(target(tool, to=["nobody@elsewhere.example"]), event("case.opened"))).outcome

        assert found == Dead(reason="refused", detail="smtp_550", blames_endpoint=False)


@told
async def test_nothing_is_sent_to_a_mail_server_that_nobody_vouches_for() -> None:
    async with MailTool().running() as tool:
        found = (await tell(target(tool, ca_file=""), event("case.opened"))).outcome

        assert isinstance(found, Retry)
        assert not tool.mails


@told
async def test_neither_password_nor_mail_goes_over_a_line_that_cannot_be_closed() -> None:
    heard: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            heard.append(line)
            writer.write(b"250 AUTH PLAIN\r\n" if line[:4] == b"EHLO" else b"221 bye\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    tool = MailTool()
    tool.port = server.sockets[0].getsockname()[1]
    async with server:
        found = (await tell(target(tool), event("case.opened"))).outcome

    assert not isinstance(found, Delivered)
    assert {line[:4] for line in heard} <= {b"EHLO", b"QUIT"}


# -- alerts -------------------------------------------------------------------------------------------------


@told
async def test_an_alert_keeps_its_labels_when_the_case_becomes_more_urgent() -> None:
    async with AlertmanagerTool().running() as tool:
        made = target(tool)
        first = await tell(made, event("case.opened"))
        raised = event("clock.breached")
        raised["data"]["case"]["priority"] = "urgent"
        await tell(made, raised, first.remember)

        [alert] = tool.kept.values()
        assert (alert["labels"]["severity"], alert["annotations"]["summary"][:15]) == ("error", "Deadline missed")


def test_a_resolved_alert_is_said_for_five_minutes_and_forgotten() -> None:
    made = ready(Alertmanager(name="a", url="http://a"), fetching({}), Path())
    talks: list[str] = []
    for type_ in ("case.opened", "case.resolved"):
        talk = made.talk(made.hear(event(type_), talks[-1] if talks else ""))
        next(talk)
        with pytest.raises(StopIteration) as end:
            talk.send(None)  # type: ignore[arg-type]
        talks.append(end.value.value)
    ended_at = parse_instant(event("case.resolved")["time"])
    declared = made.declared
    assert isinstance(declared, Alertmanager)

    said, past = declared.again({"c-1": talks[0], CASE: talks[1]}, ended_at + 299, made.kit)
    assert said is not None
    assert (["endsAt" in alert for alert in said.body], past) == ([False, True], [])
    said, past = declared.again({CASE: talks[1]}, ended_at + 300, made.kit)
    assert (said, past) == (None, [CASE])


@told
async def test_an_acknowledged_incident_is_not_opened_again_by_what_comes_later() -> None:
    async with PagerDutyTool().running() as tool:
        for type_ in ("case.opened", "case.acknowledged", "clock.met"):
            await tell(target(tool), event(type_))

        assert tool.kept == {CASE: "acknowledged"}
        assert len(tool.requests) == 2


@told
async def test_a_notice_that_noise_control_lets_through_pages_until_its_case_is_resolved() -> None:
    async with PagerDutyTool().running() as tool:
        await tell(target(tool), event("notice.sent"))
        assert tool.kept == {CASE: "triggered"}
        await tell(target(tool), event("case.resolved"))
        assert tool.kept == {CASE: "resolved"}


@told
async def test_a_digest_says_which_cases_it_is_about() -> None:
    digest = msgspec.json.decode((WIRE / "notice.digest.json").read_bytes())
    async with SlackTool().running() as tool:
        await tell(target(tool), digest)
        [message] = tool.kept.values()
    assert message["text"] == "Held back until now: 2 notices held back"
    shown = message["blocks"][0]["text"]["text"]
    assert [case for case in digest["data"]["cases"] if case not in shown] == []


# -- tickets ------------------------------------------------------------------------------------------------

TICKETS = pytest.mark.parametrize("kind", [JiraTool, ServiceNowTool, HubSpotTool])


@TICKETS
@told
async def test_a_ticket_that_somebody_deleted_is_made_anew(kind: type[Standin]) -> None:
    async with kind().running() as tool:
        made = target(tool)
        first = await tell(made, event("case.opened"))
        tool.kept.clear()
        again = await tell(made, event("clock.breached"), first.remember)

        assert again.outcome == Delivered()
        assert len(tool.kept) == 1


@TICKETS
@told
async def test_a_case_that_ended_before_anybody_told_of_it_gets_no_ticket(kind: type[Standin]) -> None:
    async with kind().running() as tool:
        assert (await tell(target(tool), event("case.closed"))).outcome == Delivered()
        assert not tool.kept


@told
async def test_a_status_that_an_issue_cannot_reach_is_a_dead_letter_that_says_so() -> None:
    async with JiraTool().running() as tool:
        made = target(tool, statuses={"case.resolved": "Nowhere"})
        first = await tell(made, event("case.opened"))
        found = await tell(made, event("case.resolved"), first.remember)

        assert found.outcome == Dead(reason="refused", detail="no_such_transition", blames_endpoint=False)


@told
async def test_an_issue_that_is_there_already_is_not_moved() -> None:
    async with JiraTool().running() as tool:
        made = target(tool)
        first = await tell(made, event("case.opened"))
        for _ in range(2):
            assert (await tell(made, event("case.resolved"), first.remember)).outcome == Delivered()

        assert sum(path.endswith("/transitions") for _, path, _, _ in tool.requests) == 1


@told
async def test_a_receiver_that_tells_its_id_is_updated_by_it() -> None:
    class Updated(HttpTool):
        async def answer(self, request: Any, body: Any) -> Any:
            self.bearer(request)
            self.kept[f"{request.method} {request.path}"] = body
            return 200, {"ticket": {"id": 77}}

    async with Updated().running() as tool:
        made = target(tool, id_path=["ticket", "id"], update_url=tool.url + "/hook/{id}")
        first = await tell(made, event("case.opened"))
        await tell(made, event("case.resolved"), first.remember)

        assert list(tool.kept) == ["POST /hook", "PATCH /hook/77"]


# -- apprise ------------------------------------------------------------------------------------------------


def phones() -> Any:
    plain = {"kind": "apprise", "name": "a", "url": "env:TOOL_SECRET", "allow_private": True}
    made = ready(msgspec.convert(plain, DeclaredTarget), fetching({"TOOL_SECRET": "json://host/key"}), Path())
    return msgspec.structs.replace(made, schedule_s=(0.0, 1.0))


@told
async def test_without_the_library_an_event_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    found = (await tell(phones(), event("case.opened"))).outcome

    assert isinstance(found, Retry)
    assert found.reason == "apprise_not_installed"


@pytest.mark.parametrize(("taken", "outcome"), [(True, Delivered), (False, Retry)])
@told
async def test_the_library_is_given_the_url_and_the_words(
    taken: bool, outcome: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    class Library:
        def add(self, url: str) -> bool:
            given.append(url)
            return True

        async def async_notify(self, **words: str) -> bool:
            given.append(words)
            return taken

    monkeypatch.setitem(sys.modules, "apprise", SimpleNamespace(Apprise=Library))
    found = (await tell(phones(), event("case.opened"))).outcome

    assert isinstance(found, outcome)
    assert (given[0], given[1]["title"], given[1]["notify_type"]) == (
        "json://host/key", "Case opened: Detractor, high", "failure",
    )  # fmt: skip
