"""Whatever the `apprise` library knows, for tools that have no module of their own; an optional extra.

It knows no answer but yes and no, has no key for repeats, and follows redirects on its own connections: the guard
against private addresses does not hold there, so `allow_private` must be said.
"""

from connectors.targets.target import Common, Kit, Notice, Talk, Told


class Apprise(Common, frozen=True, kw_only=True, tag="apprise"):
    secret_fields = ("url",)
    sections = ("title", "text")
    concurrency = 1

    url: str
    """A reference to the library's URL, which holds the tool's credentials."""
    per_second: float = 1.0

    def problems(self) -> list[str]:
        if self.allow_private:
            return []
        return ["apprise connects by itself, past our guard against private addresses: say allow_private: true"]

    def talk(self, told: Told, kit: Kit) -> Talk:
        yield Notice(
            url=kit.secrets["url"],
            title=kit.fill("title", told),
            text=kit.fill("text", told),
            severity=told.values.get("severity", "warning"),
        )
        return ""
