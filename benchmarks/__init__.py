"""Each speed that we claim, runnable: a table, a file in `results/`, and one JSON object on the last line."""
