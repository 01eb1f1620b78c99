"""What the demo plays: responses of our own writing for all three audiences, in a fixed, lively order.

Each line is (programme, channel, metric and score or nothing, text). They are shuffled by a fixed seed and given
customers, sites and segments, so every run of the demo tells the same story.
"""

import random
from collections.abc import Iterator
from typing import Any

Line = tuple[str, str, tuple[str, float] | None, str]

CONTACT: tuple[Line, ...] = tuple(
    ("contact-centre", channel, ("nps", score) if score is not None else None, text)
    for channel, score, text in (
        ("sms", 2, "Forty minutes on hold and then the agent hung up on me."),
        ("email", 9, "Siobhan was brilliant. She sorted it in minutes and rang back to check."),
        ("web", 8, "Fine in the end, though I had to explain it twice before somebody understood."),
        ("web", 10, "Really easy to use and a quick answer. Thank you!"),
        ("sms", 3, "Charged me twice again. Third time I have asked for a refund."),
        ("email", 1, "Nobody got back to me for two weeks. I will be going to the ombudsman."),
        ("app", 9, "Parcel arrived early and the driver was lovely."),
        ("app", 4, "The app keeps crashing when I try to pay my bill."),
        ("phone", None, "I am so angry, this is the worst and most useless company I have ever dealt with. Horrible."),
        ("review", None, "Terrible quality, fell apart after a week, awful support, hated every minute of it."),
        ("sms", 7, "OK."),
        ("web", 6, "Passed from department to department, had to repeat myself each time."),
        ("email", 0, "Cancel my contract, I am switching to another provider. That was the last straw."),
        ("chat", None, "Please call me back this afternoon, I need to speak to a manager about the delivery."),
        ("web", 9, "Marcus Bell was so patient with my mother. A credit to your team."),
        ("sms", 10, "great"),
        ("web", 5, "Price increase again and no warning of it. Poor value."),
        ("email", 2, "Somebody has used my account, money has gone from it and your fraud line is shut."),
        ("app", 8, "Works well, but the password reset took three tries."),
        ("sms", 9, "Quick delivery, good price, no complaints."),
        ("email", 3, "You sent my details to someone else. That is a data breach."),
        ("web", 6, "Engineer never came. I took the day off work for nothing."),
        ("web", 10, "Tomasz explained everything and was very helpful."),
        ("sms", 1, "Lies. You said it would be fixed on Monday and it never happened."),
        ("email", 7, "Nothing wrong as such, it just took longer than you promised on the website."),
        ("web", None, "Très mauvais service, personne ne répond au téléphone depuis trois jours."),
    )
)

HOUSING: tuple[Line, ...] = tuple(
    ("housing", channel, ("csat", score) if score is not None else None, text)
    for channel, score, text in (
        ("phone", None, "There is black mould all over the bedroom and my baby has a chest infection."),
        ("web", None, "Smell of gas in the hallway since this morning."),
        ("email", 2, "The boiler broke on Friday and we have had no heating or hot water since."),
        ("sms", 5, "The man who fixed the tap was polite and left it clean. Thank you."),
        ("phone", None, "Water is coming through the ceiling onto the light fitting and it is sparking."),
        ("web", 1, "Reported the damp three times. It was painted over and the mould has come back."),
        ("email", None, "I want to make a complaint. Nobody turned up for the third appointment."),
        ("phone", None, "The lift is broken again and my neighbour uses a wheelchair."),
        ("web", None, "Rats in the bin store, droppings in my kitchen."),
        ("phone", None, "The man upstairs threatened me with a knife."),
        ("web", 4, "Good job on the window, sorted the same day."),
        ("email", None, "Loud music until four every night. I can't sleep and nobody answers my emails."),
        ("phone", None, "I have not seen the old lady next door for days and her curtains are shut."),
        ("web", 3, "Stairwell has not been cleaned for a month."),
        ("sms", None, "Thank you for the new front door, it is perfect."),
        ("web", 1, "Contractor made it worse, left a mess and marked the job as complete."),
        ("phone", None, "Fire door on the second floor does not close and the smoke alarm beeps all night."),
        ("email", None, "When will the playground be mended?"),
        ("web", None, "Raw sewage is backing up into the bath."),
        ("phone", None, "My handrail has come off and I nearly fell down the stairs."),
    )
)

SOFTWARE: tuple[Line, ...] = tuple(
    ("software-service", channel, ("nps", score) if score is not None else None, text)
    for channel, score, text in (
        ("app", 9, "Intuitive, and support answered in five minutes. Love it."),
        ("ticket", None, "After the update all our records disappeared. We need them restored today."),
        ("app", 3, "Slow since the last release. Dashboards take forever to load."),
        ("ticket", None, "Everything is down for us, 503 on every page."),
        ("email", 5, "Too many clicks, a cluttered interface and no way to undo."),
        ("ticket", None, "I can see another company's data in my search results."),
        ("email", 2, "Price hike again. We are looking at other tools and will not be renewing."),
        ("app", 8, "Would be nice to see bulk edit and a dark theme, otherwise a solid product."),
        ("app", 10, "Set up in minutes, the API docs are excellent and nothing has broken since."),
        ("ticket", None, "The API changed without notice and broke our integration."),
        ("ticket", None, "You charged us for seats that we removed in March. We would like a refund."),
        ("app", 9, "Great."),
        ("email", None, "SSO stopped working for half of our staff this morning."),
        ("app", 7, "Good, but the mobile app crashes when I rotate my phone."),
        ("email", None, "Our lawyers will be in touch about the data protection terms."),
        ("app", 10, "Export to CSV just works. Small thing, big relief."),
    )
)

SITES = ("leeds", "cardiff", "north", "south")
SEGMENTS = ("standard", "standard", "standard", "gold", "enterprise")


def responses(seed: int = 7) -> Iterator[tuple[str, dict[str, Any]]]:
    """(programme, record) for ever, the same ones in the same order for the same *seed*."""
    dice = random.Random(seed)
    number = 0
    while True:
        lines = [*CONTACT, *HOUSING, *SOFTWARE]
        dice.shuffle(lines)
        for programme, channel, score, text in lines:
            number += 1
            attributes: dict[str, Any] = {"site": dice.choice(SITES), "segment": dice.choice(SEGMENTS)}
            if programme == "housing":
                attributes["property"] = f"{dice.randrange(1, 90)} Quay Street"
            if programme == "software-service" and dice.random() < 0.2:
                attributes["arr"] = dice.choice([20_000, 60_000, 140_000])
            record: dict[str, Any] = {
                "id": f"demo-{number}",
                "source": "demo",
                "programme": programme,
                "customer": f"customer-{dice.randrange(1000, 9999)}" if dice.random() < 0.92 else None,
                "channel": channel,
                "text": text,
                "attributes": attributes,
            }
            if score is not None:
                record["scores"] = {score[0]: score[1]}
            yield programme, record


def unreadable() -> tuple[bytes, ...]:
    """Records that no engine should stop for."""
    return (
        b'{"id": "broken", "scores": {"nps": 11}}',
        b'{"id": "cut off in the mid',
        b'{"id": "naive", "occurred_at": "2026-11-02T09:00:00", "text": "When was that?"}',
    )


def watched(order: str, text: str, customer: str) -> dict[str, Any]:
    """The two customers whose cases the demo follows."""
    return {
        "id": f"demo-{order}",
        "source": "demo",
        "programme": "demo",
        "customer": customer,
        "channel": "sms",
        "scores": {"nps": 1},
        "text": text,
        "attributes": {"order": order, "site": "leeds"},
    }
