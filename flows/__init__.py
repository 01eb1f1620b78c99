"""The wiring: one module per dataflow, and the only room (with `connectors`) where time and the world come in.

`alerts.py` is the engine, `deliveries.py` posts what it says, `run.py` runs them, `settings.py` reads the
environment once.
"""
