"""Every behaviour of a company that Intuit leaves open, differs by company, or that a test wants otherwise.

A switch is set for all companies or for one over the control port. `docs/sandbox.md` gives the source of
each default.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(slots=True)
class Switches:
    """The switches of one company, with their defaults."""

    # limits
    limits: bool = True
    requests_per_second: int = 10
    requests_per_minute: int = 500
    batches_per_minute: int = 40
    batches_per_minute_realm: int = 120
    batch_size: int = 30
    emails_per_day: int = 40
    retry_after_seconds: int = 0  # 0: the 429 has no Retry-After header
    gateway_format: Literal["auto", "json", "xml"] = "auto"  # auto: throttle in XML, authentication in JSON
    throttle_status: Literal[429, 403] = 429
    # requestid
    requestid_remembers_refusals: bool = False
    requestid_remembered: bool = True  # False: as if no call had an id, from this moment on
    requestid_forgets_after: int = 0  # 0: never; N: only the last N ids are known
    requestid_forgets_after_seconds: int = 0
    requestid_other_body: Literal["replay", "600"] = "replay"
    # documents
    warn_duplicate_number: bool = True
    inactive_reference_code: Literal["610", "2500", "6250"] = "610"  # 6250: customers; others 610
    us_default_line_tax: Literal["NON", "TAX"] = "NON"
    us_tax_calculation: Literal["refuse", "ignore"] = "refuse"  # GlobalTaxCalculation in the US
    us_latin1_only: bool = False
    void_reply_shows_old_amounts: bool = False
    closed_period_code: Literal["6200", "6210"] = "6210"
    # tax
    ast_rate_percent: Decimal = Decimal("8.25")
    ast_zero_without_address: bool = True
    ast_ignores_override: bool = False
    supplied_tax: Literal["honour", "recompute"] = "honour"
    # payments and credits
    over_application: Literal["refuse", "drop"] = "refuse"
    payment_void_needs_full_object: bool = False
    deposited_payment: Literal["refuse_all", "refuse_money"] = "refuse_all"
    zero_total_payments: bool = True
    parent_payment_needs_bill_with_parent: bool = True
    # names
    inactive_name_suffix: bool = False  # DisplayName gets " (deleted)"
    # change feed
    cdc_boundary_inclusive: bool = True
    cdc_beyond_window: Literal["fault", "truncate"] = "fault"
    cdc_cap: int = 1000
    cdc_order: Literal["newest", "oldest"] = "newest"
    cdc_lag_seconds: float = 0.0
    stamp_skew_seconds: float = 0.0  # added to MetaData stamps: the books' clock against the reply's `time`
    query_lag_seconds: float = 0.0
    query_default_order: Literal["newest", "oldest"] = "newest"
    query_ignores_case: bool = True
    # tokens
    rotate_on_every_refresh: bool = False
    refresh_reuse_revokes_chain: bool = False
    old_refresh_token_grace_seconds: int = 0
    access_token_seconds: int = 3600
    refresh_token_seconds: int = 8_726_400

    def change(self, values: dict[str, Any]) -> None:
        """Set the named switches; an unknown name or a value of another kind raises `ValueError`, nothing set."""
        hints = get_type_hints(type(self))
        checked = {}
        for name, value in values.items():
            if name not in hints:
                known = ", ".join(field.name for field in fields(self))
                raise ValueError(f"unknown switch {name!r}; known: {known}")
            checked[name] = _converted(name, value, hints[name])
        for name, value in checked.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Name -> value."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _converted(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"switch {name} takes one of {list(get_args(hint))}, not {value!r}")
    if hint is bool and isinstance(value, bool):
        return value
    if (
        hint in (int, float, Decimal)
        and isinstance(value, (int, float, Decimal))
        and not isinstance(value, bool)
    ):
        return hint(str(value)) if hint is Decimal else hint(value)
    raise ValueError(f"switch {name} takes a {hint.__name__}, not {value!r}")
