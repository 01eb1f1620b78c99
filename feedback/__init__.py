"""The nouns everyone shares: responses, actions, instants, ids and the checks on them.

Pure: knows nothing of scoring, rules, cases, or where a record came from.
Start with `records.py` (what travels) and `decode.py` (how bytes become it).
"""
