"""What every target keeps to, each against a stand-in that enforces its tool's contract."""

import asyncio
import io
import traceback
from collections.abc import Iterator

import msgspec
import pytest
import structlog

from connectors.targets.sending import Ended
from connectors.targets.target import TargetError
from connectors.webhooks import Dead, Delivered, Retry
from tests.connectors.targets.mailroom import MailTool
from tests.connectors.targets.standins import (
    AlertmanagerTool,
    HttpTool,
    PagerDutyTool,
    SlackHook,
    SlackTool,
    Standin,
    TeamsTool,
)
from tests.connectors.targets.talking import CASE, LIFE, NOW, WIRE, event, target, tell
from tests.connectors.targets.ticket_standins import HubSpotTool, JiraTool, SalesforceTool, ServiceNowTool, ZendeskTool
from tests.flows.delivery_world import told

HTTP_TOOLS = (
    HttpTool, SlackTool, SlackHook, TeamsTool, PagerDutyTool, AlertmanagerTool, JiraTool, ServiceNowTool, ZendeskTool,
    SalesforceTool, HubSpotTool,
)  # fmt: skip
every_tool = pytest.mark.parametrize("kind", [*HTTP_TOOLS, MailTool], ids=lambda kind: kind.__name__)
every_http_tool = pytest.mark.parametrize("kind", HTTP_TOOLS, ids=lambda kind: kind.__name__)
Kind = type[Standin]


@every_tool
@told
async def test_an_opened_case_is_taken(kind: Kind) -> None:
    async with kind().running() as tool:
        ended = await tell(target(tool), event("case.opened"))

        assert ended.outcome == Delivered()
        assert len(tool.kept) == 1


@every_tool
@told
async def test_a_case_is_told_of_from_its_beginning_to_its_end(kind: Kind) -> None:
    async with kind().running() as tool:
        made, remembered = target(tool), ""
        for type_ in LIFE:
            ended = await tell(made, event(type_), remembered)
            assert ended.outcome == Delivered(), type_
            remembered = ended.remember or remembered

        assert tool.ended(CASE)


@every_tool
@told
async def test_the_same_event_again_leaves_no_second_trace_where_the_tool_has_a_key_for_that(kind: Kind) -> None:
    async with kind().running() as tool:
        made = target(tool)
        first = [await tell(made, event("case.opened")) for _ in range(2)]

        assert [ended.outcome for ended in first] == [Delivered()] * 2
        assert len(tool.kept) == (1 if tool.idempotent else 2)


@every_tool
@told
async def test_hostile_words_are_cut_and_made_harmless(kind: Kind) -> None:
    text = "<!channel> [x](http://evil) {{ case }} \\u0000 \x07 & \r\nBcc: x@example.com " + "é\n" * 30_000
    async with kind().running() as tool:
        opened = event("case.opened", reason=text, owner=text, next_best_action=text)
        opened["data"]["response"]["text"] = text
        opened["data"]["case"]["rules"] = [{"title": text}]

        assert (await tell(target(tool), opened)).outcome == Delivered()


@every_tool
@told
async def test_every_message_of_the_wire_can_be_told(kind: Kind) -> None:
    async with kind().running() as tool:
        made = target(tool)
        for path in sorted(WIRE.glob("*.json")):
            whole = msgspec.json.decode(path.read_bytes())
            plain = event(path.stem) if "case" in whole["data"] else whole
            assert (await tell(made, plain)).outcome == Delivered(), path.stem


@every_tool
@told
async def test_an_event_that_holds_next_to_nothing_does_no_harm(kind: Kind) -> None:
    async with kind().running() as tool:
        odd = {"id": "e-1", "type": "tocsin.case.opened", "subject": CASE, "data": {"case": [], "response": 7}}
        ended = await tell(target(tool), odd)

        assert isinstance(ended.outcome, Delivered | Dead)


