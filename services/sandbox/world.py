"""Everything one sandbox holds: companies, the authority over tokens, troubles, limits, counters, the state file."""

from __future__ import annotations

from typing import Any

from services.sandbox.clock import Clock
from services.sandbox.counters import Counters
from services.sandbox.journal import Entry, Journal
from services.sandbox.limits import Limits
from services.sandbox.oauth import Authority, Grant, stored
from services.sandbox.seed import open_company
from services.sandbox.settings import App, CompanySpec, Settings
from services.sandbox.store import Change, Company, Mark, Reply
from services.sandbox.switches import Switches
from services.sandbox.troubles import Troubles
from services.sandbox.webhooks import Webhooks


class World:
    """The state behind both ports; made from settings, or from the state file when that has a past."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.journal = Journal(settings.state)
        self.clock = Clock()
        self.webhooks = Webhooks(self.clock, self._connected_apps, lambda: self.troubles)
        self._clear()
        entries = self.journal.read()
        if entries:
            for entry in entries:
                self._replay(entry)
        else:
            self._populate()
        self.journal.flush()

    def _clear(self) -> None:
        self.defaults = Switches()
        self.companies: dict[str, Company] = {}
        self.authority = Authority(self.clock, self.switches_of, self._keep_grant)
        self.troubles = Troubles(self.settings.seed)
        self.limits = Limits()
        self.counters = Counters()

    def _populate(self) -> None:
        for app in self.settings.apps:
            self.register(app)
        for spec in self.settings.companies:
            self.open(spec)

    def reset(self) -> None:
        """Back to what the settings say; everything else is gone, and the clock shows real time again."""
        self.journal.clear()
        self.clock.offset = 0.0
        self.webhooks.clear()
        self._clear()
        self._populate()

    def switches_of(self, realm: str) -> Switches:
        """The switches of a company; the defaults for an unknown one."""
        company = self.companies.get(realm)
        return company.switches if company else self.defaults

    def open(self, spec: CompanySpec, *, customers: bool = True) -> Company:
        """Add a company; `ValueError` when the realm is taken or the country is not modelled."""
        if spec.realm in self.companies:
            raise ValueError(f"realm {spec.realm} exists already")
        switches = Switches(**self.defaults.as_dict())
        company = open_company(
            spec.realm,
            spec.name,
            spec.country,
            self.clock,
            switches,
            multicurrency=spec.multicurrency,
            customers=customers,
        )
        self.companies[spec.realm] = company
        self.journal.write(
            {
                "kind": "company",
                "realm": company.realm,
                "name": company.name,
                "country": company.country,
                "currency": company.currency,
                "rates": company.exchange_rates,
                "switches": switches.as_dict(),
            }
        )
        self.keep(company, company.history, [company.stamps[row.entity, row.id] for row in company.history])
        self._listen(company)
        return company

    def _listen(self, company: Company) -> None:
        company.listeners.append(self._keep_changes)
        company.listeners.append(self.webhooks.announce)

    def _connected_apps(self, realm: str) -> list[App]:
        """Apps with a webhook endpoint and a living grant for the company."""
        living = {
            grant.client_id for grant in self.authority.grants if grant.realm == realm and not grant.revoked
        }
        return [app for app in self.authority.apps.values() if app.webhook_url and app.client_id in living]

    def change_switches(self, values: dict[str, Any]) -> None:
        """Set switches of every company and of those to come; raises `ValueError`, nothing set."""
        self.defaults.change(values)
        self.journal.write({"kind": "defaults", "switches": self.defaults.as_dict()})
        for company in self.companies.values():
            company.switches.change(values)
            self.keep_company(company)

    def advance(self, seconds: float) -> None:
        """Move the clock ahead."""
        self.clock.advance(seconds)
        self.journal.write({"kind": "clock", "offset": self.clock.offset})
        self.webhooks.wake()

    def register(self, app: App) -> None:
        """Add an app or replace the one with the same client id."""
        self.authority.apps[app.client_id] = app
        self.journal.write({"kind": "app", "app": {name: getattr(app, name) for name in App.__slots__}})

    def keep_company(self, company: Company) -> None:
        """Write down switches, plan and status after the control port changed them."""
        self.journal.write(
            {
                "kind": "set",
                "realm": company.realm,
                "active": company.active,
                "plan": company.plan,
                "switches": company.switches.as_dict(),
            }
        )

    def keep_reply(self, company: Company, requestid: str, reply: Reply) -> None:
        """Remember a reply for its requestid."""
        company.replies[requestid] = reply
        if self.journal.keeps:
            text = reply.body.decode()
            values = [reply.status, text, reply.digest, reply.at]
            self.journal.write({"kind": "reply", "realm": company.realm, "id": requestid, "reply": values})

    def keep(self, company: Company, changes: list[Change], marks: list[Mark]) -> None:
        """Write a commit into the state file."""
        if self.journal.keeps:
            rows = [[*change, mark.stamp] for change, mark in zip(changes, marks, strict=True)]
            entry = {"kind": "commit", "realm": company.realm, "number": company.last_number, "rows": rows}
            self.journal.write(entry)

    def _keep_changes(self, company: Company, changes: list[Change], marks: list[Mark]) -> None:
        self.keep(company, changes, marks)

    def _keep_grant(self, grant: Grant) -> None:
        self.journal.write({"kind": "grant", "grant": stored(grant)})

    def _replay(self, entry: Entry) -> None:
        kind = entry["kind"]
        if kind == "app":
            app = App(**{**entry["app"], "redirect_uris": tuple(entry["app"]["redirect_uris"])})
            self.authority.apps[app.client_id] = app
        elif kind == "grant":
            self.authority.restore(_numbers(entry["grant"]))
        elif kind == "defaults":
            self.defaults.change(entry["switches"])
        elif kind == "clock":
            self.clock.offset = float(entry["offset"])
        elif kind == "company":
            switches = Switches()
            switches.change(entry["switches"])
            company = Company(
                entry["realm"], entry["name"], entry["country"], entry["currency"], self.clock, switches
            )
            company.exchange_rates = entry["rates"]
            self._listen(company)
            self.companies[company.realm] = company
        else:
            self._replay_company(self.companies[entry["realm"]], entry)

    def _replay_company(self, company: Company, entry: Entry) -> None:
        if entry["kind"] == "set":
            company.active, company.plan = entry["active"], entry["plan"]
            company.switches.change(entry["switches"])
        elif entry["kind"] == "reply":
            status, text, digest, at = entry["reply"]
            company.replies[entry["id"]] = Reply(int(status), text.encode(), digest, float(at))
        else:
            changes, marks = [], []
            for at, actor, operation, entity, key, body, merged_into, stamped in entry["rows"]:
                changes.append(Change(float(at), actor, operation, entity, key, body, merged_into))
                marks.append(Mark(float(stamped), float(at), entity, key))
            company.restore(changes, marks)
            company.last_number = int(entry["number"])


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """A stored grant with its times as floats again."""
    times = ("rotated_at", "refresh_expires_at", "hard_expires_at")
    result = {name: float(value) if name in times else value for name, value in values.items()}
    for name in ("old", "access"):
        result[name] = {token: float(at) for token, at in values[name].items()}
    return result
