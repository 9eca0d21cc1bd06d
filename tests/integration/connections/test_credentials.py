"""App credentials: both or neither, masked, tenant before application, and a reason whenever one cannot connect."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.connections import credentials
from services.connections.application import Application
from services.connections.vault import Vault, new_key
from services.database import Database
from services.ledger import timeline
from services.refusals import Refusal
from tests.support.intuit import Admin

TENANT = "tenant-a"
ID, KEY = "fake-client-id-0042", "fake-client-secret-0042"
NONE = Application()
SHARED = Application(
    client_id=SecretStr("shared-client-id-7"), client_secret=SecretStr("shared-secret-00007")
)


@pytest.fixture
def vault() -> Vault:
    """A vault of its own."""
    return Vault([new_key()])


def test_saved_credentials_are_ready_and_masked(api: Database, vault: Vault) -> None:
    """After saving both, the card shows Credentials Ready and the last four characters; nothing more is returned."""
    with api.transaction(TENANT) as connection:
        assert not credentials.status(connection, vault, NONE, TENANT).ready
        credentials.save(connection, vault, TENANT, client_id=f" {ID}\n", client_secret=KEY, actor="maria")
        shown = credentials.status(connection, vault, NONE, TENANT)
    assert (shown.ready, shown.source, shown.reason, shown.updated_by) == (True, "tenant", None, "maria")
    assert (shown.client_id, shown.client_secret) == ("••••0042", "••••0042")
    assert ID not in repr(shown)
    assert KEY not in repr(shown)


def test_stored_credentials_are_encrypted(api: Database, vault: Vault) -> None:
    """Neither half can be read in the table, nor in the timeline that says who saved them."""
    with api.transaction(TENANT) as connection:
        credentials.save(connection, vault, TENANT, client_id=ID, client_secret=KEY, actor="maria")
        row = connection.execute(text("SELECT client_id, client_secret FROM app_credential")).one()
        entries = timeline.read(connection, TENANT, "credentials", "quickbooks")
    assert ID.encode() not in row.client_id + row.client_secret
    assert KEY.encode() not in row.client_id + row.client_secret
    assert [(entry.actor, entry.action) for entry in entries] == [("maria", "saved")]
    assert ID not in str(entries)


@pytest.mark.parametrize(
    ("client_id", "client_secret", "field"),
    [
        ("", KEY, "client_id"),
        (ID, "   ", "client_secret"),
        ("x" * 201, KEY, "client_id"),
        (ID, "with space in", "client_secret"),
        (ID, "ümlaut-in-a-secret", "client_secret"),
    ],
)
def test_half_or_malformed_credentials_change_nothing(
    client_id: str, client_secret: str, field: str, api: Database, vault: Vault
) -> None:
    """Both halves or neither: the error names the field, does not repeat the value, and nothing is stored."""
    with api.transaction(TENANT) as connection:
        with pytest.raises(Refusal) as refused:
            credentials.save(
                connection, vault, TENANT, client_id=client_id, client_secret=client_secret, actor="maria"
            )
        assert not credentials.status(connection, vault, NONE, TENANT).ready
    assert refused.value.field == field
    assert KEY not in refused.value.sentence


def test_application_credentials_are_the_fallback(api: Database, vault: Vault) -> None:
    """A tenant without its own app uses the operator's; its own app wins once it is saved."""
    with api.transaction(TENANT) as connection:
        assert credentials.resolve(connection, vault, SHARED, TENANT).source == "application"
        credentials.save(connection, vault, TENANT, client_id=ID, client_secret=KEY, actor="maria")
        own = credentials.resolve(connection, vault, SHARED, TENANT)
    assert (own.source, own.client_id, own.client_secret) == ("tenant", ID, KEY)


@pytest.mark.parametrize(
    ("application", "lacking"),
    [
        (Application(client_id=SecretStr("only-an-id")), "QBO_CLIENT_SECRET"),
        (Application(client_secret=SecretStr("only-a-secret")), "QBO_CLIENT_ID"),
    ],
)
def test_half_configured_application_is_an_error(
    application: Application, lacking: str, api: Database, vault: Vault
) -> None:
    """Half of the operator's app is no app: the missing setting is named."""
    with api.transaction(TENANT) as connection, pytest.raises(Refusal, match=lacking) as refused:
        credentials.resolve(connection, vault, application, TENANT)
    assert refused.value.code == "config_missing"


def test_removing_needs_a_disconnect_first(admin: Admin) -> None:
    """Credentials with which a company is connected stay; without one they go, and the tenant is not ready."""
    company = admin.connected(TENANT)
    with (
        admin.database.transaction(TENANT) as connection,
        pytest.raises(Refusal, match=company.realm_id),
    ):
        credentials.remove(connection, TENANT, "maria")
    with admin.database.transaction("tenant-b") as connection:
        assert not credentials.remove(connection, "tenant-b", "maria")


def test_secrets_do_not_show_in_representations() -> None:
    """Credentials in a log line or a traceback show their source only."""
    shown = repr(credentials.Credentials(ID, KEY, "tenant"))
    assert ID not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("secret", "shown"), [("x" * 11, "••••"), ("", "••••"), ("abcdefgh1234", "••••1234")]
)
def test_masking_gives_short_secrets_away_to_nobody(secret: str, shown: str) -> None:
    """The last four characters, and none of a secret that four would nearly complete."""
    assert credentials.masked(secret) == shown
