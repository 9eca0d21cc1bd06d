"""Row-level security, asked of PostgreSQL's own catalog: no tenant table without it, whoever adds one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from services.database import Database, Role
from services.database.engine import ALL_TENANTS

_TENANT_TABLES = """
    SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) AS owner
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'algasync'
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
     WHERE c.relkind IN ('r', 'p') ORDER BY c.relname"""
_POLICIES = """
    SELECT array_agg(r.rolname ORDER BY r.rolname), p.polcmd, pg_get_expr(p.polqual, p.polrelid),
           pg_get_expr(p.polwithcheck, p.polrelid)
      FROM pg_policy p LEFT JOIN pg_roles r ON r.oid = ANY (p.polroles)
     WHERE p.polrelid = :table GROUP BY p.oid"""
# Views of the owner would read past the policies of their tables.
_VIEWS = """
    SELECT c.relname, coalesce('security_invoker=true' = ANY (c.reloptions), false) AS invoker,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS tenant
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'algasync'
     WHERE c.relkind IN ('v', 'm')"""
_GRANTS = """
    SELECT table_name, privilege_type FROM information_schema.role_table_grants
     WHERE table_schema = 'algasync' AND grantee = :role"""


@pytest.fixture
def owner(module_database_url: str) -> Iterator[Connection]:
    """The owner's view of the catalog."""
    with (
        Database(module_database_url, Role.OWNER) as database,
        database.transaction(ALL_TENANTS) as connection,
    ):
        yield connection


@pytest.fixture
def tables(owner: Connection) -> list[Any]:
    """Every table with a tenant."""
    found = list(owner.execute(text(_TENANT_TABLES)))
    assert len(found) > 15
    return found


def test_every_tenant_table_is_protected(tables: list[Any]) -> None:
    """Enabled, forced even for the owner, and owned by the owner's role."""
    careless = [
        table.relname
        for table in tables
        if not (table.relrowsecurity and table.relforcerowsecurity and table.owner == "algasync_owner")
    ]
    assert careless == []


def test_every_tenant_table_has_the_policies(tables: list[Any], owner: Connection) -> None:
    """Owner, API and fleet each have a policy for every command; the API's names one tenant and no other way."""
    for table in tables:
        found = {
            tuple(roles): (command, using, check)
            for roles, command, using, check in owner.execute(text(_POLICIES), {"table": table.oid})
        }
        for role in ("algasync_owner", "algasync_api", "algasync_fleet"):
            assert (role,) in found, (table.relname, role)
            assert found[(role,)][0] == "*", (table.relname, role)
        _, using, check = found[("algasync_api",)]
        expected = "(tenant_id = current_setting('algasync.tenant'::text, true))"
        assert (using, check) == (expected, expected), table.relname


def test_tables_without_a_tenant_hold_nobodys_data(owner: Connection, tables: list[Any]) -> None:
    """A new table either has a tenant or is named here, with the reason."""
    harmless = {
        "alembic_version",  # which migrations ran
        "event_type",  # the contract's event types
        "event_field",  # and their fields
        "accounting_event_dropped",  # one number: up to where the feed was dropped
    }
    protected = {table.relname for table in tables}
    everything = set(
        owner.execute(
            text(
                """SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'algasync' AND c.relkind IN ('r', 'p')"""
            )
        ).scalars()
    )
    assert everything - protected <= harmless


def test_views_do_not_open_a_way_around(owner: Connection) -> None:
    """A view that shows tenants asks with its reader's rights, or the API cannot read it."""
    granted = {row.table_name for row in owner.execute(text(_GRANTS), {"role": "algasync_api"})}
    open_views = [
        view.relname
        for view in owner.execute(text(_VIEWS))
        if view.tenant and not view.invoker and view.relname in granted
    ]
    assert open_views == []


def test_who_may_only_emit_can_read_nothing(owner: Connection) -> None:
    """The PSA's own login has no right on any table."""
    assert list(owner.execute(text(_GRANTS), {"role": "algasync_emit"})) == []


def test_nobody_has_rights_by_default(owner: Connection) -> None:
    """PUBLIC can neither read a table nor call a function."""
    assert list(owner.execute(text(_GRANTS), {"role": "PUBLIC"})) == []
    callable_by_all = owner.execute(
        text(
            """SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = 'algasync' AND has_function_privilege('public', p.oid, 'EXECUTE')"""
        )
    ).scalars()
    assert list(callable_by_all) == []


def test_definer_functions_have_a_fixed_search_path(owner: Connection) -> None:
    """A function that runs with the owner's rights looks names up where we say, not where its caller says."""
    loose = owner.execute(
        text(
            """SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = 'algasync' AND p.prosecdef
                  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=algasync, pg_catalog%')"""
        )
    ).scalars()
    assert list(loose) == []


def test_the_api_never_works_across_tenants(module_database_url: str) -> None:
    """Asked for all tenants it refuses; a transaction that says '*' by hand sees nothing all the same."""
    with Database(module_database_url, Role.FLEET) as fleet, fleet.transaction("tenant-a") as connection:
        connection.execute(
            text(
                """INSERT INTO setting (tenant_id, scope, name, value, updated_by)
                   VALUES ('tenant-a', 'tenant', 'auto_sync', 'true', 'test')"""
            )
        )
    with Database(module_database_url, Role.API) as api:
        with pytest.raises(PermissionError, match="never works across tenants"), api.transaction(ALL_TENANTS):
            pass
        with api.engine.begin() as connection:
            seen = text("SELECT count(*) FROM setting")
            assert connection.execute(seen).scalar() == 0  # no tenant named
            for tenant, expected in (("*", 0), ("tenant-b", 0), ("tenant-a", 1)):
                connection.execute(text("SELECT set_config('algasync.tenant', :t, true)"), {"t": tenant})
                assert connection.execute(seen).scalar() == expected


@pytest.mark.parametrize("role", ["algasync_owner", "algasync_fleet"])
def test_the_api_cannot_become_another_role(role: str, module_database_url: str) -> None:
    """A login that has only the API's role stays in it."""
    with Database(module_database_url, Role.OWNER) as owner, owner.engine.begin() as connection:
        member = connection.execute(
            text("SELECT pg_has_role('algasync_api', :role, 'MEMBER')"), {"role": role}
        ).scalar_one()
    assert member is False


def test_foreign_rows_cannot_be_written(module_database_url: str) -> None:
    """A row for another tenant is refused by PostgreSQL, whatever the query says."""
    insert = text(
        """INSERT INTO setting (tenant_id, scope, name, value, updated_by)
           VALUES ('tenant-b', 'tenant', 'poll_interval', '5', 'mallory')"""
    )
    with (
        Database(module_database_url, Role.API) as api,
        pytest.raises(ProgrammingError, match="row-level security"),
        api.transaction("tenant-a") as connection,
    ):
        connection.execute(insert)
