"""The words of a text, as the learned scorers take them: lower case, apostrophes straight; `!` and `?` are words."""

import re

_WORDS = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?]")


def words_of(text: str) -> list[str]:
    return _WORDS.findall(text.lower().replace("’", "'"))
