"""`tocsin demo`: some hundreds of responses through the real flows, on one machine, before the reader's eyes.

The engine runs in the main thread as it does in production; beside it threads play the customers (responses into
Redis streams), the colleagues (actions), the second flow (webhooks) and a receiver that checks every signature.
Nothing is simulated but the people. On a terminal there is a live view, elsewhere there are plain lines.
"""

import asyncio
import base64
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cases.events import Event, readable
from connectors.records import Records
from connectors.signing import Secret, verify
from connectors.vault import vault_at
from connectors.webhooks import Endpoint
from console import demo_feed
from feedback.encode import encode_action
from feedback.instants import Instant, as_datetime, span_text
from feedback.records import Action, Verb
from flows import deliveries
from flows.delivery_metrics import DeliveryMetrics
from flows.engine import Running, run_engine
from flows.run import Stop
from flows.settings import EngineSettings, Programme, Settings

PROGRAMMES = ("contact-centre", "housing", "software-service", "demo")
RATE = 12.0
"""Responses a second: lively, and slow enough to read along."""
FULL_S = 45.0
"""Seconds of a whole demo when nobody asks for fewer."""


class Story:
    """What the demo has seen: alerts, the two watched cases, webhooks, counts. Written by several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.alerts: deque[tuple[str, str, str, str, str]] = deque(maxlen=12)
        self.watched: dict[str, list[str]] = {"watch-me": [], "look-after-me": []}
        self.cases: dict[str, str] = {}
        """Watched order to its case id."""
        self.counts: Counter[str] = Counter()
        self.latencies: list[float] = []
        """Seconds from arrival to readable in Redis, one for each response that opened a case."""
        self.webhooks: Counter[str] = Counter()
        self.last_webhook = ""
        self.sent = 0


class Demo:
    """One run. *line* prints a plain line; without a terminal everything goes through it."""

    def __init__(self, settings: Settings, seconds: float, console: Console) -> None:
        self.seconds = seconds
        self.console = console
        self.story = Story()
        self.stop = Stop()
        self.state = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
        self.settings = msgspec.structs.replace(
            settings,
            state=self.state,
            redis="",
            metrics_port=0,
            programmes={name: Programme(rules=name) for name in PROGRAMMES},
            engine=EngineSettings(shards=256, epoch_ms=500),
        )
        self.live = console.is_terminal
        self.started_at = 0.0
        self.metrics = ""
        self._threads: list[threading.Thread] = []
        self._failed: list[str] = []

    def run(self) -> bool:
        """Play it. False when something that must happen did not: the smoke run's verdict."""
        try:
            view = Live(self._view(), console=self.console, refresh_per_second=8) if self.live else None
            if view is not None:
                self._spawn("view", lambda: self._keep_view(view))
            try:
                run_engine(self.settings, {}, ends=False, stop=self.stop, started=self._started, watched=self._watched)
            finally:
                self.stop.request("demo over")
                for thread in self._threads:
                    thread.join(timeout=10)
            return self._summary()
        finally:
            shutil.rmtree(self.state, ignore_errors=True)

    # -- the people and the other flow ------------------------------------------------------------------------

    def _spawn(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:
                self._failed.append(f"{name}: {type(error).__name__}: {error}")
                self.stop.request(f"{name} failed")

        thread = threading.Thread(target=guarded, name=f"demo-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _started(self, running: Running) -> None:
        self.started_at = time.monotonic()
        self.metrics = f"http://127.0.0.1:{running.health_port}/metrics"
        self._line(f"engine up: events to {running.redis}, metrics at {self.metrics}")
        self._spawn("customers", lambda: self._customers(running.redis))
        self._spawn("colleagues", lambda: self._colleagues(running.redis))
        self._spawn("webhooks", lambda: asyncio.run(self._webhooks(running.redis)))

    def _elapsed(self) -> float:
        return time.monotonic() - self.started_at

    def _wait(self, seconds: float) -> bool:
        """Sleep; False when the demo was stopped meanwhile."""
        return not self.stop.event.wait(seconds)

    def _customers(self, url: str) -> None:
        records = Records(url, vault_at(self.settings.vault))
        feed = demo_feed.responses()
        if not self._wait(0.5):
            return
        first = demo_feed.watched("watch-me", "Nobody ever rang me back. Awful.", "customer-1001")
        second = demo_feed.watched("look-after-me", "Broken promise again, I am very disappointed.", "customer-1002")
        for record in (first, second):
            records.respond("demo", msgspec.json.encode(record))
        for raw in demo_feed.unreadable():
            records.respond("contact-centre", raw)
        self.story.sent += 2 + len(demo_feed.unreadable())
        # Time is left at the end for the last clocks and deliveries.
        while self._elapsed() < self.seconds - 2 and self._wait(1 / RATE):
            programme, record = next(feed)
            records.respond(programme, msgspec.json.encode(record))
            self.story.sent += 1
        self._wait(max(0.0, self.seconds - self._elapsed()))
        records.close()
        self.stop.request("the demo is over")

    def _colleagues(self, url: str) -> None:
        """Somebody takes one of the watched cases and brings it to its end."""
        while "look-after-me" not in self.story.cases:
            if not self._wait(0.1):
                return
        records = Records(url, vault_at(self.settings.vault))
        case = self.story.cases["look-after-me"]
        pause = min(2.0, self.seconds / 10)
        outcome = {
            "problem": "a call back that was promised twice and never made",
            "action_taken": "called, apologised, credited the account",
            "customer_told": "by phone, today",
            "satisfied": "yes",
        }
        steps: tuple[tuple[Verb, str, dict[str, Any]], ...] = (
            (Verb.CLOSE, "", {}),  # refused, and the refusal says why
            (Verb.ACKNOWLEDGE, "", {}),
            (Verb.CONTACT, "", {"channel": "phone"}),
            (Verb.RESOLVE, "", {"outcome": outcome}),
            (Verb.CLOSE, "", {}),
        )
        for number, (verb, reason, data) in enumerate(steps):
            if not self._wait(pause):
                break
            record = records.case("demo", case) or {}
            now = Instant(int(time.time()))
            action = Action(
                id=f"demo-action-{number}",
                programme="demo",
                case=case,
                do=verb,
                by=str(record.get("owner", "")),
                at=now,
                received_at=now,
                arrived=float(now),
                reason=reason,
                data=data,
            )
            records.act("demo", action.id, encode_action(action), principal="demo")
        records.close()

    async def _webhooks(self, url: str) -> None:
        """A receiver that checks signatures, and the real second flow that posts to it."""
        secret = Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())

        async def receive(request: web.Request) -> web.Response:
            body = await request.read()
            if verify((secret,), request.headers, body, time.time()):
                self.story.webhooks["bad signature"] += 1
                return web.Response(status=401)
            event = msgspec.json.decode(body)
            self.story.webhooks["verified"] += 1
            self.story.last_webhook = f"{event['type']} {event.get('subject', '')} {request.headers['webhook-id']}"
            return web.Response(status=204)

        receiver = web.Application()
        receiver.router.add_post("/hook", receive)
        runner = web.AppRunner(receiver)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        endpoint = Endpoint(
            name="demo-crm",
            url=f"http://127.0.0.1:{port}/hook",
            secrets=(secret,),
            events=("case.opened", "case.closed", "clock.breached", "case.escalated"),
            allow_private=True,
        )
        over = asyncio.Event()
        metrics = DeliveryMetrics(CollectorRegistry())
        flow = asyncio.create_task(
            deliveries.run(url, (endpoint,), PROGRAMMES, metrics=metrics, stop=over, vault=self.settings.vault)
        )
        while not self.stop():
            await asyncio.sleep(0.1)
            if flow.done():
                break
        over.set()
        await flow
        await runner.cleanup()

    # -- what is seen -----------------------------------------------------------------------------------------

    def _watched(self, events: list[Event]) -> None:
        now = time.time()
        with self.story.lock:
            for event in events:
                self._note(event, now)

    def _note(self, event: Event, now: float) -> None:
        story, data = self.story, event.data
        story.counts[event.type] += 1
        clock_at = f"{as_datetime(Instant(int(now))):%H:%M:%S}"
        if event.type == "case.opened":
            story.latencies.append(now - event.arrived)
            order = readable(event).data.get("response", {}).get("attributes", {}).get("order", "")
            if order in story.watched:
                story.cases[order] = str(event.case)
            due = event.standing.due_at if event.standing is not None else None
            clock = f"first deadline in {span_text(due - event.time)}" if due is not None else "no clock"
            rules = ", ".join(rule["title"] or rule["id"] for rule in data["rules"])
            story.alerts.append((clock_at, data["priority"], data["owner"] or "nobody", rules, clock))
            self._line(f"{clock_at}  {data['priority']:<6}  {event.case}  {data['owner']}  {rules}  {clock}")
        for order, case in story.cases.items():
            if event.case == case and event.type not in ("clock.armed", "customer.acknowledged"):
                told = [str(data[name]) for name in ("clock", "to", "detail") if data.get(name)]
                if event.type in ("case.assigned", "case.acknowledged", "case.resolved", "case.closed"):
                    told = [str(data.get("owner", ""))]
                words = f"{clock_at}  {event.type}  {'  '.join(told)}"
                story.watched[order].append(words)
                self._line(f"    [{order}] {words}")

    def _line(self, words: str) -> None:
        if not self.live:
            self.console.print(Text(words), soft_wrap=True)

    def _keep_view(self, view: Live) -> None:
        with view:
            while self._wait(0.12):
                view.update(self._view())
            view.update(self._view())

    def _view(self) -> Group:
        story = self.story
        with story.lock:
            table = Table(expand=True, box=None, pad_edge=False)
            for name, ratio in (("UTC", 1), ("priority", 1), ("owner", 2), ("why", 5), ("clock", 4)):
                table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
            styles = {"urgent": "bold red", "high": "red", "low": "dim"}
            for row in story.alerts:
                table.add_row(*(Text(cell) for cell in row), style=styles.get(row[1], ""))
            left = Text("\n".join(story.watched["watch-me"][-9:]) or "…")
            right = Text("\n".join(story.watched["look-after-me"][-9:]) or "…")
            stories = Table.grid(expand=True)
            stories.add_column(ratio=1)
            stories.add_column(ratio=1)
            stories.add_row(
                Panel(left, title="a short clock that nobody minds", height=11),
                Panel(right, title="a case looked after, to its close", height=11),
            )
            counts = story.counts
            foot = (
                f"{story.sent} responses · {counts['case.opened']} cases · {counts['clock.breached']} breaches · "
                f"{counts['case.escalated']} escalations · {counts['response.rejected']} unreadable · "
                f"{story.webhooks['verified']} webhooks verified"
            )
        return Group(
            Panel(table, title="tocsin: alerts as they open", height=16),
            stories,
            Text(foot, style="bold"),
            Text(story.last_webhook and f"last webhook: {story.last_webhook}", style="dim", no_wrap=True),
        )

    def _summary(self) -> bool:
        story, counts, out = self.story, self.story.counts, self.console
        out.print()
        out.print(Text("What happened", style="bold"))
        out.print(f"  responses sent         {story.sent}")
        out.print(f"  cases opened           {counts['case.opened']}")
        out.print(f"  unreadable, kept aside {counts['response.rejected']}")
        out.print(f"  events written         {sum(counts.values())}")
        out.print(f"  warned, breached       {counts['clock.warned']}, {counts['clock.breached']}")
        out.print(f"  escalated              {counts['case.escalated']}")
        out.print(f"  webhooks verified      {story.webhooks['verified']}")
        if story.latencies:
            ordered = sorted(story.latencies)
            p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95, 0.99))
            out.print(
                f"  arrival to readable    p50 {p50 * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms"
                f" (over {len(ordered)} alerts)"
            )
        missing = self._missing()
        for words in (*self._failed, *missing):
            out.print(Text(f"  did not happen: {words}", style="bold red"))
        return not self._failed and not missing

    def _missing(self) -> list[str]:
        """What a demo of this length must show; the smoke run fails on any of it."""
        story, counts = self.story, self.story.counts
        wanted = {
            "a case opened": counts["case.opened"] > 2,
            "unreadable records kept aside": counts["response.rejected"] == len(demo_feed.unreadable()),
            "a webhook received and verified": story.webhooks["verified"] > 0,
            "every signature good": story.webhooks["bad signature"] == 0,
        }
        if self.seconds >= 14:
            wanted |= {
                "a clock warned": counts["clock.warned"] > 0,
                "a clock breached": counts["clock.breached"] > 0,
                "an escalation": counts["case.escalated"] > 0,
                "a refusal with its reason": counts["action.refused"] > 0,
                "a case closed": counts["case.closed"] > 0,
            }
        interrupted = self._elapsed() < self.seconds - 1
        return [] if interrupted else [name for name, seen in wanted.items() if not seen]
