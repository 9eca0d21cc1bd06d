"""Which invoice and credit note of ours is which one in QuickBooks: linked, so that it is never exported again.

How a match is judged: `history_matches`. A link that is written means as well that steps not sent are skipped, and
that what failed for want of the document is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from services.database import Database
from services.exceptions import replays
from services.ledger import documents, waits
from services.ledger.attempts import finish
from services.ledger.operations import COLUMNS, State, from_row
from services.onboarding import customers, handover, reading, runs
from services.onboarding.handover import VOIDED, Document
from services.onboarding.history_matches import ENTITIES, Found, Match, judged
from services.onboarding.runs import Run
from services.refusals import conflict, missing

BATCH = 250
"""Links written in one transaction."""


_LINKED = text(
    """SELECT l.kind, l.document_id, l.external_type, l.external_id, l.company_id = :company AS here, c.name
         FROM link l JOIN company c USING (company_id) WHERE l.tenant_id = :tenant"""
)
_HOME = text("SELECT home_currency FROM company WHERE company_id = :company")
# Subqueries that must be asked row by row: a batch is small, the tables are new and large, and without statistics
# PostgreSQL would read them whole for every batch.
_LINK = text(
    """INSERT INTO link (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token, number,
                         total, currency, state, snapshot, linked_via)
       SELECT :tenant, :company, r.kind, r.id, r.entity, r.external_id, o.data ->> 'SyncToken', o.data ->> 'DocNumber',
              (o.data ->> 'TotalAmt')::numeric, r.currency,
              CASE WHEN r.voided THEN 'voided' ELSE 'synced' END, o.data, 'onboarding'
         FROM jsonb_to_recordset(CAST(:rows AS jsonb))
              AS r (kind text, id text, external_id text, entity text, currency text, voided boolean)
        CROSS JOIN LATERAL (SELECT data FROM onboarding_object
                             WHERE run_id = :run AND entity = r.entity AND external_id = r.external_id LIMIT 1) AS o
        WHERE (SELECT true FROM link l
                WHERE l.tenant_id = :tenant AND l.kind = r.kind AND l.document_id = r.id LIMIT 1) IS NULL
          -- an export under way, or of unknown outcome, may have made another object
          AND (SELECT true FROM operation x WHERE x.tenant_id = :tenant AND x.document_kind = r.kind
                  AND x.document_id = r.id AND x.outcome IN ('intended', 'unknown') LIMIT 1) IS NULL
       ON CONFLICT DO NOTHING
       RETURNING kind, document_id, external_id"""
)
_RECORD = text(
    """WITH wanted AS (
         SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (kind text, id text, external_id text)),
       told AS (
         SELECT timeline_append(:tenant, kind, id, :actor, 'linked',
                  jsonb_build_object('company', CAST(:company AS text), 'external_id', external_id,
                                     'run', CAST(:run AS text), 'how', CAST(:how AS text))) AS place
           FROM wanted)
       INSERT INTO onboarding_action (run_id, tenant_id, action, kind, key, external_id, facts, actor)
       SELECT CAST(:run AS uuid), :tenant, 'linked', kind, id, external_id,
              jsonb_build_object('how', CAST(:how AS text)), :actor
         FROM wanted, (SELECT count(*) FROM told) AS all_of_them"""
)
# What would still be exported although it is there: steps that were never sent.
_UNSENT = text(
    f"""SELECT {COLUMNS} FROM operation o
         WHERE o.tenant_id = :tenant AND o.kind IN ('export_invoice', 'export_credit_memo')
           AND (o.document_kind, o.document_id) IN
               (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])))
           AND o.state IN ('queued', 'scheduled', 'waiting', 'failed') AND o.outcome IN ('none', 'unsent', 'refused')
         ORDER BY o.operation_id FOR UPDATE"""  # noqa: S608 - constant columns
)


# What failed because a document it refers to was in no books that we know of.
_RESTING = text(
    """SELECT o.operation_id FROM operation o
        WHERE o.tenant_id = :tenant AND o.state = 'failed'
          AND o.reason_code IN ('unlinked_before_cutover', 'unlinked_document')
          AND EXISTS (SELECT FROM jsonb_array_elements(o.payload -> 'involves') AS e
                        JOIN unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)
                          ON e ->> 0 = u.kind AND e ->> 1 = u.id)
        ORDER BY o.operation_id"""
)


def match(database: Database, run: Run) -> list[Match]:
    """Judge every invoice and credit note by what was read and what is linked by now. Changes nothing.

    Judging takes its time, so no transaction is open meanwhile.
    """
    values = {"tenant": run.tenant_id, "company": run.company_id}
    with database.transaction(run.tenant_id) as connection:
        rows = connection.execute(_LINKED, values).all()
        home = connection.execute(_HOME, values).scalar() or ""
        customer_links = {at: row.external_id for at, row in customers.linked(connection, run).items()}
        parents = {one.id: one.parent for one in reading.customers(connection, run.run_id)}
        forms = reading.sales_forms(connection, run.run_id)
        listed = handover.documents(connection, run.tenant_id)
    ours = {(row.kind, row.document_id): _where(row) for row in rows}
    theirs = {(row.external_type, row.external_id) for row in rows if row.here}
    return judged(listed, forms, ours, theirs, customer_links, parents, home)


def link_confident(
    database: Database,
    run: Run,
    *,
    actor: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Link every confident match; returns how many. A run that died goes on where it was."""
    sure = [one for one in match(database, run) if one.status == "confident"]
    linked = 0
    for first in range(0, len(sure), BATCH):
        with database.transaction(run.tenant_id) as connection:
            runs.opened(connection, run.run_id)
            chosen = [(one.document, one.found[0]) for one in sure[first : first + BATCH]]
            linked += len(_link(connection, run, chosen, "confident", actor))
        progress(min(first + BATCH, len(sure)), len(sure))
    return linked


