"""The outside: sources and sinks, one module per system, with their wire formats.

Knows the values of `feedback` and `cases.events`; knows nothing of rules or of how a case decides.
"""
