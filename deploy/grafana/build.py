"""The dashboards, written readably; `python deploy/grafana/build.py` writes them as the JSON that Grafana takes.

A panel is (title, width of 24, unit, {legend: expression}) and what else it needs. A test holds the files against this.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEIGHT = 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Panel = dict[str, Any]


def graph(title: str, width: int, unit: str, about: str, **targets: str) -> Panel:
    """Lines over time; *targets* is legend to expression, `_` a legend of labels alone."""
    return {"type": "timeseries", "title": title, "width": width, "unit": unit, "about": about, "targets": targets}


def number(title: str, width: int, unit: str, about: str, expr: str, red_from: float | None = None) -> Panel:
    """One number; red from *red_from* on."""
    return {"type": "stat", "title": title, "width": width, "unit": unit, "about": about, "targets": {"now": expr},
            "red_from": red_from}  # fmt: skip


def bars(title: str, width: int, unit: str, about: str, legend: str, expr: str) -> Panel:
    """A bar for each value of a label."""
    return {"type": "bargauge", "title": title, "width": width, "unit": unit, "about": about, "targets": {legend: expr}}


def p99(metric: str, by: str) -> str:
    return f"histogram_quantile(0.99, sum by (le, {by}) (rate({metric}_bucket[5m])))"


def row(title: str) -> Panel:
    return {"type": "row", "title": title}


FLOW = [
    row("Now"),
    number("Late, last hour", 4, "percentunit", "Said later than a second after its record came; the budget is 1 %.",
           'max(tocsin:alert_latency:errors:ratio_rate1h)', 0.01),
    number("Uncalled clocks", 4, "short", "Deadlines that passed unsaid, by the auditor. Must be 0.",
           "sum(tocsin_audit_uncalled_clocks)", 1),
    number("Not ready", 4, "short", "Processes whose /ready has a reason.", "count(tocsin_ready == 0) or vector(0)", 1),
    number("Oldest record waiting", 4, "s", "Read and not judged.", "max(tocsin_source_lag_seconds)", 60),
    number("Last snapshot", 4, "s", "How long ago; what a crash would replay.",
           "max(time() - tocsin_last_snapshot_timestamp_seconds)", 60),
    number("Receivers disabled", 4, "short", "Endpoints to which nothing is sent.",
           "sum(tocsin_endpoint_disabled) or vector(0)", 1),
    row("Flow"),
    graph("Responses", 12, "reqps", "Read by the engine, by what became of them.",
          **{"{{outcome}}": "sum by (outcome) (rate(tocsin_responses_total[$__rate_interval]))"}),
    graph("Events", 12, "reqps", "Written, by type.",
          **{"{{type}}": "sum by (type) (rate(tocsin_events_total[$__rate_interval])) > 0"}),
    graph("Actions", 8, "reqps", "What people did, and what was refused.",
          **{"{{outcome}}": "sum by (outcome) (rate(tocsin_actions_total[$__rate_interval]))"}),
    graph("Lag", 8, "s", "Age of the oldest record that waits, by source.",
          **{"{{source}}": "max by (source) (tocsin_source_lag_seconds)"}),
    graph("Records waiting", 8, "short", "By source; of Kafka all that the broker has.",
          **{"{{source}}": "sum by (source) (tocsin_source_lag_records)",
             "Kafka {{source}}": "sum by (source) (tocsin_kafka_lag_records)"}),
    row("Latency"),
    graph("Arrival to readable", 12, "s", "From a record's arrival to its events being readable in Redis.",
          p50="tocsin:alert_latency:p50_5m", p99="tocsin:alert_latency:p99_5m"),
    graph("Burn of the budget", 12, "percentunit", "Share later than a second; pages at 14.4 % and 6 %.",
          **{"5 minutes": "tocsin:alert_latency:errors:ratio_rate5m",
             "1 hour": "tocsin:alert_latency:errors:ratio_rate1h",
             "6 hours": "tocsin:alert_latency:errors:ratio_rate6h"}),
    graph("Lateness of clocks, p99", 8, "s", "From the instant a clock was due to speak to its event being readable.",
          **{"{{type}}": p99("tocsin_clock_lateness_seconds", "type")}),
    graph("Snapshots", 8, "s", "Time in which an epoch's snapshots were written.",
          mean="sum(rate(tocsin_snapshot_seconds_sum[5m])) / sum(rate(tocsin_snapshot_seconds_count[5m]))"),
    graph("Clock skew", 8, "s", "Wall clock minus engine time; deadlines are held at 5 s.",
          **{"{{instance}}": "tocsin_clock_skew_seconds"}),
    row("Learning and spikes"),
    graph("Risk: learned against VADER", 8, "percentunit", "Area under the curve on recent labels, unseen.",
          **{"{{scorer}} {{programme}} {{language}}": "max by (scorer, programme, language) (tocsin_risk_auc)"}),
    graph("Say of the learned risk", 8, "percentunit", "Beside VADER's; 0 where it is set aside or has few labels.",
          **{"{{programme}} {{language}}": "max by (programme, language) (tocsin_risk_learned_weight)"}),
    graph("Lessons", 8, "reqps", "Labels, by what became of them.",
          **{"{{outcome}}": "sum by (outcome) (rate(tocsin_lessons_total[$__rate_interval]))"}),
    graph("Labels limited", 8, "short", "In an hour: not learned because one source had given enough.",
          **{"{{kind}}": "sum by (kind) (increase(tocsin_labels_limited_total[1h]))"}),
    graph("Models set aside, themes spiked", 8, "short", "In an hour.",
          **{"{{type}}": 'sum by (type) (increase(tocsin_events_total{type=~"model.set_aside|theme.spiked"}[1h]))'}),
    graph("Watched for spikes", 8, "short", "Segments, and in an hour what was not watched: too late, or one too many.",
          segments="sum(tocsin_spike_segments)",
          **{"{{what}}": "sum by (what) (increase(tocsin_spike_unwatched_total[1h]))"}),
    row("Deliveries"),
    graph("Queues", 8, "short", "Events that wait, by receiver.",
          **{"{{endpoint}}": "sum by (endpoint) (tocsin_delivery_queue_length)"}),
    graph("Attempts by answer", 8, "reqps", "none: no answer came.",
          **{"{{endpoint}} {{code_class}}":
             "sum by (endpoint, code_class) (rate(tocsin_delivery_attempts_total[$__rate_interval]))"}),
    graph("Event to receiver, p99", 8, "s", "From the event standing in the log to the receiver having it.",
          **{"{{endpoint}}":
             p99("tocsin_delivery_latency_seconds", "endpoint")}),
    graph("Given up", 12, "short", "Dead letters in an hour.",
          **{"{{endpoint}}": 'sum by (endpoint) (increase(tocsin_deliveries_total{outcome="dead"}[1h]))'}),
    graph("Oldest undelivered", 12, "s", "How long the oldest event waits.",
          **{"{{endpoint}}": "(time() - tocsin_oldest_undelivered_timestamp_seconds) * "
             "(tocsin_oldest_undelivered_timestamp_seconds > bool 0)"}),
    row("Door and store"),
    graph("Requests", 8, "reqps", "By status.",
          **{"{{status}}": "sum by (status) (rate(tocsin_http_requests_total[$__rate_interval]))"}),
    graph("Requests, p99", 8, "s", "By route.",
          **{"{{route}}": p99("tocsin_http_request_seconds", "route")}),
    graph("Turned away", 8, "reqps", "Requests and actions, by reason.",
          **{"{{reason}}": "sum by (reason) (rate(tocsin_http_refusals_total[$__rate_interval]))"}),
    graph("Rules with memory", 8, "short", "Keys that they hold, and what they let go of in an hour.",
          keys="sum(tocsin_window_keys)",
          **{"{{rule}} {{what}}": "sum by (rule, what) (increase(tocsin_window_dropped_total[1h])) > 0"}),
    graph("Erasures", 8, "short", "Customers' keys, since the engine started.",
          asked="sum(tocsin_erasures_asked_total)", done="sum(tocsin_erasures_done_total)",
          waiting="sum(tocsin_erasures_waiting)"),
    graph("Oldest erasure", 8, "s", "For how long the oldest erasure has waited.",
          oldest="max(tocsin_erasures_pending_seconds)"),
    graph("Inbox", 12, "short", "Entries of a programme's stream; the engine trims behind its snapshots.",
          **{"{{programme}}": "max by (programme) (tocsin_http_inbox_entries)"}),
    graph("Set aside, written again", 12, "short", "Records that stopped the engine; cases told again after a loss.",
          quarantined="sum(tocsin_quarantined_items_total)", rewritten="sum(tocsin_store_rewritten_cases_total)"),
]  # fmt: skip

P = 'programme=~"$programme"'
CASES = [
    row("Now"),
    number("Open", 4, "short", "Cases not closed.", f"sum(tocsin_open_cases{{{P}}})"),
    number("Overdue", 4, "short", "With a deadline in the past.", f"sum(tocsin_overdue_cases{{{P}}})", 1),
    number("Due in an hour", 4, "short", "The next deadline is at most an hour ahead.",
           f'sum(tocsin_due_cases{{{P}, within="1h"}})'),
    number("Due in a day", 4, "short", "At most 24 hours ahead.", f'sum(tocsin_due_cases{{{P}, within="24h"}})'),
    number("Overdue and nobody's", 4, "short", "Without an owner.",
           f'sum(tocsin_owner_overdue_cases{{{P}, owner=""}})', 1),
    number("Escalated today", 4, "short", "In the last 24 hours.",
           f'sum(increase(tocsin_case_changes_total{{{P}, change="escalated"}}[1d]))'),
    row("Who has what"),
    bars("Open by owner", 8, "short", "Cases that a person has now.", "{{owner}}",
         f"sort_desc(sum by (owner) (tocsin_owner_open_cases{{{P}}}) > 0)"),
    bars("Overdue by owner", 8, "short", "Empty: nobody's.", "{{owner}}",
         f"sort_desc(sum by (owner) (tocsin_owner_overdue_cases{{{P}}}) > 0)"),
    bars("Opened by theme, 7 days", 8, "short", "A case with two themes counts for both.", "{{theme}}",
         f"topk(15, sum by (theme) (increase(tocsin_case_themes_total{{{P}}}[7d])))"),
    graph("Open and overdue", 12, "short", "By programme.",
          **{"open {{programme}}": f"sum by (programme) (tocsin_open_cases{{{P}}})",
             "overdue {{programme}}": f"sum by (programme) (tocsin_overdue_cases{{{P}}})"}),
    graph("Due next", 12, "short", "Cases whose next deadline is so far ahead.",
          **{"{{within}}": f"sum by (within) (tocsin_due_cases{{{P}}})"}),
    row("How fast"),
    *(graph(f"Time to {what}", 8, "s", about,
            **{f"{name} {{{{programme}}}}":
               f"histogram_quantile({quantile}, sum by (le, programme) (rate({metric}[1d])))"
               for name, quantile in (("median", 0.5), ("p90", 0.9))})
      for what, about, metric in (
          ("acknowledge", "From opening to the owner taking it.",
           f'tocsin_case_age_seconds_bucket{{{P}, until="acknowledged"}}'),
          ("first action", "From its start to the clock first_response being met.",
           f'tocsin_clock_met_seconds_bucket{{{P}, clock="first_response"}}'),
          ("close", "From opening to the documented close.",
           f'tocsin_case_age_seconds_bucket{{{P}, until="closed"}}'))),
    row("How well"),
    graph("Resolution rate, 7 days", 12, "percentunit", "Cases resolved, as a share of those opened or reopened.",
          **{"{{programme}}":
             f'sum by (programme) (increase(tocsin_case_changes_total{{{P}, change="resolved"}}[7d])) / '
             f'sum by (programme) (increase(tocsin_case_changes_total{{{P}, change=~"opened|reopened"}}[7d]))'}),
    graph("Opened, resolved, closed", 12, "short", "In a day.",
          **{"{{change}}":
             f'sum by (change) (tocsin:case_changes:increase1d{{{P}, change=~"opened|resolved|closed"}})'}),
    graph("Breaches and escalations", 12, "short", "In a day.",
          **{"{{change}} {{programme}}":
             f'tocsin:case_changes:increase1d{{{P}, change=~"breached|escalated"}}'}),
    graph("Withdrawn and reopened", 12, "short", "In a day: rules that fire wrongly, and cases closed too soon.",
          **{"{{change}} {{programme}}":
             f'tocsin:case_changes:increase1d{{{P}, change=~"invalidated|reopened"}}'}),
]  # fmt: skip


def dashboard(uid: str, title: str, panels: list[Panel], *, programmes: bool, span: str) -> dict[str, Any]:
    """What Grafana reads. Panels flow left to right, a row's title above them."""
    laid: list[dict[str, Any]] = []
    x = y = 0
    for number_, panel in enumerate(panels, 1):
        if panel["type"] == "row" or x + panel["width"] > 24:
            x, y = 0, y + (HEIGHT if x else 0)
        if panel["type"] == "row":
            laid.append({"id": number_, "type": "row", "title": panel["title"], "collapsed": False, "panels": [],
                         "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})  # fmt: skip
            y += 1
            continue
        laid.append({"id": number_, **_panel(panel), "gridPos": {"h": HEIGHT, "w": panel["width"], "x": x, "y": y}})
        x += panel["width"]
    variables: list[dict[str, Any]] = [{"name": "datasource", "label": "Prometheus", "type": "datasource",
                                        "query": "prometheus"}]  # fmt: skip
    if programmes:
        variables.append(
            {"name": "programme", "label": "Programme", "type": "query", "datasource": DATASOURCE, "refresh": 2,
             "query": "label_values(tocsin_open_cases, programme)", "includeAll": True, "multi": True,
             "allValue": ".+", "current": {"text": "All", "value": "$__all"}}
        )  # fmt: skip
    return {
        "uid": uid, "title": title, "tags": ["tocsin"], "schemaVersion": 38, "version": 1, "editable": True,
        "refresh": "10s", "time": {"from": f"now-{span}", "to": "now"}, "timezone": "browser",
        "templating": {"list": variables}, "panels": laid,
    }  # fmt: skip


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel["unit"]}
    if panel.get("red_from") is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel["red_from"]}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    instant = panel["type"] != "timeseries"
    made = {
        "type": panel["type"],
        "title": panel["title"],
        "description": panel["about"],
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expr, "legendFormat": legend, "instant": instant,
             "range": not instant, "datasource": DATASOURCE}
            for place, (legend, expr) in enumerate(panel["targets"].items())
        ],
    }  # fmt: skip
    if panel["type"] == "bargauge":
        made["options"] = {"orientation": "horizontal", "displayMode": "basic",
                           "reduceOptions": {"calcs": ["lastNotNull"]}}  # fmt: skip
    return made


DASHBOARDS = {
    "flow.json": dashboard("tocsin-flow", "Tocsin: flow", FLOW, programmes=False, span="3h"),
    "cases.json": dashboard("tocsin-cases", "Tocsin: cases", CASES, programmes=True, span="7d"),
}


def text(made: dict[str, Any]) -> str:
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, made in DASHBOARDS.items():
        (HERE / name).write_text(text(made), encoding="utf-8")
