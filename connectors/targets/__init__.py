"""Targets: the tools that people work in, each one module here and one template in `templates/`.

A target turns an event into requests and reads the answers (`target.py`); it is a pure conversation. `sending.py`
carries it out, `loading.py` makes targets out of settings, `flows/carriers.py` puts them into the second flow.
"""
