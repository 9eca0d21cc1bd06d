"""Customers: exact only one to one, everything else asked, nothing written to QuickBooks unless told to."""

from __future__ import annotations

import pytest

from services.mapping import mappings
from services.onboarding import creation, customers, handover
from services.onboarding.runs import Run
from services.refusals import Refusal
from tests.integration.onboarding.conftest import ACTOR, Wizard, nothing_released
from tests.support.exporting import TENANT


def client(id_: str, name: str, **other: str) -> dict[str, str]:
    """A client of the PSA's list."""
    return {"id": id_, "name": name, **other}


def mapped(wizard: Wizard) -> dict[str, str]:
    """Client id to customer id, as stored."""
    with wizard.bench.fleet.transaction(TENANT) as connection:
        rows = mappings.page(connection, TENANT, wizard.bench.company_id, kind=mappings.Kind.CUSTOMER)
    return {row.key: row.external_id for row in rows if row.key != "cl-1"}


def link(wizard: Wizard, run: Run, id_: str, customer: str) -> None:
    """Confirm one pair."""
    with wizard.bench.fleet.transaction(TENANT) as connection:
        customers.link(
            connection, run, ("client", id_, ""), customer, actor=ACTOR, on_mapping_set=nothing_released
        )


def test_exact_ones_are_accepted_in_bulk_and_only_those(wizard: Wizard) -> None:
    """Legal form, accent and ampersand do not matter; what is only alike waits for a person, with its evidence."""
    one, two, three = wizard.enter(
        "Customer",
        {"DisplayName": "Müller & Söhne GmbH"},
        {"DisplayName": "Wellington Veterinary Clinic LLC"},
        {"DisplayName": "Store 21"},
    )
    wizard.hand_over(
        [client("a", "Muller und Sohne"), client("b", "Welington Veterinary Clinic"), client("c", "Store 12")]
    )
    run = wizard.start()
    plan = wizard.plan(run)
    assert plan["a"].status == "exact"
    assert (plan["b"].status, plan["b"].candidates[0].id) == ("suggested", two)
    assert "welington is like wellington" in plan["b"].candidates[0].evidence
    assert plan["c"].status == "unmatched", three
    assert wizard.accept(run) == 1
    assert mapped(wizard) == {"a": one}
    assert wizard.accept(run) == 0
    assert wizard.plan(run)["a"].status == "linked"
    assert wizard.released == [f"mapping:customer:{wizard.bench.company_id}:a"]
    assert wizard.writes() == []


def test_ambiguity_is_never_exact_in_either_direction(wizard: Wizard) -> None:
    """Two customers of one name, or two clients of one name, are shown and never linked in bulk."""
    wizard.enter(
        "Customer", {"DisplayName": "Acme Inc"}, {"DisplayName": "Acme LLC"}, {"DisplayName": "Titan"}
    )
    wizard.hand_over(
        [client("a", "Acme Inc"), client("t1", "Titan Inc"), client("t2", "TITAN"), client("z", "LLC")]
    )
    run = wizard.start()
    plan = wizard.plan(run)
    assert {plan[id_].status for id_ in ("a", "t1", "t2")} == {"suggested"}
    assert plan["z"].status == "unmatched"
    assert "2 customers in QuickBooks have this name" in plan["a"].why
    assert plan["a"].candidates[0].name == "Acme Inc"
    assert "other clients have this name too: t2" in plan["t1"].why
    assert wizard.accept(run) == 0


def test_inactive_and_taken_customers_are_explained_and_refused(wizard: Wizard) -> None:
    """An inactive customer is found, with what to do; one that belongs to another client is not linked twice."""
    gone, kept = wizard.enter("Customer", {"DisplayName": "Orchid Travel"}, {"DisplayName": "Ironwood"})
    wizard.keeper("edit", entity="Customer", id=gone, changes={"Active": False})
    wizard.hand_over([client("o", "Orchid Travel Inc"), client("i", "Ironwood"), client("j", "Iron Wood")])
    run = wizard.start()
    plan = wizard.plan(run)
    assert plan["o"].status == "suggested"
    assert "inactive in QuickBooks" in plan["o"].why
    with pytest.raises(Refusal, match="make it active there"):
        link(wizard, run, "o", gone)
    wizard.accept(run)
    with pytest.raises(Refusal, match="linked to customer i already"):
        link(wizard, run, "j", kept)
    with pytest.raises(Refusal, match="no customer 999999"):
        link(wizard, run, "j", "999999")
    assert mapped(wizard) == {"i": kept}


def test_a_customer_is_created_only_on_demand_and_once(wizard: Wizard) -> None:
    """Creating links at once; a lost answer is found out, so the customer exists once; names in use are explained."""
    wizard.enter("Customer", {"DisplayName": "Harbor"})
    wizard.hand_over(
        [
            client("n", "Nordlicht: Labs", email="office@nordlicht.example"),
            client("h", "HARBOR"),
            {"id": "p", "name": "Nordlicht West", "kind": "billing_profile", "parent_id": "n"},
        ]
    )
    run = wizard.start()
    wizard.bench.trouble("cut_after", entity="Customer", operation="create", times=1)

    def create(kind: str, id_: str, name: str = "") -> str:
        return creation.create(
            wizard.bench.fleet,
            wizard.bench.clients,
            run,
            (kind, id_, ""),
            actor=ACTOR,
            on_mapping_set=nothing_released,
            display_name=name,
        )

    with pytest.raises(Exception, match="QuickBooks"):
        create("client", "n")
    made = create("client", "n")
    rows = [one for one in wizard.bench.objects("Customer") if "Nordlicht" in one["DisplayName"]]
    assert [(one["Id"], one["DisplayName"]) for one in rows] == [(made, "Nordlicht Labs")]
    assert rows[0]["PrimaryEmailAddr"]["Address"] == "office@nordlicht.example"
    sub = wizard.bench.object("Customer", create("billing_profile", "p"))
    assert sub["ParentRef"]["value"] == made
    assert sub["Job"] is True
    with pytest.raises(Refusal, match="names are unique; link it"):
        create("client", "h")
    assert create("client", "h", "Harbor (Boston)")
    assert {match.status for match in wizard.plan(run).values() if match.client.id != "cl-1"} == {"linked"}


def test_bad_lists_change_nothing_and_name_the_row(wizard: Wizard) -> None:
    """A list with one bad row is refused whole, and the sentence says which row and field."""
    with pytest.raises(Refusal, match="row 2: name"), wizard.bench.fleet.transaction(TENANT) as connection:
        handover.put_clients(connection, TENANT, [client("a", "Fine"), client("b", "")])
    with (
        pytest.raises(Refusal, match="row 1: currency"),
        wizard.bench.fleet.transaction(TENANT) as connection,
    ):
        handover.put_documents(connection, TENANT, [wizard.document("i", "1", 5, "a", currency="Dollar")])
    with wizard.bench.fleet.transaction(TENANT) as connection:
        assert handover.clients(connection, TENANT) == []
