"""What rests on a mapping: documents that are still to be sent with it, and those that lately were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.mapping.mappings import Key, Kind

LATELY = 90
"""Days of document dates that count as lately."""

EXAMPLES = 5

# How a document names the key of each kind; `:key` is bound. Lines without a region take the one called `default`.
_NAMES: Mapping[str, str] = {
    Kind.ITEM: "d.data -> 'lines' @> jsonb_build_array(jsonb_build_object('service_id', CAST(:key AS text)))",
    Kind.ITEM_CATEGORY: "d.data -> 'lines' @> jsonb_build_array(jsonb_build_object('category_id', CAST(:key AS text)))",
    Kind.DISCOUNT_ITEM: "d.data -> 'lines' @> '[{\"is_discount\": true}]' AND :key = ''",
    Kind.TAX_CODE: """EXISTS (SELECT FROM jsonb_array_elements(d.data -> 'lines') AS l
                               WHERE coalesce(l ->> 'tax_region', 'default') = :key)""",
    Kind.TERM: "d.data ->> 'terms' = :key",
    Kind.PAYMENT_METHOD: """d.kind = 'payment' AND :key IN (
                              d.data ->> 'method', concat_ws(':', d.data ->> 'method', d.data ->> 'provider'))""",
    Kind.CLASS: "d.data -> 'lines' @> jsonb_build_array(jsonb_build_object('class', CAST(:key AS text)))",
    Kind.CUSTOMER: "d.client_id = :key",
    Kind.BILLING_PROFILE: "d.data -> 'billing_profile' ->> 'id' = :key",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Documents that name a mapped thing: `unsent` are still to be sent, `lately` are dated in the last 90 days."""

    unsent: int
    lately: int
    examples: list[str]  # numbers of unsent ones

    @property
    def sentence(self) -> str:
        """What forgetting the mapping means."""
        if not self.unsent and not self.lately:
            return "Nothing that is still to be sent, or is dated in the last 90 days, uses it."
        numbers = f" ({', '.join(self.examples)}{', ...' if self.unsent > len(self.examples) else ''})"
        waiting = f"{self.unsent} documents still to be sent{numbers if self.examples else ''}"
        lately = f"{self.lately} documents dated in the last {LATELY} days"
        return f"It is used by {waiting} and {lately}; those that were sent stay as they are."


def of(connection: Connection, tenant: str, company_id: UUID, at: Key) -> Usage:
    """What uses the mapping at this place now."""
    kind, key, _ = at
    named = _NAMES[kind]
    values: dict[str, Any] = {"tenant": tenant, "company": company_id, "key": key, "days": LATELY}
    # A document is counted once, however many of its steps are unfinished.
    unsent = (
        connection.execute(
            text(
                f"""SELECT DISTINCT coalesce(d.number, d.document_id) AS number FROM operation o
                  JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind
                   AND d.document_id = o.document_id
                 WHERE o.tenant_id = :tenant AND o.company_id = :company AND o.finished_at IS NULL AND {named}
                 ORDER BY 1"""  # noqa: S608 - constant conditions
            ),
            values,
        )
        .scalars()
        .all()
    )
    lately = connection.execute(
        text(
            f"""SELECT count(*) FROM document d JOIN link l USING (tenant_id, kind, document_id)
                 WHERE d.tenant_id = :tenant AND l.company_id = :company
                   AND d.document_date >= CAST(clock_timestamp() AS date) - CAST(:days AS integer) AND {named}"""  # noqa: S608 - constant conditions
        ),
        values,
    ).scalar_one()
    return Usage(len(unsent), int(lately), [str(number) for number in unsent[:EXAMPLES]])
