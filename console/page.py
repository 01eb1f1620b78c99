"""A case file as one printable page: self-contained HTML without scripts, made for A4 and for a screen reader.

Everything that came from outside is escaped; the page loads nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm }
:root { color-scheme: light }
body { font: 10.5pt/1.45 Georgia, "Times New Roman", serif; color: #111; background: #fff; margin: 0 auto;
  max-width: 178mm; padding: 8mm }
h1 { font-size: 17pt; margin: 0 0 1mm } h2 { font-size: 12.5pt; margin: 8mm 0 2mm; border-bottom: .4pt solid #444 }
h3 { font-size: 10.5pt; margin: 5mm 0 1mm }
h2, h3 { break-after: avoid }
table { border-collapse: collapse; width: 100%; font-size: 9pt; margin: 1mm 0 3mm }
caption { text-align: left; font-style: italic; padding-bottom: 1mm }
th, td { text-align: left; vertical-align: top; padding: .8mm 2mm .8mm 0; border-bottom: .25pt solid #bbb;
  overflow-wrap: anywhere }
thead { display: table-header-group } tr { break-inside: avoid }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.t, th { white-space: nowrap }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .6mm 4mm; margin: 2mm 0 }
dt { font-weight: bold } dd { margin: 0; overflow-wrap: anywhere }
blockquote { margin: 1mm 0 3mm; padding-left: 3mm; border-left: 1mm solid #888; white-space: pre-wrap }
code { font: 8pt/1.3 "DejaVu Sans Mono", Consolas, monospace; overflow-wrap: anywhere }
.late { font-weight: bold } .late::before { content: "\\26A0\\FE0E " }
.whole { border: .6pt solid #111; padding: 2mm 3mm }
.flaw { border: 1.6pt solid #111; padding: 2mm 3mm; font-weight: bold }
footer { margin-top: 8mm; font-size: 8.5pt; color: #333 }
@media print { body { padding: 0; max-width: none } }
"""


def page(file: Mapping[str, Any]) -> str:
    """The whole page for *file* (`insights.case_file`)."""
    case, trail = file["case"], file["trail"]
    title = f"Case {case['id']}: {case['type']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p>As at <time datetime="{_text(file["as_at"])}">{_text(file["as_at_local"])}</time>. '
        f"All times are in {_text(file['zone'])}.</p>",
        _seal(trail),
        "<h2>The case</h2>",
        _facts(_summary(case)),
        "<h2>What the customer said</h2>",
        *(_response(response) for response in file["responses"]),
        "<h2>Clocks</h2>",
        *(_clock(clock) for clock in file["clocks"]),
        "<h2>Owners</h2>",
        _table(
            "Who answered for the case, and from when",
            ("From", "Until", "Owner", "Role", "Why"),
            ((o["from_local"], o["until_local"] or "still", o["owner"], o["role"], o["why"]) for o in file["owners"]),
        ),
        "<h2>Communications</h2>",
        _table(
            "Every message to the customer and to those who had to act",
            ("When", "To", "By", "How", "What"),
            (
                (c["at_local"], c["to"], c["by"], c["channel"], " ".join(x for x in (c["subject"], c["body"]) if x))
                for c in file["communications"]
            ),
        ),
        *_section("Corrections", "What was put right later; the first value stays in the record", file["corrections"]),
        *_section("Refused", "What was attempted and not allowed, as evidence", file["refused"]),
        "<h2>Outcome</h2>",
        _facts(file["outcome"]) if file["outcome"] else "<p>None is recorded yet.</p>",
        "<h2>Timeline</h2>",
        _timeline("Everything that happened, in order", file["timeline"]),
        f"<footer>Made by Tocsin from {trail['events']} events, the last <code>{_text(trail['head'])}</code>. "
        "The JSON beside this page holds every event; <code>tocsin verify --file</code> checks it.</footer>",
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _seal(trail: Mapping[str, Any]) -> str:
    if trail["whole"]:
        whole = f"The trail of {trail['events']} events is whole: nothing in it was altered or removed."
        return f'<p class="whole">{whole}</p>'
    return f'<p class="flaw" role="alert">The trail is not whole. {_text(trail["flaw"])}.</p>'


