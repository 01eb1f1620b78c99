"""Which language a text is in: the declared one, else what its words or py3langid make of it.

VADER knows English only, and a French text that it scores as neutral is a lie; so a text in another language is
left unscored, and says so. A detector of 140 languages takes "no comment" for Italian, and costs as much as VADER
itself (60 us for 80 letters): so plain English words decide first, and the detector is asked about the rest and
chooses among `CANDIDATES` only. A short text with neither is unknown rather than guessed.
"""

import re
from functools import lru_cache

from py3langid.langid import MODEL_FILE, RAW_FLOOR, LanguageIdentifier

from scoring.english import COMMON, SHARED
from scoring.vader import vader

CANDIDATES = ("en", "fr", "de", "es", "it", "pt", "nl", "pl", "cy", "ro", "tr", "ar", "ur", "pa", "bn", "gu",
              "zh", "ja", "ko", "ru", "uk", "so", "fa", "hi", "el", "sv", "da", "cs", "hu", "lt")  # fmt: skip
"""The languages that British services meet most (Census 2021, main language), and Europe's largest."""
SHORT_WORDS = 4
"""A text of fewer words is too little for the detector: a sixth of such English comments it took for another."""
SAMPLE = 2000
"""Characters that are looked at; more change nothing, and the detector takes 0.7 us for each."""
_DECLARED = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9_-]+)?", re.ASCII)
_WORDS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


@lru_cache(maxsize=1024)
def declared(language: str) -> str:
    """ISO 639-1 (or -3) of a declared language: `en-GB`, `en_US.UTF-8` and `EN` are `en`; else empty."""
    match = _DECLARED.fullmatch(language.strip().split(".")[0])
    return match[1].lower() if match else ""


class Detector:
    """Names the language of texts. Making one reads the model (0.9 s); `detector()` keeps one for the process."""

    def __init__(self) -> None:
        rated = {word for word in vader().lexicon if word.isalpha() and len(word) > 2}
        self._english = (COMMON | rated).__contains__
        self._telling = ((COMMON | rated) - SHARED).__contains__
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)
        self._identifier.set_languages(list(CANDIDATES))

    def detect(self, folded: str) -> str:
        """ISO 639-1 of a text as `taxonomy.fold` gives it; empty when there is nothing to tell it by."""
        sample = folded[:SAMPLE]
        words = _WORDS.findall(sample)
        if not words or (len(words) == 1 and len(words[0]) == 1 and words[0].isascii()):
            return ""
        telling = sum(map(self._telling, words))
        is_short = len(words) < SHORT_WORDS
        if is_short:
            known = sum(map(self._english, words))
            if known == len(words) or (telling and known * 2 >= len(words)):
                return "en"
        elif telling * 5 >= len(words) * 2:
            return "en"
        language = self.alone(sample)
        if is_short and language != "en" and "".join(words).isascii():
            return ""  # "general care" was Romanian here, and a script or an accent would have told
        return language

    def alone(self, folded: str) -> str:
        """What the detector says by itself, among `CANDIDATES`; empty when it knows none of the letters."""
        language: str
        language, score = self._identifier.classify(folded)
        return language if score > RAW_FLOOR else ""  # it names its first language then


@lru_cache(maxsize=1)
def detector() -> Detector:
    """The detector of this process."""
    return Detector()
