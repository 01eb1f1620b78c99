"""What happens next: a case with an owner, its lifecycle and its clocks.

Pure: state and an item in, state and events out, time passed in. `lifecycle.py` holds the one table,
`clocks.py` the promises, `case.py` the state that is stored, `shard.py` the step that Bytewax drives.
"""
