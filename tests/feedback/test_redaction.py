"""What must not be kept is taken out of what customers write, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.decode import Decoder
from feedback.metrics import STANDARD
from feedback.records import Action, Envelope, Response
from feedback.redaction import KINDS, Redactor

EVERYTHING = Redactor(KINDS)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Write to jo.bloggs+x@mail.example.co.uk, please.", "Write to [email], please."),
        ("My card 4111 1111 1111 1111 was charged twice", "My card [card] was charged twice"),
        ("My card 4111-1111-1111-1111.", "My card [card]."),
        ("Order 4111111111111112 never came", "Order 4111111111111112 never came"),
        ("Refund to GB82 WEST 1234 5698 7654 32 today", "Refund to [iban] today"),
        ("Refund to DE89370400440532013000.", "Refund to [iban]."),
        ("Refund to GB83 WEST 1234 5698 7654 32", "Refund to GB83 WEST 1234 5698 7654 32"),
        ("Ring 020 7946 0958 or +44 (0)20 7946 0958", "Ring [phone] or [phone]"),
        ("Ring 07700 900123!", "Ring [phone]!"),
        ("I waited 45 minutes on 03/11/2026 at 10:30", "I waited 45 minutes on 03/11/2026 at 10:30"),
        ("since 03.11.2026, 03-11-2026", "since 03.11.2026, 03-11-2026"),
        ("Reference c-812-4f3a9c01d2e7, flat 12, 3rd floor", "Reference c-812-4f3a9c01d2e7, flat 12, 3rd floor"),
        ("QQ 12 34 56 C", "QQ 12 34 56 C"),
        ("AB 12 34 56 C is mine", "[national_insurance] is mine"),
        ("from 192.0.2.7 again", "from [ip] again"),
        ("Nobody rang back.", "Nobody rang back."),
        ("Schreibt an müller@beispiel.de, 日本 090-1234-5678", "Schreibt an mü[email], 日本 [phone]"),
    ],
)
def test_what_is_known_is_taken_out_and_what_only_looks_like_it_is_not(said: str, kept: str) -> None:
    assert EVERYTHING(said) == kept


def test_only_what_was_asked_for_is_taken_out() -> None:
    assert Redactor(["email"])("a@b.example 07700 900123") == "[email] 07700 900123"


def test_patterns_of_ones_own_have_their_names() -> None:
    assert Redactor([], {"tenancy": r"\bT-\d{6}\b"})("about T-123456") == "about [tenancy]"


@pytest.mark.parametrize(
    ("kinds", "own", "told"),
    [
        (["mail"], {}, "'mail' is not known; expected some of email"),
        ([], {"X": "a"}, "no name for a pattern"),
        ([], {"email": "a"}, "no name for a pattern"),
        ([], {"x": "(?=a)"}, "RE2"),
        ([], {"x": "a*"}, "matches nothing at all"),
        ([], {"x": "a" * 501}, "501 characters"),
    ],
)
def test_a_wrong_setting_is_told(kinds: list[str], own: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        Redactor(kinds, own)


@given(st.text(alphabet="0123456789 +-.@aA()", max_size=300))
def test_no_text_is_an_error_and_what_was_taken_out_is_gone(text: str) -> None:
    once = EVERYTHING(text)

    assert EVERYTHING(once) == once or len(EVERYTHING(once)) < len(once) + 20


def test_the_decoder_takes_it_out_of_texts_attributes_and_reasons_before_anything_reads_them() -> None:
    decoder = Decoder(STANDARD, frozenset({"default"}), Redactor(["email"]))

    def decode(raw: bytes) -> object:
        return decoder.decode(
            Envelope(raw=raw, source="in", position="1", received_at=1.8e9, programme="default", principal="key:crm")
        )

    said = decode(b'{"id": "1", "text": "ask a@b.example", "attributes": {"back": "c@d.example", "n": 3}}')
    loose = decode(b'{"id": 1, "text": "ask a@b.example"}')
    did = decode(b'{"kind": "action", "id": "a", "case": "c", "do": "note", "reason": "wrote to a@b.example"}')

    assert isinstance(said, Response)
    assert (said.text, said.attributes) == ("ask [email]", {"back": "[email]", "n": 3})
    assert isinstance(loose, Response)
    assert loose.text == "ask [email]"
    assert isinstance(did, Action)
    assert did.reason == "wrote to [email]"
