"""Names of customers: when two are the same, and how much two others have in common.

Folding takes away what people write in different ways (case, accents, punctuation, "&" or "and", the legal form)
and nothing that tells two customers apart: word order, numbers, towns and the possessive stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.distance import JaroWinkler

SUGGESTED = 0.6
"""Score from which a pair is worth showing to a person."""

# Legal forms by the way they are written once dots are gone; several ways of one form share the value.
_FORMS = {
    **dict.fromkeys(("inc", "incorporated", "corp", "corporation"), "inc"),
    **dict.fromkeys(("ltd", "limited"), "ltd"),
    **dict.fromkeys(("co", "company", "cie"), "co"),
    **{one: one for one in ("llc", "llp", "lllp", "pllc", "plc", "gmbh", "ag", "ug", "kg", "ohg", "kgaa")},
    **{one: one for one in ("mbh", "sarl", "sas", "sasu", "eurl", "srl", "bv", "nv", "bvba", "pty", "pte")},
    **{one: one for one in ("pvt", "aps", "oyj", "kft", "sro", "doo", "ltda", "lda", "eirl", "ulc", "lp")},
}
# Words and initials as well as legal forms: taken for a form only when written with dots ("S.p.A."), because
# "Serenity Spa" and "Downtown PC" are no companies limited by shares.
_DOTTED_FORMS = {"pc", "pa", "sa", "spa", "as", "ab", "sl", "ev", "ek", "oy", "rl", "de", "cv"}
_ACCENTLESS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ı": "i", "’": "'", "‘": "'"}
)
_TRADES_AS = re.compile(
    r"\s*(?:[,(;-]\s*)?\b(?:d\s*[./]?\s*b\s*[./]?\s*a\b\.?|t/a\b|doing business as\b|trading as\b|trades as\b|f/k/a\b)"
    r"\s*:?\s*",
    re.IGNORECASE,
)
_DELETED = re.compile(r"\s*\(deleted\)\s*$", re.IGNORECASE)
_INITIALS = re.compile(r"\b(?:[^\W\d_]\s?\.\s?){2,}(?:[^\W\d_]\b)?")
_SMALL = frozenset({"and", "the", "of"})
_ROMAN = frozenset({"ii", "iii", "iv", "vi", "vii", "viii", "ix"})
# What half of all companies call themselves: it says little when it fits and little when it is missing.
_GENERIC = frozenset({
    "associates", "center", "centre", "consulting", "consultants", "enterprises", "firm", "group",
    "holding", "holdings", "industries", "international", "management", "office", "partners",
    "partnership", "practice", "properties", "services", "service", "shop", "solutions", "store",
    "studio", "systems", "team", "technologies", "technology", "trading", "usa", "america",
})  # fmt: skip
_SHORT = {
    "assoc": "associates", "assocs": "associates", "bros": "brothers", "ctr": "center", "dept": "department",
    "dist": "distribution", "eng": "engineering", "ent": "enterprises", "fin": "financial", "grp": "group",
    "hosp": "hospital", "ins": "insurance", "intl": "international", "mfg": "manufacturing", "mgmt": "management",
    "mgt": "management", "mktg": "marketing", "natl": "national", "ofc": "office", "props": "properties",
    "ptnrs": "partners", "svc": "services", "svcs": "services", "sys": "systems", "tech": "technology",
    "techs": "technologies", "univ": "university", "centre": "center", "service": "services", "st": "saint",
    "dr": "doctor", "mt": "mount", "ft": "fort",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folded:
    """A name without what does not matter. `key` is "" when nothing of it is left: it never matches.

    `forms` are its legal forms, `trade` the key of the name it trades under.
    """

    written: str
    key: str
    forms: frozenset[str]
    trade: str = ""

    @property
    def words(self) -> list[str]:
        """The words of the key, in their order."""
        return self.key.split()


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much two names have in common, from 0 to 1, and why, in words."""

    score: float
    evidence: str


@lru_cache(maxsize=65_536)
def fold(name: str) -> Folded:
    """Fold a name, for example "Müller & Söhne GmbH" to "muller and sohne"."""
    written = name.strip()
    name = _DELETED.sub("", written)
    legal, *traded = _TRADES_AS.split(name, maxsplit=1)
    if not legal.strip() or not "".join(traded).strip():
        legal, traded = name, []  # "DBA Systems" trades as nobody
    key, forms = _fold(legal)
    trade, trade_forms = _fold(traded[0]) if traded else ("", frozenset[str]())
    return Folded(written, key, forms | trade_forms, trade)


def same(one: Folded, other: Folded) -> bool:
    """Whether two names are the same name. Two different legal forms are two companies; one left out is none."""
    if not one.key or one.key != other.key or one.trade != other.trade:
        return False
    return not conflicting(one, other)


def conflicting(one: Folded, other: Folded) -> bool:
    """Whether both names say a legal form and these are not the same."""
    if not one.forms or not other.forms:
        return False
    unshared = one.forms ^ other.forms
    # A GmbH and the GmbH & Co. KG that it runs are two companies; "Pty" for "Pty Ltd" is laziness.
    return "kg" in unshared or not (one.forms <= other.forms or other.forms <= one.forms)


