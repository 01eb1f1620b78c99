"""When does feedback deserve a case? Rules, as values, and the judging of one response by them.

Pure: knows responses and readings; knows nothing of open cases, of time, of where events go.
`model.py` is what a rule says, `parse.py` reads the files that people edit, `judge.py` applies them.
The folders `sets/`, `packs/`, `taxonomies/`, `rosters/`, `templates/` hold those files.
"""
