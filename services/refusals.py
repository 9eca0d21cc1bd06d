"""What a service refuses to do: one exception that carries what a person and a program each need to know."""

from __future__ import annotations

from typing import Literal

Kind = Literal["invalid", "missing", "conflict", "forbidden"]


class Refusal(Exception):
    """A request that changed nothing, and why.

    `code` is a stable word for programs, `sentence` says what happened, why and what to do next, `field`
    names the input at fault ("" when it is not one field), `kind` is what a transport turns into its status.
    """

    def __init__(self, kind: Kind, code: str, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.code = code
        self.sentence = sentence
        self.field = field


def invalid(field: str, sentence: str, *, code: str = "invalid_value") -> Refusal:
    """A value that cannot be accepted."""
    return Refusal("invalid", code, sentence, field=field)


def missing(sentence: str, *, code: str = "not_found", field: str = "") -> Refusal:
    """Something that does not exist, or not for this tenant."""
    return Refusal("missing", code, sentence, field=field)


def conflict(code: str, sentence: str, *, field: str = "") -> Refusal:
    """Something that the present state does not allow."""
    return Refusal("conflict", code, sentence, field=field)


def forbidden(code: str, sentence: str) -> Refusal:
    """Something the caller may not do."""
    return Refusal("forbidden", code, sentence)
