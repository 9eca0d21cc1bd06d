"""What the scheduler does by the clock: each room brings its jobs, here they get their times."""

from __future__ import annotations

from functools import partial

from services.api import outcomes, tokens
from services.cli.parts import Parts
from services.connections import notices, webhooks
from services.connections import upkeep as connections
from services.exceptions import brake, causes, notice_causes, upkeep
from services.exceptions import notices as told
from services.inbound import again, customers, schedule
from services.inbound.reconcile import store as statements
from services.inbound.reconcile import telling
from services.inbound.retention import Retention as InboundRetention
from services.ledger.retention import Retention
from services.ledger.sweep import Sweep
from services.onboarding import payments
from services.outbound import closed_books, early_recipes, long_waits
from services.psa import deliveries
from workers.scheduler import Errand, Job

SWEEP = 2.0  # seconds; a dead worker's operation goes on at most this long after its lease
UPKEEP = 60.0  # seconds
BRAKE = 5.0  # seconds; how many more items a flood may refuse before it is stopped
RETENTION = 600.0  # seconds; a batch each time
TOKENS = 60.0  # seconds between two looks for tokens that end soon
NOTICES = 3600.0  # seconds; the bands are days
PAYMENTS = 2.0  # seconds; how late payments are brought over after somebody asked for it
POLLS = 1.0  # seconds; how late a cycle of the change feed may begin
MARKED = 2.0  # seconds; how late a payment is judged again once its invoice is linked
MERGES = 2.0  # seconds; how late a link follows customers that became one
CAUSES = 1.0  # seconds; how late the many operations of a mended cause begin
GATHER = 5.0  # seconds; how late a notice is written after its cause
FACTS = 300.0  # seconds between two looks for companies whose facts are a day old, or changed


def jobs(parts: Parts) -> list[Job]:
    """All jobs of this installation."""
    return [
        Job("liveness_sweep", SWEEP, Sweep().run),
        Job("events_caught_up", SWEEP, parts.intake.catch_up),
        Job("exception_sweep", UPKEEP, upkeep.sweep),
        Job("brake", BRAKE, brake.watch),
        Job("letters_rebuilt", UPKEEP, upkeep.rebuild),
        Job("closed_books_reopened", UPKEEP, closed_books.reopen),
        Job("polls_opened", POLLS, schedule.open_due),
        Job("merges_filed", MERGES, partial(webhooks.file_merges, merged=customers.merged)),
        Job("objects_judged_again", MARKED, again.open_marked),
        Job("inbound_retention", RETENTION, InboundRetention().forget),
        Job("statements_retention", RETENTION, statements.forget),
        Job("long_waits_reported", RETENTION, long_waits.report),
        Job("early_recipes_told", GATHER, early_recipes.report),
        Job("ledger_retention", RETENTION, Retention().forget),
        Job("api_outcomes_retention", RETENTION, outcomes.forget),
        Job("api_tokens_retention", RETENTION, tokens.forget),
        Job("token_notices", NOTICES, notices.tell),
        Job("reconciliation_notices", GATHER, telling.tell),
        Job("notices_gathered", GATHER, notice_causes.gather),
        Job("backlog_notices", RETENTION, notice_causes.gather_backlogs),
        Job("notices_retention", RETENTION, told.forget),
        Job("deliveries_retention", RETENTION, deliveries.forget),
        Job("webhook_events_retention", RETENTION, webhooks.forget),
    ]


def errands(parts: Parts) -> list[Errand]:
    """What talks to Intuit by the clock, or takes many transactions."""
    return [
        Errand("causes_worked_off", CAUSES, partial(causes.work_off, parts.database)),
        Errand("payments_brought_over", PAYMENTS, partial(payments.bring_asked, parts.database)),
        Errand("tokens_renewed", TOKENS, partial(connections.renew_tokens, parts.database, parts.clients)),
        Errand("facts_read", FACTS, partial(connections.read_facts, parts.database, parts.clients)),
    ]
