"""Writes the dated tables of bank holidays in `rules/calendars/`: `python -m rules.freeze_holidays 2026-11-23`.

The package `holidays` is asked once, here, and its answer is frozen with its source and date, so that a case is
never decided by whichever version of a package is installed. Only with a subdivision: plain `GB` drops Easter
Monday and the late summer holiday in silence. Look at the difference before committing it.
"""

import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import holidays

NATIONS = {"england-and-wales": "ENG", "scotland": "SCT", "northern-ireland": "NIR"}
FIRST, LAST = 2024, 2032
PROCLAIMED_TO = 2027
"""Later years are projections: substitutes and one-off days come by proclamation."""


def table(nation: str, read: date) -> str:
    """The file of *nation*."""
    days = holidays.country_holidays("GB", subdiv=NATIONS[nation], years=range(FIRST, LAST + 1))
    lines = [
        f"calendar: {nation}",
        "zone: Europe/London",
        "source: >-",
        "  Banking and Financial Dealings Act 1971 s.1 and Sch 1, and proclamations under it; Christmas Day and Good",
        "  Friday, which every definition of a working day names; as listed by the package holidays",
        f"  {version('holidays')} (GB, {NATIONS[nation]})",
        f"read: {read}",
        "not_bank_holidays: [" + ("" if nation == "scotland" else "Christmas Day, Good Friday") + "]",
        "years:",
    ]
    for year in range(FIRST, LAST + 1):
        certainty = "proclaimed" if year <= PROCLAIMED_TO else "projected"
        lines += [f"  {year}:", f"    certainty: {certainty}", "    holidays:"]
        lines += [f'      {day}: "{days[day]}"' for day in sorted(days) if day.year == year]
    return "\n".join(lines) + "\n"


def main(read: date) -> None:
    folder = Path(__file__).parent / "calendars"
    for nation in NATIONS:
        (folder / f"{nation}.yaml").write_text(table(nation, read), encoding="utf-8")


if __name__ == "__main__":
    main(date.fromisoformat(sys.argv[1]))
