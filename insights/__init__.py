"""Read-only summaries, folded from case events. Nothing here changes anything."""
