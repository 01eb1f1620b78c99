"""The packs that come with Tocsin: their clocks by name, and what is wrong with a pack's file."""

import pytest

from rules.packs import parse_pack
from rules.problems import Problem
from rules.shipped import law
from rules.yaml import Sheet

PACKS, CALENDARS = law()
CLOCKS = {
    "awaabs-law": "emergency-action emergency-safety-work standard-investigation standard-investigation-extended "
    "renewed-investigation written-summary make-safe-significant supplementary-work-begin-or-steps "
    "supplementary-work-begin-longstop initial-remediation-period-end",
    "housing-ombudsman": "stage1-acknowledge stage1-response stage1-extension-limit stage2-acknowledge stage2-response "
    "stage2-extension-limit",
    "fca-disp": "summary-resolution final-response-8-weeks payment-services-final-response "
    "payment-services-final-response-exceptional",
    "nhs-complaints": "acknowledge relevant-period-6-months",
    "ofgem": "redress-scheme-8-weeks signposting-notice-8-weeks signposting-notice-deadlock "
    "unresolved-end-of-next-working-day",
    "ofcom": "adr-letter-8-weeks adr-letter-6-weeks",
    "ofwat": "written-complaint-reply payment-arrangement-reply",
    "scotland-damp-mould": "investigation written-summary begin-repair complete-repair",
    "spso": "stage1-frontline stage2-acknowledge stage2-response",
    "contact-centre": "first-response-60-minutes same-day detractor-24-hours resolve-48-hours",
}


@pytest.mark.parametrize("name", sorted(CLOCKS))
def test_a_pack_has_its_clocks_and_says_where_they_come_from(name: str) -> None:
    pack = PACKS[name]
    assert list(pack.clocks) == CLOCKS[name].split()
    assert (bool(pack.instrument), pack.read.year >= 2026) == (True, True)
    assert all(clock.paragraph and clock.what and clock.starts and clock.meets for clock in pack.clocks.values())


def test_no_pack_is_without_a_test() -> None:
    assert set(PACKS) == set(CLOCKS)


GOOD = """\
pack: p
title: P
instrument: I
read: 2026-11-23
in_force: {from: 2026-01-01}
calendars: [scotland]
opens: received
milestones: {answered: {after: [received]}}
clocks:
  reply: {paragraph: 1, starts: [received], length: 5 working days, met_by: [answered]}
"""


def problems_of(text: str) -> list[Problem]:
    problems: list[Problem] = []
    parse_pack(Sheet("p.yaml", problems), "p", text, CALENDARS)
    return problems


def test_a_good_pack_has_no_problems() -> None:
    assert problems_of(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("5 working days", "5 fortnights", 10, "5 fortnights"),
        ("from: 2026-01-01", "from: 2026-01-01, to: 2025-01-01", 5, "2026-01-01 to 2025-01-01"),
        ("[scotland]", "[atlantis]", 6, "atlantis"),
        ("after: [received]", "after: [answered]", 8, "a cycle of milestones: answered"),
        ("starts: [received]", "starts: ['breach:reply']", 10, "a cycle: reply starts from itself"),
        ("starts: [received]", "starts: ['breach:replly']", 10, "did you mean reply"),
        ("met_by: [answered]", "met_by: [answered], warn: [150%]", 10, "150%"),
        ("met_by: [answered]", "met_by: [answered], extend: {by: 5 hours}", 10, "5 hours"),
        ("length: 5 working days", "length: {by: made, a: 1 day, b: 2 days}", 10, "by made"),
        ("length: 5 working days", "length: 1 day, ends: close-of-business", 10, "close-of-business"),
        ("read: 2026-11-23", "read: yesterday", 4, "yesterday"),
        ("opens: received\n", "", 1, "no opens"),
    ],
)
def test_a_bad_pack_names_the_place(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    problems = problems_of(GOOD.replace(old, new))
    assert any(p.line == line and said in f"{p.found} {p.expected}" for p in problems), problems