def _summary(case: Mapping[str, Any]) -> dict[str, Any]:
    facts = {
        "Programme": case["programme"],
        "Customer": customer_of(case),
        "About": case.get("subject", ""),
        "Status": f"{case['status']}, priority {case['priority']}",
        "Owner": f"{case['owner'] or 'nobody'} ({case['role']}), escalated {case['level']} times",
        "Opened by": "; ".join(
            f"{r['title'] or r['id']} (rule {r['id']}, version {r['version']})" for r in case["rules"]
        ),
        "Earlier cases": ", ".join(case.get("earlier", [])),
    }
    for name, value in case.get("about", {}).items():
        facts[name.capitalize()] = value
    return {name: value for name, value in facts.items() if value}


def customer_of(case: Mapping[str, Any]) -> str:
    """Who it is, or why that cannot be said."""
    if case.get("erased") or case.get("erased_at"):
        return "erased on request"
    return "sealed" if "sealed" in case else case["customer"] or "anonymous"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{_text(_words(name))}</dt><dd>{_value(value)}</dd>" for name, value in facts.items())
    return f"<dl>{rows}</dl>"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{_text(_words(str(k)))}: {_value(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(member) for member in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text(value)


def _response(response: Mapping[str, Any]) -> str:
    scores = ", ".join(f"{_text(k)} {v:g}" for k, v in response.get("scores", {}).items())
    head = f"{_text(response['source'])} {_text(response['id'])}, received {_text(response['received_at_local'])}"
    if response.get("occurred_at", "") != response["received_at"]:
        head += f", happened {_text(response['occurred_at_local'])}"
    return f"<h3>{head}</h3><p>{scores}</p><blockquote>{_text(words_of(response))}</blockquote>"


def words_of(response: Mapping[str, Any]) -> str:
    """What the customer wrote, or why it is not here."""
    gone = "(erased on request)" if response.get("erased") else "(sealed)" if "sealed" in response else "(no words)"
    return str(response.get("text") or gone)


def _clock(clock: Mapping[str, Any]) -> str:
    name = clock["name"] + (f", {clock['issue']}" if clock["issue"] else "")
    name += f" (no. {clock['occurrence']})" if clock["occurrence"] > 1 else ""
    outcome = f'<span class="late">{_text(clock["outcome"])}, late</span>' if clock["late"] else _text(clock["outcome"])
    facts = [
        ("Asked for", _text(clock["law"] or "our own promise")),
        ("Length", _text(clock["length"]) + (f" on {_text(clock['calendar'])}" if clock["calendar"] else "")),
        ("Began", _text(clock["started_at_local"])),
        ("Due", _text(clock["last_moment"])),
        ("Outcome", outcome),
    ]
    account = clock["ledger"]
    if account:
        words = account["in_words"]
        facts.append(("Used, left", f"{_text(words['used'])} of {_text(words['total'])}, {_text(words['left'])}"))
    rows = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in facts)
    head = f"<h3>{_text(name)}</h3><dl>{rows}</dl>"
    if not account:
        return head + f"<p>{_text(clock.get('note', ''))}</p>"
    days = account["unit"] == "days"
    spans: Iterable[Sequence[Any]] = (
        (s["from_local"], s["until_local"], ("yes" if s["counted"] else "no") if days else s["counted"], s["why"])
        for s in account["spans"]
    )
    return head + _table(
        f"Ledger of {name}", ("From", "Until", "Counted" if days else "Seconds counted", "Why"), spans, numbers=(2,)
    )


def _section(title: str, caption: str, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"<h2>{title}</h2>", _timeline(caption, lines)] if lines else []


def _timeline(caption: str, lines: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for line in lines:
        details = "; ".join(f"{_text(_words(k))}: {_value(v)}" for k, v in line["details"].items())
        if "noticed_at" in line:
            details += f" (noticed {_text(line['noticed_at'])})"
        rows.append(
            f'<tr><td class="n">{line["sequence"]}</td><td class="t">{_text(line["at_local"])}</td>'
            f'<td class="t">{_text(line["what"])}</td><td>{details}</td></tr>'
        )
    return (
        f'<table><caption>{_text(caption)}</caption><thead><tr><th scope="col">No.</th><th scope="col">When</th>'
        f'<th scope="col">What</th><th scope="col">Details</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = ()) -> str:
    head = "".join(f'<th scope="col">{_text(h)}</th>' for h in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{_text(c)}</td>' if i in numbers else f"<td>{_text(c)}</td>" for i, c in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><caption>{_text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
