"""Which customer a client may be, by name: exact, suggested with evidence, or none.

Exact means one to one in both directions: one active customer and one client, in one currency, have the name, and
no other of either side could be meant. Everything short of that is a suggestion with its evidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rapidfuzz import fuzz, process

from services.mapping import mappings
from services.mapping.mappings import Key, Kind
from services.onboarding import names
from services.onboarding.handover import Client
from services.onboarding.names import Folded
from services.onboarding.reading import Customer

MOST = 5
"""Candidates shown for one client."""

Status = Literal["linked", "exact", "suggested", "unmatched"]

KINDS = {"client": Kind.CUSTOMER, "billing_profile": Kind.BILLING_PROFILE}
"""Which kind of mapping links what the PSA listed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A customer that may be the client: how alike, and why. An inactive one must be made active first."""

    id: str
    name: str
    score: float
    evidence: str
    active: bool


@dataclass(frozen=True, slots=True)
class Match:
    """What is known of one client: linked, exact, with suggestions, or unmatched; `why` says it in a sentence."""

    client: Client
    status: Status
    why: str
    candidates: tuple[Candidate, ...] = ()


def mapping_key(client: Client) -> Key:
    """Where the link of a client is kept."""
    return (KINDS[client.kind], client.id, client.currency)


def variants(currency: str, home: str) -> tuple[str, ...]:
    """Under which currencies a link of a client billed in `currency` may stand ("" there is the home currency)."""
    return ("", home) if currency == "" else (currency, "") if currency == home or not home else (currency,)


def judged(
    clients: list[Client], found: list[Customer], links: Mapping[Key, mappings.Mapping], home: str
) -> list[Match]:
    """The plan for clients of the PSA, customers of QuickBooks, links there are, and the company's home currency."""
    return _Plan(clients, found, links, home).matches()


