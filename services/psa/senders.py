"""The senders of an installation, by kind of destination."""

from __future__ import annotations

from services.connections.vault import Vault
from services.exceptions.notice_mail import MailSettings
from services.psa.addresses import Outgoing
from services.psa.algapsa import AlgaPsaSender
from services.psa.mailing import MailSender
from services.psa.sending import Sender
from services.psa.transport import Transport
from services.psa.webhook import WebhookSender


def senders(vault: Vault, outgoing: Outgoing, mail: MailSettings) -> dict[str, Sender]:
    """Webhooks, AlgaPSA's REST API and mail."""
    transport = Transport(outgoing)
    return {
        "webhook": WebhookSender(transport, vault),
        "algapsa": AlgaPsaSender(transport, vault),
        "mail": MailSender(mail),
    }
