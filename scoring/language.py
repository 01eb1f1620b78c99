"""Which language a text is in: the declared one, else what py3langid makes of it.

VADER knows English only, and a French text that it scores neutral is a lie; so a text in another language is
left unscored, and says so. Detection is asked to choose among `CANDIDATES` only, and a short text is English
when it is made of plain English words: a detector of 97 languages takes "Nothing" for Norwegian.
"""

import re
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

CANDIDATES = ("en", "fr", "de", "es", "it", "pt", "nl", "pl", "cy", "ro", "tr", "ar", "ur", "pa", "bn", "gu",
              "zh", "ja", "ko", "ru", "uk", "so", "fa", "hi", "el", "sv", "da", "cs", "hu", "lt")  # fmt: skip
"""The languages that British services meet most (Census 2021, main language), and Europe's largest."""
SHORT_WORDS = 4
"""A text of fewer words is too little for the detector: see `benchmarks/bench_sentiment.py` for its errors."""
FREQUENT = frozenset(
    (
        "the be is are was were been am to of and a in that have has had having it for not on with he she as "
        "you do does did at this but his her by from they them their we us our say or an will my one all "
        "would there what so up out if about who get got which go going went when me make can like time no "
        "just him know take people into year your some could see other than then now look only come its over "
        "think also back after use two how first well way even new want because any these give day most very "
        "much more too many every never always nothing none something everything ok okay yes thank thanks "
        "please still again being don't didn't isn't wasn't can't couldn't won't i i'm i've it's staff "
        "service good bad great poor nice "
    ).split()
)
"""Words that a short English comment is mostly made of."""
_DECLARED = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9-]+)?", re.ASCII)
_LATIN = re.compile(r"[a-z']+")


def declared(language: str) -> str:
    """ISO 639-1 (or -3) of a declared language: `en-GB` and `EN` are `en`; anything else is empty."""
    match = _DECLARED.fullmatch(language.strip())
    return match[1].lower() if match else ""


class Detector:
    """Names the language of texts. *english* are words that no short text needs more than to be English."""

    def __init__(self, english: frozenset[str]) -> None:
        self._english = english
        self._identify = _identifier()

    def detect(self, folded: str) -> str:
        """ISO 639-1 of a text in lower case; empty when there is nothing to tell it by."""
        letters = sum(map(str.isalpha, folded))
        if letters < 2:
            return ""
        words = _LATIN.findall(folded)
        known = sum(word in self._english for word in words)
        if len(words) < SHORT_WORDS:
            if known or folded.isascii():
                return "en"
        elif known * 3 >= len(words) * 2:
            return "en"
        language: str = self._identify.classify(folded)[0]
        return language


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)
    identifier.set_languages(list(CANDIDATES))
    return identifier