class _Plan:
    def __init__(
        self,
        clients: list[Client],
        customers: list[Customer],
        links: Mapping[Key, mappings.Mapping],
        home: str,
    ) -> None:
        self._clients = clients
        self._customers = {one.id: one for one in customers}
        self._links = links
        self._home = home
        self._taken = {row.external_id: row.at for row in links.values()}
        self._ours: dict[tuple[str, str], set[str]] = defaultdict(set)
        for client in clients:
            if client.kind == "client":
                self._ours[names.fold(client.name).key, self._currency(client)].add(client.id)
        self._theirs: dict[str, list[Customer]] = defaultdict(list)
        for customer in customers:
            for key in {names.fold(name).key for name in (customer.name, customer.company)} - {""}:
                self._theirs[key].append(customer)
        self._keys = {one.id: names.fold(one.name).key for one in customers}
        self._short = defaultdict[str, set[str]](set)
        self._long = defaultdict[str, set[str]](set)
        for id_, key in self._keys.items():
            if key:
                self._short[key].add(id_)
            if initials := names.initials(key):
                self._long[initials].add(id_)
        self._companies = {
            one.id: names.fold(one.company).key
            for one in customers
            if one.company and one.company != one.name
        }

    def matches(self) -> list[Match]:
        return [self._match(client) for client in self._clients]

    def _match(self, client: Client) -> Match:
        link = self._link(*mapping_key(client))
        if link is not None:
            return self._linked(client, link)
        if client.kind == "billing_profile":
            return self._profile(client)
        folded = names.fold(client.name)
        if not folded.key:
            return Match(
                client, "unmatched", "nothing of the name is left without its legal form; link it by hand"
            )
        there = [
            one for one in self._theirs[folded.key] if (one.currency or self._home) == self._currency(client)
        ]
        active = [one for one in there if one.active]
        rivals = self._ours[folded.key, self._currency(client)]
        single = active[0] if len(active) == 1 == len(rivals) else None
        if (
            single is not None
            and single.id not in self._taken
            and not single.parent
            and names.same(folded, names.fold(single.name))
        ):
            exact = Candidate(single.id, single.name, 1.0, "the same name, and nobody else's", True)
            return Match(client, "exact", "one client and one customer have this name", (exact,))
        found = self._candidates(client, folded, self._customers.values())
        if len(active) > 1:
            have = ", ".join(f"{one.name} ({one.id})" for one in active)
            return Match(
                client, "suggested", f"{len(active)} customers in QuickBooks have this name: {have}", found
            )
        if active and len(rivals) > 1:
            others = ", ".join(sorted(rivals - {client.id}))
            return Match(client, "suggested", f"other clients have this name too: {others}", found)
        if active and active[0].id in self._taken:
            kind, key, _ = self._taken[active[0].id]
            why = f"{active[0].name} ({active[0].id}) has this name but is linked to {kind} {key}"
            return Match(client, "suggested" if found else "unmatched", why, found)
        if active and active[0].parent:
            above = self._customers.get(active[0].parent)
            why = f"{active[0].name} is a sub-customer of {above.name if above else active[0].parent}; confirm it"
            return Match(client, "suggested", why, found)
        if found:
            inactive = (
                "" if found[0].active else "; it is inactive in QuickBooks: make it active there and refresh"
            )
            return Match(
                client, "suggested", f"most alike: {found[0].name}, {found[0].evidence}{inactive}", found
            )
        return Match(client, "unmatched", self._nothing(client, folded), ())

    def _profile(self, client: Client) -> Match:
        above = self._link("customer", client.parent_id, client.currency)
        if above is None:
            return Match(client, "unmatched", f"link its client {client.parent_id} first")
        below = [one for one in self._customers.values() if one.parent == above.external_id]
        folded = names.fold(client.name)
        same = [one for one in below if one.active and names.same(folded, names.fold(one.name))]
        rivals = [
            one
            for one in self._clients
            if one.kind == "billing_profile"
            and (one.parent_id, one.currency) == (client.parent_id, client.currency)
            and names.fold(one.name).key == folded.key
        ]
        found = self._candidates(client, folded, below)
        if len(same) == 1 and len(rivals) == 1 and same[0].id not in self._taken:
            why = f"the only sub-customer of {above.external_name} with this name"
            return Match(client, "exact", why, (Candidate(same[0].id, same[0].name, 1.0, why, True),))
        if found:
            why = f"{len(found)} sub-customers of {above.external_name} are alike"
            return Match(client, "suggested", why, found)
        return Match(client, "unmatched", f"{above.external_name} has no sub-customer like it; create it")

    def _link(self, kind: str, id_: str, currency: str) -> mappings.Mapping | None:
        keys = [(kind, id_, variant) for variant in variants(currency, self._home)]
        return next((self._links[key] for key in keys if key in self._links), None)

    def _linked(self, client: Client, link: mappings.Mapping) -> Match:
        customer = self._customers.get(link.external_id)
        if customer is None:
            why = (
                f"linked to customer {link.external_id}, which QuickBooks does not have (merged or deleted?)"
            )
        elif not customer.active:
            why = f"linked to {customer.name} ({customer.id}), which is inactive in QuickBooks"
        else:
            why = f"linked to {customer.name} ({customer.id})"
        return Match(client, "linked", why)

    def _candidates(self, client: Client, folded: Folded, among: Iterable[Customer]) -> tuple[Candidate, ...]:
        pool = {
            one.id: one
            for one in among
            if one.id not in self._taken and (one.currency or self._home) == self._currency(client)
        }
        likely = {
            id_
            for keys in (self._keys, self._companies)
            for _, _, id_ in process.extract(
                folded.key,
                {one: keys[one] for one in pool if one in keys},
                scorer=fuzz.WRatio,
                limit=12,
                score_cutoff=50,
            )
        }
        likely |= {one.id for one in self._theirs[folded.key] if one.id in pool}
        # Initials have no letters in a row with the name they stand for, so a fuzzy search passes them by.
        likely |= self._short[names.initials(folded.key)] & pool.keys()
        likely |= self._long[folded.key] & pool.keys()
        scored = [self._scored(folded, client, pool[one]) for one in likely]
        worth = [one for one in scored if one.score >= names.SUGGESTED]
        return tuple(sorted(worth, key=lambda one: (-one.score, not one.active, one.name))[:MOST])

    def _scored(self, folded: Folded, client: Client, customer: Customer) -> Candidate:
        found = names.likeness(folded, names.fold(customer.name))
        if customer.id in self._companies:
            by_company = names.likeness(folded, names.fold(customer.company))
            if by_company.score * 0.98 > found.score:
                found = replace(by_company, score=by_company.score * 0.98)
                found = replace(found, evidence=f"by its company name {customer.company}: {found.evidence}")
        evidence = found.evidence if customer.active else f"{found.evidence}; inactive in QuickBooks"
        if client.email and client.email.casefold() == customer.email.casefold():
            evidence += "; the same e-mail address"
        return Candidate(customer.id, customer.name, round(found.score, 3), evidence, customer.active)

    def _nothing(self, client: Client, folded: Folded) -> str:
        elsewhere = [
            one for one in self._theirs[folded.key] if (one.currency or self._home) != self._currency(client)
        ]
        if elsewhere:
            one = elsewhere[0]
            return (
                f"{one.name} ({one.id}) has this name in {one.currency}, and a customer has one currency for ever;"
                f" create one in {self._currency(client)}"
            )
        return "no customer in QuickBooks has a name like it; link it by hand, or create it"

    def _currency(self, client: Client) -> str:
        return client.currency or self._home


def count(matches: Iterable[Match]) -> dict[str, int]:
    """How many clients are in each status."""
    found = {"linked": 0, "exact": 0, "suggested": 0, "unmatched": 0}
    for match in matches:
        found[match.status] += 1
    return found
