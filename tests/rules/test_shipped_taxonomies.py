"""The taxonomies that we ship, tried on sentences as people write them."""

from functools import lru_cache
from pathlib import Path

import pytest

from rules.problems import Problem
from rules.taxonomies import parse_taxonomy
from rules.yaml import Sheet
from scoring.taxonomy import Matcher, Taxonomy, fold, forms

FOLDER = Path(__file__).parents[2] / "rules" / "taxonomies"
NAMES = ("contact-centre", "intents", "social-housing", "software-service")


@lru_cache(maxsize=8)
def shipped(name: str) -> Taxonomy:
    problems: list[Problem] = []
    taxonomy = parse_taxonomy(Sheet(f"{name}.yaml", problems), name, (FOLDER / f"{name}.yaml").read_text("utf-8"))
    assert problems == []
    return taxonomy


@lru_cache(maxsize=8)
def matcher(name: str) -> Matcher:
    return Matcher(shipped(name).themes, shipped(name).intents)


def themes(name: str, text: str) -> set[str]:
    return {found.path for found in matcher(name).find_both(text, fold(text))[0]}


def intents(text: str) -> set[str]:
    return {found.path for found in matcher("intents").find_both(text, fold(text))[1]}


def test_every_file_is_tried_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_phrase_is_well_formed(name: str) -> None:
    nodes = (*shipped(name).themes, *shipped(name).intents)
    assert all(forms(phrase) for node in nodes for phrase in (*node.phrases, *node.excepts))


@pytest.mark.parametrize("name", NAMES)
def test_every_phrase_finds_its_own_node(name: str) -> None:
    """Unless an `except` of the node says otherwise, or something deeper or longer is found in its words."""
    taxonomy = shipped(name)
    for node in (*taxonomy.themes, *taxonomy.intents):
        text = forms(node.phrases[0])[0].removesuffix("*") if node.phrases else ""
        found = [f.path for both in matcher(name).find_both(text, fold(text)) for f in both]
        assert not text or any(path.split("/")[0] == node.path.split("/")[0] for path in found), (node.path, text)


@pytest.mark.parametrize("name", ["contact-centre", "social-housing", "software-service"])
def test_every_programme_has_a_dozen_themes_on_three_levels(name: str) -> None:
    paths = [node.path for node in shipped(name).themes]
    assert len({path.split("/")[0] for path in paths}) >= 12
    assert max(path.count("/") for path in paths) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is black mould in my son’s bedroom", {"damp-and-mould/black-mould"}),
        ("The mould is back, his asthma is worse", {"damp-and-mould/returned", "damp-and-mould/health/breathing"}),
        ("we've had no hot water since Friday and no heating", {"heating/none"}),
        ("the boiler’s fine but the heating isnt working", {"heating/none"}),
        ("I can smell gas in the hallway", {"gas", "communal-areas"}),
        ("water pouring through the ceiling from the flat above", {"leaks/from-above"}),
        ("socket sparking in the kitchen", {"electrics/dangerous"}),
        ("the lift is out of order again", {"lifts"}),
        ("mum was stuck in the lift", {"lifts/trapped"}),
        ("fire door won't close", {"fire-safety", "repairs/doors-and-windows"}),
        ("rats in the bin store", {"pests", "communal-areas"}),
        ("nobody turned up for the repair", {"repairs/missed-appointment"}),
        ("loud music all night", {"anti-social-behaviour/noise"}),
        ("The ceiling has collapsed", {"structure"}),
        ("No damp, no mould, lovely flat", set()),
        ("the plaster moulding is nice", set()),
        ("My rent went up", {"rent-and-charges"}),
        ("Gas safety check was done on time", {"safety-checks"}),
        ("electric bill is high", set()),
    ],
)
def test_what_tenants_write(text: str, expected: set[str]) -> None:
    found = themes("social-housing", text)
    assert expected <= found if expected else found == set()


def test_a_routine_gas_check_is_not_a_gas_emergency() -> None:
    assert "gas" not in themes("social-housing", "The gas safety check was quick and the man was polite")


