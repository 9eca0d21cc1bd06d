"""`/v1/mappings`: what of ours is what in QuickBooks, what can be chosen there, and what is not mapped yet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api import etags, lists
from services.api.paging import Page, PageQuery, cursor_of, texts_of
from services.api.shapes import Csv, EntryTold, Given, Told
from services.api.targets import company_of
from services.api.work import IfMatch, Manager, Reader, Work, entitled
from services.connections import catalog
from services.ledger import timeline
from services.mapping import mappings, usage
from services.mapping.mappings import Kind, Mapping
from services.onboarding import assigning, choices, sheets, unmapped
from services.onboarding.assigning import Outcome, Wanted
from services.refusals import missing

router = APIRouter(prefix="/v1/mappings", tags=["Mappings"], dependencies=[Depends(entitled)])

Standing = Literal["active", "inactive", "gone", "unusable", "unknown"]


class Whose(Given):
    """Whose mappings."""

    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")


class At(Given):
    """Which mapping is meant."""

    kind: Kind
    key: str = Field(default="", description="Your own id; empty for discount_item.", examples=["svc-backup"])
    variant: str = Field(default="", description="Currency of a customer, treatment of a tax code.")


class Place(Whose, At):
    """Which mapping of which company."""


class Target(At):
    """What something is in QuickBooks."""

    external_id: str = Field(
        default="", description="The id in QuickBooks; without it the name decides.", examples=["17"]
    )
    external_name: str = Field(default="", description="Its name there.", examples=["Backup"])
    details: dict[str, Any] = Field(
        default={}, description="What belongs to it: class_id of an item. Rates of tax codes are added."
    )

    def wanted(self) -> Wanted:
        """The mapping asked for."""
        given = (self.external_id, self.external_name, self.details)
        return Wanted(str(self.kind), self.key, self.variant, *given)


class MappingGiven(Whose, Target):
    """What it is in QuickBooks."""

    external_id: str = Field(description="The id in QuickBooks.", examples=["17"])


class MappingsGiven(Whose):
    """Many at once: all are set, or none."""

    mappings: list[Target] = Field(min_length=1, max_length=5000)
    dry_run: bool = Field(default=False, description="Say what would change, and change nothing.")


class SheetGiven(Whose):
    """A CSV sheet as GET /v1/mappings/export writes it: all rows are set, or none."""

    sheet: str = Field(
        description="The text of the file.", examples=["kind,key,quickbooks_id\nitem,svc,17\n"]
    )
    dry_run: bool = Field(default=False, description="Say what would change, and change nothing.")


class MappingTold(Told):
    """One mapping."""

    company_id: UUID
    kind: str
    key: str
    variant: str
    external_id: str
    external_name: str = Field(description="Its name when it was mapped; kept when it disappears there.")
    details: dict[str, Any]
    updated_at: datetime
    updated_by: str
    label: str = Field(default="", description="What it is called in QuickBooks now.")
    standing: Standing = Field(
        default="unknown", description="Whether it can still be used; unknown: the list was not read yet."
    )
    hindrance: str = Field(default="", description="Why it cannot be used, and what to do.")
    etag: str = Field(default="", description="Its version: send it as If-Match to change just this one.")


class MappingSet(BaseModel):
    """The mapping as it is now, and the operations that failed for its lack and start again."""

    mapping: MappingTold
    released: list[UUID]
    unchecked: str = Field(description="Why QuickBooks could not be asked whether it is there; else empty.")


class ChangeTold(Told):
    """What one row does, or would do."""

    row: int
    does: Literal["new", "changed", "same"]
    before: str = Field(description="The id it had, empty when none.")


class TroubleTold(Told):
    """What is wrong with a row."""

    row: int
    field: str
    sentence: str


class MappingsSet(BaseModel):
    """What became of many. With troubles nothing was changed."""

    applied: bool
    changes: list[ChangeTold]
    troubles: list[TroubleTold]
    released: list[UUID]
    unchecked: str = Field(description="Why QuickBooks could not be asked; else empty.")

    @classmethod
    def of(cls, outcome: Outcome, *, dry_run: bool) -> MappingsSet:
        """The outcome as it may be shown."""
        return cls(
            applied=not dry_run and not outcome.troubles,
            changes=[ChangeTold.model_validate(one) for one in outcome.changes],
            troubles=[TroubleTold.model_validate(one) for one in outcome.troubles],
            released=outcome.released,
            unchecked=outcome.unchecked,
        )


class UsageTold(Told):
    """What rests on a mapping."""

    unsent: int = Field(description="Documents that are still to be sent with it.")
    lately: int = Field(description="Documents of the last 90 days that were sent with it.")
    examples: list[str] = Field(description="Numbers of unsent ones.")
    sentence: str


class MappingGone(BaseModel):
    """A mapping that is no more, and what that affects."""

    deleted: bool
    usage: UsageTold


class ChoiceTold(Told):
    """Something that can be chosen."""

    id: str
    name: str
    label: str = Field(
        description="For people: with rate, account type or SKU, and the id where names are alike."
    )
    details: dict[str, Any]


class ChoicesTold(BaseModel):
    """All that can be chosen, by label."""

    data: list[ChoiceTold]
    read_at: datetime | None = Field(description="When QuickBooks was asked.")
    stale: str = Field(description="Why it could not be asked just now; else empty.")


class SuggestionTold(Told):
    """What something may be, and why."""

    id: str
    label: str
    score: float = Field(description="0 to 1.")
    evidence: str


class UnmappedTold(Told):
    """Something of yours without a counterpart."""

    key: str
    name: str
    suggestions: list[SuggestionTold]


class AllUnmapped(BaseModel):
    """What is not mapped yet."""

    data: list[UnmappedTold]
    stale: str = Field(description="Why QuickBooks could not be asked just now; else empty.")


class HistoryTold(BaseModel):
    """Who mapped it to what, oldest first."""

    data: list[EntryTold]


class MappingQuery(PageQuery):
    """Which mappings to list."""

    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")
    kind: Kind | None = None


class KindQuery(Whose):
    """Of which kind."""

    kind: Kind
    refresh: bool = Field(default=False, description="Ask QuickBooks even if the list is recent.")


@router.get("", response_model=Page[MappingTold])
def list_mappings(query: Annotated[MappingQuery, Query()], work: Reader) -> Page[MappingTold]:
    """List mappings by kind, key and variant."""
    after = texts_of(query.cursor, 3) or ["", "", ""]
    with work.transaction() as connection:
        company_id = company_of(work, connection, query.realm_id).company_id
        found = mappings.page(
            connection,
            work.tenant,
            company_id,
            kind=query.kind,
            after=(after[0], after[1], after[2]),
            limit=query.limit + 1,
        )
        told = _told(connection, company_id, found[: query.limit])
    more = len(found) > query.limit
    return Page(data=told, next_cursor=cursor_of(found[query.limit - 1].at) if more else None)


@router.put("", response_model=MappingSet)
def set_mapping(given: MappingGiven, work: Manager, if_match: IfMatch = None) -> Response:
    """Map something to what is in QuickBooks; documents that failed for the lack of it start again at once."""
    company_id, unchecked = _prepared(work, given.realm_id, [given.wanted()])

    def act(connection: Connection) -> MappingSet:
        _unchanged(connection, company_id, given, if_match)
        outcome = assigning.put(
            connection, work.tenant, company_id, given.wanted(), actor=work.caller.actor, unchecked=unchecked
        )
        (told,) = _told(connection, company_id, outcome.mappings)
        return MappingSet(mapping=told, released=outcome.released, unchecked=unchecked)

    return work.once(act)


@router.put("/bulk", response_model=MappingsSet)
def set_mappings(given: MappingsGiven, work: Manager) -> Response:
    """Map many at once: all of them, or none when a row is wrong; the answer names every wrong row."""
    return _set_all(work, given.realm_id, [one.wanted() for one in given.mappings], dry_run=given.dry_run)


@router.post("/import", response_model=MappingsSet)
def import_mappings(given: SheetGiven, work: Manager) -> Response:
    """Map what a CSV sheet says: all rows, or none when one is wrong; the answer names every wrong row."""
    return _set_all(work, given.realm_id, sheets.read(given.sheet), dry_run=given.dry_run)


@router.get("/export", response_class=Csv)
def export_mappings(query: Annotated[Whose, Query()], work: Reader) -> Csv:
    """All mappings of a company as a CSV sheet."""
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id)
        sheet = sheets.write(mappings.every(connection, work.tenant, company.company_id))
    name = f'attachment; filename="mappings-{company.realm_id}.csv"'
    return Csv(sheet, headers={"Content-Disposition": name})


@router.get("/choices", response_model=ChoicesTold)
def show_choices(query: Annotated[KindQuery, Query()], work: Reader) -> ChoicesTold:
    """What the company has to choose from: all of it, as QuickBooks had it at most twelve hours ago."""
    kind = str(query.kind)
    company_id, stale = _prepared(work, query.realm_id, [Wanted(kind, "")], refresh=query.refresh)
    with work.transaction() as connection:
        found = choices.listed(connection, company_id, kind)
        ages = catalog.ages(connection, company_id)
    read_at = ages[choices.LISTS[kind]][0] if choices.LISTS[kind] in ages else None
    told = [ChoiceTold.model_validate(one) for one in found]
    return ChoicesTold(data=told, read_at=read_at, stale=stale)


@router.get("/unmapped", response_model=AllUnmapped)
def show_unmapped(query: Annotated[KindQuery, Query()], work: Reader) -> AllUnmapped:
    """What documents and lists name and is not mapped, with what it may be by its name."""
    company_id, stale = _prepared(work, query.realm_id, [Wanted(str(query.kind), "")], refresh=query.refresh)
    found = unmapped.of(work.context.database, work.tenant, company_id, query.kind)
    return AllUnmapped(data=[UnmappedTold.model_validate(one) for one in found], stale=stale)


@router.get("/usage", response_model=UsageTold)
def show_usage(query: Annotated[Place, Query()], work: Reader) -> UsageTold:
    """What rests on a mapping: ask before you delete or change it."""
    with work.transaction() as connection:
        company_id = company_of(work, connection, query.realm_id).company_id
        at = (str(query.kind), query.key, query.variant)
        return UsageTold.model_validate(usage.of(connection, work.tenant, company_id, at))


@router.get("/history", response_model=HistoryTold)
def show_history(query: Annotated[Place, Query()], work: Reader) -> HistoryTold:
    """Who mapped it to what, in all its variants."""
    with work.transaction() as connection:
        company_id = company_of(work, connection, query.realm_id).company_id
        subject = mappings.cause(str(query.kind), company_id, query.key)
        entries = timeline.read(connection, work.tenant, "mapping", subject)
    return HistoryTold(data=[EntryTold.model_validate(entry) for entry in entries])


@router.delete("", response_model=MappingGone)
def delete_mapping(query: Annotated[Place, Query()], work: Manager, if_match: IfMatch = None) -> Response:
    """Forget a mapping, and say what that affects; documents that need it fail, by name."""

    def act(connection: Connection) -> MappingGone:
        company_id = company_of(work, connection, query.realm_id).company_id
        at = (str(query.kind), query.key, query.variant)
        _unchanged(connection, company_id, query, if_match)
        affected = UsageTold.model_validate(usage.of(connection, work.tenant, company_id, at))
        if not mappings.delete(connection, work.tenant, company_id, at, actor=work.caller.actor):
            raise missing(f"{query.kind} {query.key!r} is not mapped in this company")
        return MappingGone(deleted=True, usage=affected)

    return work.once(act)


def _prepared(
    work: Work, realm_id: str | None, wanted: list[Wanted], *, refresh: bool = False
) -> tuple[UUID, str]:
    """The company, and why its lists could not be read ("" when they are at hand)."""
    with work.transaction() as connection:
        company_id = company_of(work, connection, realm_id).company_id
    return company_id, lists.have(work, company_id, wanted, refresh=refresh)


def _set_all(work: Work, realm_id: str | None, wanted: list[Wanted], *, dry_run: bool) -> Response:
    company_id, unchecked = _prepared(work, realm_id, wanted)

    def act(connection: Connection) -> MappingsSet:
        outcome = assigning.put_all(
            connection,
            work.tenant,
            company_id,
            wanted,
            actor=work.caller.actor,
            unchecked=unchecked,
            dry_run=dry_run,
        )
        return MappingsSet.of(outcome, dry_run=dry_run)

    return work.once(act)


def _unchanged(connection: Connection, company_id: UUID, at: At, if_match: str | None) -> None:
    if if_match is not None:
        found = mappings.locked(connection, company_id, (str(at.kind), at.key, at.variant))
        etags.require(if_match, _tag(found) if found else etags.NONE)


def _tag(mapping: Mapping) -> str:
    return etags.of(MappingTold.model_validate(mapping).model_dump_json())


def _told(connection: Connection, company_id: UUID, found: list[Mapping]) -> list[MappingTold]:
    """Mappings with what they are called in QuickBooks now."""
    known = choices.of(connection, company_id, {(one.kind, one.external_id) for one in found})
    told = []
    for one in found:
        shown = MappingTold.model_validate(one)
        shown.etag = _tag(one)
        choice = known.get((one.kind, one.external_id))
        if choice is not None:
            shown.label, shown.standing, shown.hindrance = choice.label, choice.standing, choice.hindrance
        told.append(shown)
    return told
