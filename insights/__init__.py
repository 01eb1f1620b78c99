"""Read-only summaries folded from case events. Knows `feedback` and `cases.events`."""