@every_tool
@told
async def test_a_wrong_secret_is_refused_for_good(kind: Kind) -> None:
    async with kind().running() as tool:
        made = target(tool, environ={"TOOL_SECRET": tool.environ()["TOOL_SECRET"][:-1] + "X"})
        ended = await tell(made, event("case.opened"))

        assert isinstance(ended.outcome, Dead)
        assert ended.outcome.reason == "refused"
        assert not tool.kept


@every_http_tool
@told
async def test_a_tool_that_is_down_is_asked_again_and_then_given_up(kind: Kind) -> None:
    async with kind().running() as tool:
        tool.forced = [(503, {}, b"down")] * 3
        outcomes = [(await tell(target(tool), event("case.opened"), attempt=n)).outcome for n in (1, 2, 3)]

        assert [type(outcome) for outcome in outcomes] == [Retry, Retry, Dead]
        assert outcomes[2] == Dead(reason="exhausted", detail="http_503")


@every_http_tool
@told
async def test_a_tool_that_asks_for_a_pause_gets_it(kind: Kind) -> None:
    async with kind().running() as tool:
        tool.forced = [(429, {"Retry-After": "7"}, b"")]
        outcome = (await tell(target(tool), event("case.opened"))).outcome

        assert outcome == Retry(at=NOW + 7, reason="http_429", pause_until=NOW + 7)


@every_http_tool
@pytest.mark.parametrize("said", [b"", b"[]", b"no json", b'{"ok": 1, "key": {}, "id": null}', b"[" * 5000])
@told
async def test_an_answer_that_makes_no_sense_is_no_crash(kind: Kind, said: bytes) -> None:
    async with kind().running() as tool:
        tool.forced = [(200, {"content-type": "application/json"}, said)] * 4
        outcome = (await tell(target(tool), event("case.opened"))).outcome

        assert isinstance(outcome, Delivered | Retry | Dead)


@every_http_tool
@told
async def test_a_redirect_is_not_followed(kind: Kind) -> None:
    async with kind().running() as tool, HttpTool().running() as other:
        tool.forced = [(307, {"Location": other.url}, b"")]
        outcome = (await tell(target(tool), event("case.opened"))).outcome

        assert isinstance(outcome, Retry)
        assert not other.requests


@every_tool
@told
async def test_an_address_inside_is_refused_unless_it_is_allowed(kind: Kind) -> None:
    async with kind().running() as tool:
        outcome = (await tell(target(tool, allow_private=False), event("case.opened"))).outcome

        assert isinstance(outcome, Retry)
        assert outcome.reason == "address_refused"
        assert not tool.requests


@every_tool
@told
async def test_a_tool_that_says_nothing_is_left_after_its_time(kind: Kind) -> None:
    class Silent(kind):  # type: ignore[misc, valid-type]
        pass

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    tool = Silent()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tool.url, tool.port = f"http://127.0.0.1:{port}", port
    async with server:
        ended: Ended = await tell(target(tool, timeout_s=0.05), event("case.opened"))

    assert isinstance(ended.outcome, Retry)
    assert ended.outcome.reason == "timeout"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    said = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(said))
    yield said
    structlog.reset_defaults()


@every_tool
def test_no_secret_is_in_any_repr_error_log_or_outcome(kind: Kind, logged: io.StringIO) -> None:
    seen: list[str] = []

    @told
    async def story() -> None:
        async with kind().running() as tool:
            made = target(tool)
            talk = made.talk(made.hear(event("case.opened")))
            seen.extend(map(repr, (made, made.kit, made.kit.secrets, next(talk), made.declared)))
            try:
                talk.throw(TargetError("x", permanent=True))
            except TargetError as error:
                seen.append("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
            for forced in (400, 401, 403, 404, 500):
                tool.forced = [(forced, {}, tool.secret.encode())]
                seen.append(repr(await tell(made, event("case.opened"))))
            echoed = f'{{"ok":false,"error":"{tool.secret}"}}'.encode()
            tool.forced = [(200, {"content-type": "application/json"}, echoed)]
            seen.append(repr(await tell(made, event("case.opened"))))
            seen.append(logged.getvalue())
            assert not [text for text in seen if tool.secret in text]

    story()
