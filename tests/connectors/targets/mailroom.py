"""A real SMTP server on loopback: STARTTLS and a password are required, and a message must be whole."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.connectors.targets.standins import Standin

CERTIFICATE = Path(__file__).parent / "mail.pem"
"""Self-signed for localhost and 127.0.0.1, with its key; good for nothing else."""


class MailTool(Standin):
    kind = "email"

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.mails: list[Message] = []
        self.says: list[str] = []
        """Answers to the next messages, in place of taking them."""

    def own(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1", "port": self.port, "user": "tocsin", "password": "env:TOOL_SECRET",
            "sender": "alerts@example.com", "to": ["team@example.com", "lead@example.com"],
            "ca_file": str(CERTIFICATE), "events": ["*"],
        }  # fmt: skip

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]) -> str:
        if not to.endswith("@example.com"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        if self.says:
            return self.says.pop(0)
        mail = message_from_bytes(content, policy=default)
        whole = all(mail[name] for name in ("From", "To", "Subject", "Message-ID", "Date"))
        if not whole or len(mail["Subject"]) > 255 or any(len(line) > 998 for line in content.split(b"\r\n")):
            return "554 not a whole message"
        self.mails.append(mail)
        self.kept[mail["Message-ID"]] = mail
        return "250 taken"

    def _signs_in(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        right = (given.login, given.password) == (b"tocsin", self.secret.encode())
        return AuthResult(success=right, handled=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["MailTool"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)

        def made() -> SMTP:
            return SMTP(
                self, tls_context=context, require_starttls=True, auth_required=True,
                authenticator=self._signs_in, hostname="mail.example.com", loop=asyncio.get_running_loop(),
            )  # fmt: skip

        server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
