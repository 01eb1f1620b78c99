"""Email over SMTP, a message for each event; the mails of a case make one thread.

The Message-ID comes from the event's id and the target's name, so a repeat is the same message to whoever sorts mail.
"""

import re
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

from connectors.targets.shapes import cut
from connectors.targets.target import Common, Kit, Mail, Talk, TargetError, Told
from feedback.instants import as_datetime, parse_instant

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)


class Email(Common, frozen=True, kw_only=True, tag="email"):
    secret_fields = ("password",)
    sections = ("subject", "text")
    concurrency = 2

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` is required, not tried: a server that does not offer it gets nothing."""
    user: str = ""
    password: str = ""
    ca_file: str = ""
    """Authorities that vouch for the server, in place of the system's: for a relay of the house."""
    sender: str
    to: tuple[str, ...]
    events: tuple[str, ...] = ("case.opened", "case.escalated", "case.resolved", "clock.breached")
    per_second: float = 5.0

    def problems(self) -> list[str]:
        found = [f"{one[:80]!r} is no address" for one in (self.sender, *self.to) if not _ADDRESS.fullmatch(one)]
        if not self.to:
            found.append("to names nobody")
        if not 0 < self.port < 65_536:
            found.append("port must be 1 to 65535")
        if bool(self.user) != bool(self.password):
            found.append("user and password go together")
        if self.user and self.security == "none":
            found.append("a password is not sent over an open line: security must be starttls or tls")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        domain = self.sender.partition("@")[2]
        message = EmailMessage(policy=SMTP)
        try:
            message["From"] = Address("Tocsin", addr_spec=self.sender)
            message["To"] = [Address(addr_spec=one) for one in self.to]
            message["Subject"] = cut(" ".join(kit.fill("subject", told).split()), 200)
            message["Message-ID"] = f"<{told.id}.{self.name}@{domain}>"
            if told.case:
                message["References"] = f"<{told.case}.{self.name}@{domain}>"
            if told.values.get("time"):
                message["Date"] = format_datetime(as_datetime(parse_instant(told.values["time"])))
            message["Auto-Submitted"] = "auto-generated"
            message.set_content(kit.fill("text", told))
        except (ValueError, MessageError):
            raise TargetError("bad_message", permanent=True, ours=True) from None
        yield Mail(
            message=message,
            sender=self.sender,
            recipients=self.to,
            host=self.host,
            port=self.port,
            security=self.security,
            user=self.user,
            password=kit.secrets["password"],
            ca_file=self.ca_file,
        )
        return ""
