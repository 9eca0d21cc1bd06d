"""What an attacker needs: every route with values filled in, and a victim with a row in every table there is.

Both are read from what exists (OpenAPI document, pg_catalog), so that a new route or table is attacked by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import Connection, text

SECRET = "alpha7c3f"
"""Stands in what the victim owns and nobody else can know; must stand in no answer to anybody else."""
KNOWN = "known9d2e"
"""Stands in the victim's ids, which an attacker may have learnt and names in every request."""

_TABLES = text(
    """SELECT c.relname FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'algasync'
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"""
)
_COLUMNS = text(
    """SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type
         FROM pg_attribute a
        WHERE a.attrelid = CAST(:name AS regclass) AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attidentity = '' AND a.attgenerated = '' ORDER BY a.attnum"""
)
_RULES = text(
    """SELECT c.conname FROM pg_constraint c
        WHERE c.conrelid = CAST(:name AS regclass) AND c.contype IN ('c', 'f') AND c.conislocal AND c.conparentid = 0"""
)
_PLAIN = {
    "text": KNOWN,
    "boolean": True,
    "integer": 1,
    "smallint": 1,
    "bigint": 1,
    "numeric": 1,
    "double precision": 1.0,
    "jsonb": f'{{"secret": "{SECRET}"}}',
    "bytea": b"\x01",
    "text[]": [KNOWN],
    "uuid[]": [],
    "jsonb[]": [],
    "bigint[]": [1],
    "integer[]": [1],
    "xid8": "1",
    "date": "2026-08-01",
    "timestamp with time zone": "now",
    "interval": "1 hour",
}


def tables(connection: Connection) -> list[str]:
    """Every table that has a tenant."""
    return list(connection.execute(_TABLES).scalars())


def known_id(column: str) -> str:
    """The victim's id in columns of this name: the same everywhere, so that its rows belong together."""
    return str(uuid5(NAMESPACE_OID, column))


def row_of(connection: Connection, table: str, tenant: str) -> tuple[str, dict[str, Any]]:
    """A statement that inserts a row of the tenant, and its values."""
    values: dict[str, Any] = {}
    for column in connection.execute(_COLUMNS, {"name": table}):
        value = known_id(column.name) if column.type == "uuid" else _PLAIN[column.type]
        secret = column.type == "text" and not column.name.endswith(
            ("_id", "kind", "type", "key", "name", "scope")
        )
        values[column.name] = f"{SECRET} {column.name}" if secret else value
    values["tenant_id"] = tenant
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    return f"INSERT INTO {table} ({names}) VALUES ({marks})", values


def settle(connection: Connection, tenant: str) -> None:
    """Give the tenant a row in every table. For the owner of a database that is thrown away: its rules are dropped."""
    for table in tables(connection):
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for rule in connection.execute(_RULES, {"name": table}).scalars().all():
            connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT IF EXISTS "{rule}" CASCADE'))
    for table in tables(connection):
        statement, values = row_of(connection, table, tenant)
        connection.execute(text(f"{statement} ON CONFLICT DO NOTHING"), values)


def digest(connection: Connection, tenant: str) -> dict[str, str]:
    """What the tenant's rows are in every table, as one value each."""
    digests = {}
    for table in tables(connection):
        query = f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t WHERE tenant_id = :tenant"  # noqa: E501 - names from the catalog
        digests[table] = str(connection.execute(text(query), {"tenant": tenant}).scalar())
    return digests


@dataclass(frozen=True)
class Request:
    """One request of the OpenAPI document with values filled in."""

    method: str
    path: str
    template: str
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None


class Routes:
    """Every operation of an OpenAPI document, with values that `ids` know best and the schemas allow."""

    def __init__(self, document: dict[str, Any], ids: dict[str, Any]) -> None:
        self._document = document
        self._ids = ids

    def __iter__(self) -> Iterator[Request]:
        """Each operation once."""
        for template, item in self._document["paths"].items():
            for method, operation in item.items():
                yield self._request(template, method.upper(), operation)

    def _request(self, template: str, method: str, operation: dict[str, Any]) -> Request:
        places: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}, "cookie": {}}
        for one in operation.get("parameters", ()):
            if one.get("required") or one["name"] in self._ids:
                places[one["in"]][one["name"]] = self.sample(one["schema"], one["name"])
        path = re.sub(r"{(\w+)}", lambda found: str(places["path"][found[1]]), template)
        content = operation.get("requestBody", {}).get("content", {})
        body = next((self.sample(one["schema"]) for one in content.values() if "schema" in one), None)
        return Request(method, path, template, places["query"], body)

    def sample(self, schema: dict[str, Any], name: str = "") -> Any:
        """A value of a schema."""
        if name in self._ids and schema.get("type") != "array":
            return self._ids[name]
        if "$ref" in schema:
            return self.sample(
                self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name
            )
        if "const" in schema or "enum" in schema:
            return schema.get("const", (schema.get("enum") or [None])[0])
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self.sample(schema[several][0], name)
        kind = schema.get("type")
        if kind == "object":
            wanted = schema.get("properties", {})
            return {
                key: self.sample(one, key)
                for key, one in wanted.items()
                if key in schema.get("required", ()) or key in self._ids
            }
        if kind == "array":
            return [self.sample(schema.get("items", {}), name.removesuffix("s"))]
        if kind == "string":
            return _string(schema, name)
        return {"integer": max(1, schema.get("minimum", 1)), "number": 1, "boolean": False}.get(
            str(kind), KNOWN
        )


def _string(schema: dict[str, Any], name: str) -> str:
    formats = {"uuid": known_id(name), "date": "2026-08-01", "date-time": "2026-08-01T00:00:00Z"}
    return formats.get(schema.get("format", ""), KNOWN)
