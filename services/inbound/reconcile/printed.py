"""A statement as a page to read and to print: one HTML document that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any, Final

from messages.money import to_decimal
from services.inbound.reconcile.items import CLASSES, MEANINGS

_NAMES: Final = {"fx": "Exchange rates"}
_PAGE: Final = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))

Told = Mapping[str, Any]


def page(told: Told) -> str:
    """The page of a statement as `Statement.to_json` tells it. All that people named is escaped."""
    unexplained, home = told["unexplained"], told["home_currency"]
    if unexplained:
        noun = "difference is" if unexplained == 1 else "differences are"
        verdict = f"{unexplained} {noun} unexplained."
    else:
        verdict = "Every difference is explained: nothing is unexplained."
    period = (
        f"From {told['from']} through {told['to']}" if told["from"] else f"Everything through {told['to']}"
    )
    reads = told.get("reads") or {}
    return _PAGE.substitute(
        title=escape(f"Receivables of {told['company'] or told['realm_id']}, {told['to']}"),
        company=escape(f"{told['company'] or 'QuickBooks company'} (realm {told['realm_id']})"),
        period=escape(period),
        read_at=escape(str(told["read_at"])[:16].replace("T", " ") + " UTC"),
        reads=escape(f"It took {reads.get('actual', 0)} metered reads."),
        mood="open" if unexplained else "zero",
        verdict=escape(verdict),
        sections="\n".join([*_totals(told, home), *_roll(told, home), *_classes(told)]),
    )


def _totals(told: Told, home: str) -> Iterator[str]:
    books = [(code, one) for code, one in told["currencies"].items()]
    if [code for code, _ in books] != [home]:
        books.append((f"All, in {home}", {**told, "difference": told["difference"]}))
    for code, one in books:
        currency = code if len(code) == 3 else home
        rows = [("Billing says", "", one["ours_total"])]
        rows += [
            (_name(class_), str(told[class_]) if code.startswith("All") or len(books) == 1 else "", amount)
            for class_, amount in one["amounts"].items()
            if amount and class_ != "matched"
        ]
        rows.append(("QuickBooks says", "", one["quickbooks_total"]))
        body = [[escape(name), escape(count), _amount(amount, currency)] for name, count, amount in rows]
        yield _table(escape(str(code)), ("", "Items", currency), body, numbers=(1, 2), summed=True)


def _roll(told: Told, home: str) -> Iterator[str]:
    roll = told["roll_forward"]
    order = ("opening", "invoices", "credit_notes", "payments", "credit_applications", "by_hand", "other")
    named = [name for name in order if name in roll] + [
        name for name in roll if name not in (*order, "closing")
    ]
    body = [
        [escape(_name(name)), _amount(roll[name]["ours"], home), _amount(roll[name]["quickbooks"], home)]
        for name in [*named, "closing"]
    ]
    heads = ("", f"Billing, {home}", f"QuickBooks, {home}")
    yield _table("From the opening to the closing balance", heads, body, numbers=(1, 2), summed=True)


def _classes(told: Told) -> Iterator[str]:
    by_class: dict[str, list[Told]] = {}
    for item in told["items"]:
        by_class.setdefault(item["class"], []).append(item)
    for class_ in sorted(CLASSES, key=lambda name: name != "unexplained"):
        items = by_class.get(class_)
        if not items:
            continue
        body = [list(_item(item)) for item in items]
        heads = ("Document", "Who", "Billing", "QuickBooks", "Difference", "Why")
        title = f"{_name(class_)} ({told[class_]}): {MEANINGS[class_]}"
        yield _table(escape(title), heads, body, numbers=(2, 3, 4), why=5)
    yield f"<p>Matched: {told['matched']} items are the same in both books.</p>"


def _item(item: Told) -> Iterator[str]:
    here, there = item["billing"], item["quickbooks"]
    number = next((side["number"] for side in (here, there) if side and side["number"]), None)
    label = escape(f"{_name(item['kind'])} {number or item['key']}")
    url = str(item["url"] or "")
    yield f'<a href="{escape(url)}">{label}</a>' if url.startswith("https://") else label
    yield escape(item["name"] or item["client_id"] or "")
    for side in (here, there):
        yield _amount(side["amount"], item["currency"]) if side else ""
    yield _amount(item["difference"], item["currency"])
    follows = f" (follows {item['follows']})" if item["follows"] else ""
    yield escape(f"{item['why']}{follows}" + (f". {item['next_step']}" if item["next_step"] else ""))


def _table(
    title: str,
    heads: Sequence[str],
    body: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    why: int | None = None,
    summed: bool = False,
) -> str:
    def cell(tag: str, place: int, content: str) -> str:
        kind = ' class="n"' if place in numbers else ' class="why"' if place == why else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    rows = [list(row) for row in body]
    head = "".join(cell("th", place, escape(name)) for place, name in enumerate(heads))
    lines = []
    for at, row in enumerate(rows):
        last = ' class="sum"' if summed and at == len(rows) - 1 else ""
        lines.append(
            f"<tr{last}>" + "".join(cell("td", place, one) for place, one in enumerate(row)) + "</tr>"
        )
    return (
        f"<h2>{title}</h2>\n<table><thead><tr>{head}</tr></thead><tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table>"
    )


def _name(word: str) -> str:
    return _NAMES.get(word) or word.replace("_", " ").capitalize()


def _amount(minor: int, currency: str) -> str:
    return escape(f"{to_decimal(minor, currency):,f}" if currency else str(minor))
