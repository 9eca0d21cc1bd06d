"""`algasync bench`: figures of this machine, printed with how they were measured. Not tests: nothing is judged."""

from __future__ import annotations

import typer

from services.cli import (
    bench_capacity,
    bench_ceiling,
    bench_exceptions,
    bench_fleet,
    bench_growth,
    bench_onboarding,
    bench_poll,
    bench_relay,
)

app = typer.Typer(
    no_args_is_help=True, help="Measure: what this machine does, next to baselines of the same run."
)
app.command("relay")(bench_relay.relay)
app.command("ceiling")(bench_ceiling.ceiling)
app.command("fleet")(bench_fleet.fleet)
app.command("onboarding")(bench_onboarding.onboarding)
app.command("poll")(bench_poll.poll)
app.command("exceptions")(bench_exceptions.exceptions)
app.command("growth")(bench_growth.growth)
app.command("capacity")(bench_capacity.capacity)
