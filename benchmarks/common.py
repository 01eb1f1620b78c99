"""What the benchmarks share: texts of our own, percentiles, the machine's name, results."""

import json
import os
import platform
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
CALM = (
    "The delivery came on Tuesday as agreed.", "I ordered two of the small ones and one of the large.",
    "It was raining when I walked to the shop.", "The form asked for my address twice.",
    "My neighbour told me about it last year.", "The second page loads after the first.",
    "We have been customers since the spring.", "The colour is the one in the picture.",
    "I will look at it again at the weekend.", "The person at the desk wrote it down.",
)  # fmt: skip
FEELING = (
    "It was very good and the staff were lovely.", "I am not happy about the price at all.",
    "Really helpful, but slow to answer!", "The quality is poor and I was disappointed.",
    "Great value, would recommend.", "It kept failing and nobody seemed to care.",
    "Absolutely wonderful, thank you so much.", "The wait was awful, although the result is fine.",
)  # fmt: skip


def texts(count: int, seed: int = 11) -> list[str]:
    """*count* different texts, lengths log-normal with a median of 80 characters and a p90 of 300."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        length = int(min(2000, max(12, dice.lognormvariate(4.382, 1.031))))
        text = f"{number}: "
        while len(text) < length:
            text += dice.choice(CALM if dice.random() < 0.5 else FEELING) + " "
        made.append(text[:length].strip())
    return made


def percentile(values: list[float], share: float) -> float:
    """The value below which *share* (0 to 1) of *values* lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> str:
    """Processor, cores and Python, in a line."""
    model = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    if names:
        model = names[0].partition(":")[2].strip()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def commit() -> str:
    """The commit that is measured, with a mark when files differ from it; empty outside a checkout."""
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(words, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def report(name: str, rows: list[tuple[str, str]], figures: dict[str, Any]) -> None:
    """Print the table, write it to `results/<name>.md` and as JSON, end with *figures* as one JSON object.

    Kept with them: the machine and how busy it was, the date, the command, and the commit that was measured.
    """
    width = max(len(label) for label, _ in rows)
    table = "\n".join(f"{label:<{width}}  {value}" for label, value in rows)
    command = f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip()
    print(table)
    RESULTS.mkdir(exist_ok=True)
    where = {
        "machine": machine(), "load_average": round(os.getloadavg()[1], 1), "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": command, "commit": commit(),
    }  # fmt: skip
    head = (
        f"# {name}\n\n{where['machine']}; load average {where['load_average']} (5 minutes)\n"
        f"{where['date']}, `{command}`, at {where['commit']}\n"
    )
    page = f"{head}\n```\n{table}\n```\n\n{json.dumps(figures)}\n"
    (RESULTS / f"{name}.md").write_text(page)
    (RESULTS / f"{name}.json").write_text(json.dumps({**where, "figures": figures}, indent=2) + "\n")
    print(json.dumps(figures))
