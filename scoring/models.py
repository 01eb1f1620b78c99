"""The learned models of one moment, as one value with one version: what a reading is completed by.

A version is named by the hash of its bytes, so that the same name always says the same of a text. Learning goes on
elsewhere (`learned.py`, `learned_themes.py`) and touches nothing here; `flows/models.py` keeps versions on disk.
"""

from hashlib import blake2b

import msgspec

from feedback.records import Response
from scoring.earned import Standing
from scoring.learned import Context, Learner
from scoring.learned_themes import ThemeLearner
from scoring.reading import Reading
from scoring.themes import Themes

VADER = "vader"
"""What a reading was scored by where nothing has been learned."""


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    risk: bytes
    themes: bytes


class Models:
    """The models in force. Immutable: nothing taught later changes what these say."""

    def __init__(self, version: str = "", learner: Learner | None = None, themes: ThemeLearner | None = None) -> None:
        self.version = version
        """Empty before there is one."""
        self._learner = learner or Learner()
        self._themes: dict[str, Themes] = {}
        if themes is not None:
            self._themes = {name: made for name in themes.programmes if (made := themes.frozen(name)) is not None}

    def read(self, response: Response, reading: Reading) -> Reading:
        """*reading* with its risk, the words of it, and the themes suggested besides those that phrases show."""
        scored_by = self.version or VADER
        if reading.unscored == "no_text":
            return msgspec.structs.replace(reading, scored_by=scored_by)
        context = context_of(response, reading)
        risk = self._learner.score(response.text, context, reading.sentiment)
        themes = self._themes.get(response.programme)
        return msgspec.structs.replace(
            reading,
            risk=None if risk is None else round(risk.risk, 4),
            risk_words=() if risk is None else risk.words,
            suggested=() if themes is None else themes.suggest(response.text, context, reading.themes),
            scored_by=scored_by,
        )

    def set_aside_since(self, before: "Models") -> dict[tuple[str, str], Standing]:
        """Where the learned risk had a say in *before* and has none now, by programme and language."""
        earned = before.standings()
        return {
            where: standing
            for where, standing in self.standings().items()
            if not standing.weight and (held := earned.get(where)) is not None and held.weight
        }

    def standings(self) -> dict[tuple[str, str], Standing]:
        """Of each programme and language what its model has earned."""
        return self._learner.standings()


def context_of(response: Response, reading: Reading) -> Context:
    """Where a response is from. What was asked is `attributes.question`, else the touchpoint."""
    return Context(
        programme=response.programme,
        language=reading.language,
        channel=response.channel,
        question=str(response.attributes.get("question") or response.touchpoint),
    )


def pack(learner: Learner, themes: ThemeLearner) -> tuple[str, bytes]:
    """What both have learned, and the version that it is known by."""
    data = msgspec.msgpack.encode(_Packed(learner.dump(), themes.dump()))
    return blake2b(data, digest_size=8).hexdigest(), data


def unpack(data: bytes) -> tuple[Learner, ThemeLearner]:
    """The learners that *data* was packed of. Raises VersionUnknown, or msgspec's DecodeError."""
    packed = msgspec.msgpack.decode(data, type=_Packed)
    return Learner.load(packed.risk), ThemeLearner.load(packed.themes)