def likeness(one: Folded, other: Folded) -> Likeness:
    """Score two names that need not be the same."""
    if not one.key or not other.key:
        return Likeness(0, "nothing of the name is left without its legal form")
    found = _likeness(one.key, other.key)
    if one.trade or other.trade:
        for mine in {one.key, one.trade} - {""}:
            for theirs in {other.key, other.trade} - {""}:
                part = _likeness(mine, theirs)
                if (mine, theirs) != (one.key, other.key) and part.score * 0.95 > found.score:
                    found = Likeness(part.score * 0.95, f"by its other name: {part.evidence}")
    if one.trade and other.trade and one.trade != other.trade and found.score > 0.7:
        return Likeness(0.7, f"{found.evidence}; different trading names: {one.trade} and {other.trade}")
    if conflicting(one, other):
        forms = " and ".join("/".join(sorted(name.forms)) for name in (one, other))
        return Likeness(min(found.score, 0.9), f"{found.evidence}; different legal forms: {forms}")
    return found


def initials(key: str) -> str:
    """The first letters of a key of three words or more; "" for a shorter one."""
    words = [word for word in key.split() if word not in _SMALL]
    return "".join(word[0] for word in words) if len(words) > 2 else ""


def _fold(name: str) -> tuple[str, frozenset[str]]:
    text = unicodedata.normalize("NFKD", name.casefold().translate(_ACCENTLESS))
    text = "".join(character for character in text if not unicodedata.combining(character))
    dotted: set[str] = set()

    def joined(found: re.Match[str]) -> str:
        letters = re.sub(r"\W", "", found[0])
        dotted.add(letters)
        return f" {letters} " if found[0][-1:].isspace() or found[0].endswith(".") else f" {letters}"

    text = _INITIALS.sub(joined, text).replace("'", "").replace("+", " and ").replace("&", " and ")
    words = re.sub(r"[^\w]|_", " ", text).split()
    words = ["and" if word in {"und", "et"} else word for word in words]
    forms: set[str] = set()
    while words:
        last = words[-1]
        if last in _FORMS:
            forms.add(_FORMS[last])
        elif last in _DOTTED_FORMS and last in dotted:
            forms.add(last)
        elif not (last == "and" and forms and set(words[:-1]) & _FORMS.keys()):  # "GmbH & Co KG"
            break
        words.pop()
    if words[-1:] == ["and"] and forms == {"co"}:
        words, forms = [*words, "co"], set()  # in "Smith & Co" it is part of the name
    elif words[-1:] == ["and"]:
        words.pop()
    if words[:1] == ["the"] and len(words) != 2:
        words = words[1:]
    return " ".join(words), frozenset(forms)


def _likeness(one: str, other: str) -> Likeness:
    if one == other:
        return Likeness(1, "the same name")
    if one.replace(" ", "") == other.replace(" ", ""):
        return Likeness(0.97, "the same letters, written together or apart")
    mine, theirs = _words(one), _words(other)
    numbers = [sorted(word for word in words if _is_number(word)) for words in (mine, theirs)]
    if all(numbers) and numbers[0] != numbers[1]:
        return Likeness(0.2, f"other numbers: {' '.join(numbers[0])} and {' '.join(numbers[1])}")
    if mine == theirs:
        return Likeness(0.96, "the same name with a word written short")
    if sorted(mine) == sorted(theirs) and any(_weight(word) == 1 for word in mine):
        return Likeness(0.95, "the same words in another order")
    short = _initials(mine, theirs) or _initials(theirs, mine)
    if short:
        return Likeness(0.7, f"{short} are the initials of the other name")
    return _by_words(mine, theirs, unequal_numbers=numbers[0] != numbers[1])


def _by_words(mine: Sequence[str], theirs: Sequence[str], *, unequal_numbers: bool) -> Likeness:
    left, alike, notes = list(theirs), 0.0, list[str]()
    only_mine: list[str] = []
    for word in mine:
        best = max(left, key=lambda candidate: _word(word, candidate), default="")
        value = _word(word, best) if best else 0.0
        if value < 0.7:
            only_mine.append(word)
            continue
        left.remove(best)
        alike += value * 2 * max(_weight(word), _weight(best))
        if word != best:
            notes.append(f"{word} is like {best}")
    weight = sum(map(_weight, mine)) + sum(map(_weight, theirs))
    score = min(alike / weight, 0.94) if weight else 0.0
    telling = [[word for word in words if _weight(word) == 1] for words in (only_mine, left)]
    if all(telling):  # each has a word of its own: two towns, two people, two trades
        score = min(score, 0.5)
    elif not any(word not in only_mine and _weight(word) == 1 for word in mine):
        score = min(score, 0.5)  # nothing but everyday words in common
    if unequal_numbers:
        score *= 0.8
    for words, where in ((only_mine, "only in the one"), (left, "only in the other")):
        if words:
            notes.append(f"{where}: {' '.join(words)}")
    return Likeness(round(score, 4), "; ".join(notes) or "the same words")


def _words(key: str) -> list[str]:
    return [_SHORT.get(word, word) for word in key.split() if word not in _SMALL] or key.split()


def _weight(word: str) -> float:
    return 0.4 if word in _GENERIC else 1.0


def _is_number(word: str) -> bool:
    return word in _ROMAN or any(character.isdigit() for character in word)


def _word(one: str, other: str) -> float:
    """How much two words are one word: a slip of the pen, or an initial."""
    if one == other:
        return 1.0
    if _is_number(one) or _is_number(other):
        return 0.0
    if min(len(one), len(other)) == 1:
        return 0.75 if one[0] == other[0] else 0.0
    if one + "s" == other or other + "s" == one:
        return 0.85
    if min(len(one), len(other)) < 3:
        return 0.0
    value = JaroWinkler.normalized_similarity(one, other)
    return value if value >= 0.87 and fuzz.ratio(one, other) >= 78 else 0.0


def _initials(short: Sequence[str], words: Sequence[str]) -> str:
    return short[0] if len(short) == 1 and short[0] == initials(" ".join(words)) else ""