def link(
    connection: Connection, run: Run, kind: str, document_id: str, external_id: str, *, actor: str
) -> None:
    """Link one document to the one a person chose after a look. Raises `Refusal`; exports nothing."""
    runs.opened(connection, run.run_id)
    document = next(
        (
            one
            for one in handover.documents(connection, run.tenant_id)
            if (one.kind, one.id) == (kind, document_id)
        ),
        None,
    )
    if document is None:
        raise missing(f"the PSA listed no {kind} {document_id}", code="unknown_document", field="document")
    form = next(
        (
            form
            for form in reading.sales_forms(connection, run.run_id)
            if (form.entity, form.id) == (ENTITIES[kind], external_id)
        ),
        None,
    )
    if form is None:
        raise missing(
            f"QuickBooks had no {ENTITIES[kind]} {external_id} when it was read; refresh the run if it is new",
            code="unknown_object",
            field="external_id",
        )
    home = connection.execute(_HOME, {"company": run.company_id}).scalar() or ""
    if (form.currency or home) != document.currency:
        raise conflict(
            "currency_mismatch",
            f"{kind} {document.number} is in {document.currency} and {form.number or external_id} in"
            f" {form.currency or home}; they cannot be the same",
            field="external_id",
        )
    there = Found(form.entity, form.id, form.number, form.day, Decimal(form.total), form.customer, ())
    if not _link(connection, run, [(document, there)], "chosen", actor):
        raise conflict(
            "already_linked",
            f"{kind} {document.number} or {ENTITIES[kind]} {external_id} is linked already (undo that link first), or"
            " the document is being exported just now (look again when that is over)",
            field="external_id",
        )


def _link(
    connection: Connection, run: Run, chosen: Sequence[tuple[Document, Found]], how: str, actor: str
) -> list[tuple[str, str]]:
    """Write links, what they mean for steps not sent, timeline and the run's record; returns what was linked."""
    places = sorted((document.kind, document.id) for document, _ in chosen)
    documents.lock(connection, run.tenant_id, places)
    rows = [
        {
            "kind": document.kind,
            "id": document.id,
            "external_id": found.id,
            "entity": found.entity,
            "currency": document.currency,
            "voided": document.state in VOIDED,
        }
        for document, found in chosen
    ]
    values = {"tenant": run.tenant_id, "company": run.company_id, "run": run.run_id, "rows": json.dumps(rows)}
    done = connection.execute(_LINK, values).all()
    if not done:
        return []
    told = [{"kind": row.kind, "id": row.document_id, "external_id": row.external_id} for row in done]
    connection.execute(
        _RECORD,
        {
            "tenant": run.tenant_id,
            "company": str(run.company_id),
            "run": str(run.run_id),
            "rows": json.dumps(told),
            "how": how,
            "actor": actor,
        },
    )
    linked = [(row.kind, row.document_id) for row in done]
    waits.release_all(connection, run.tenant_id, [waits.link_condition(kind, id_) for kind, id_ in linked])
    values = {
        "tenant": run.tenant_id,
        "kinds": [kind for kind, _ in linked],
        "ids": [id_ for _, id_ in linked],
    }
    unsent = [from_row(row) for row in connection.execute(_UNSENT, values)]
    if unsent:
        because = "it is in QuickBooks already and was linked by the wizard, so nothing is exported"
        finish(connection, unsent, State.SKIPPED, "linked", because, actor)
    for operation_id in connection.execute(_RESTING, values).scalars().all():
        replays.again(connection, operation_id, actor, "the wizard linked what it refers to")
    return linked


def _where(row: Any) -> str:
    return f"{row.external_type} {row.external_id}" + ("" if row.here else f" of {row.name}")