@pytest.mark.parametrize(
    "theme", ["damp-and-mould", "damp-and-mould/health/breathing", "heating/none", "gas", "safeguarding"]
)
def test_hazards_are_regulated(theme: str) -> None:
    assert {node.path: node.regulated for node in shipped("social-housing").themes}[theme]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("On hold for an hour", {"waiting/on-hold"}),
        ("She said someone would call me back and nobody did", {"waiting/no-reply/promised-call"}),
        ("You charged me twice, I want my money back", {"billing/overcharged", "billing/refund"}),
        ("The advisor was rude and hung up on me", {"staff/rude"}),
        ("The lady was very kind and polite", {"staff/helpful"}),
        ("parcel never arrived", {"delivery/late"}),
        ("someone has used my card, it’s fraud", {"account/fraud"}),
    ],
)
def test_what_callers_write(text: str, expected: set[str]) -> None:
    assert expected <= themes("contact-centre", text)


@pytest.mark.parametrize("text", ["what kind of company is this", "not very helpful", "she wasn’t polite"])
def test_unkindness_is_not_taken_for_praise_of_staff(text: str) -> None:
    assert "staff/helpful" not in themes("contact-centre", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Second outage this week, the whole system is down", {"availability/outage/recurring"}),
        ("we lost all our records", {"data/loss"}),
        ("Okta SSO keeps failing", {"login/sso"}),
        ("webhooks not firing since Monday", {"api/webhooks"}),
        ("The app keeps crashing on my phone", {"usability/mobile/crash"}),
        ("I can see someone else’s data", {"security/breach"}),
    ],
)
def test_what_users_of_software_write(text: str, expected: set[str]) -> None:
    assert expected <= themes("software-service", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want to cancel my contract", "wants-to-leave"),
        ("We’ll be switching to another provider", "wants-to-leave"),
        ("Please call me back today", "wants-a-call-back"),
        ("Can someone ring me about the leak", "wants-a-call-back"),
        ("I need to speak to a manager", "wants-a-call-back"),
        ("Thank you so much", "thanks"),
        ("Dave went above and beyond", "praises-somebody"),
        ("she couldn't have been more helpful", "praises-somebody"),
        ("I’ll see you in court", "threatens-legal-action"),
        ("my solicitor will be in touch", "threatens-legal-action"),
        ("I have written to my MP and the Ombudsman", "threatens-legal-action"),
        ("I dont want to be here any more", "risk-of-harm"),
        ("thinking of killing myself", "risk-of-harm"),
        ("my baby can’t breathe because of the mould", "risk-of-harm"),
        ("there is a strong smell of gas", "risk-of-harm"),
        ("he threatened to kill me and I'm scared to go home", "risk-of-harm"),
        ("I am not suicidal but this is too much", "risk-of-harm"),
        ("my 3 month old baby sleeps there", "vulnerable-person"),
        ("I'm disabled and live alone", "vulnerable-person"),
        ("This is a formal complaint", "made-a-complaint"),
    ],
)
def test_what_customers_mean_to_do(text: str, expected: str) -> None:
    assert expected in intents(text)


@pytest.mark.parametrize(
    ("text", "not_expected"),
    [
        ("I just wanted to leave feedback", "wants-to-leave"),
        ("I don’t want to leave, I love it here", "wants-to-leave"),
        ("had to cancel my appointment", "wants-to-leave"),
        ("no need to call me back", "wants-a-call-back"),
        ("she rang back within minutes, great", "wants-a-call-back"),
        ("Thanks for nothing", "thanks"),
        ("not very helpful", "praises-somebody"),
        ("Sue was lovely", "threatens-legal-action"),
        ("nearly killed myself laughing", "risk-of-harm"),
        ("they hit me with another charge", "risk-of-harm"),
        ("they are threatening me with legal action", "risk-of-harm"),
        ("you disabled my account", "vulnerable-person"),
        ("can't complain really", "made-a-complaint"),
    ],
)
def test_what_customers_do_not_mean(text: str, not_expected: str) -> None:
    assert not_expected not in intents(text)
