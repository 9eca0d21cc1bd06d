"""pydantic's errors in words a person can act on: the path of the field, what came, what to send instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from messages.body import HALF_CHARACTER, NUL
from messages.errors import Problem
from messages.shape import IDENTIFIER_PATTERN, NAME_PATTERN, TEXT_PATTERN, shown

_PATTERNS: Final = {
    TEXT_PATTERN: NUL,
    NAME_PATTERN: "is blank or holds a NUL character; send some text",
    IDENTIFIER_PATTERN: "has blanks at an end, or line breaks or control characters in it; send the bare id",
}

_Location = tuple[int | str, ...]


def problems_in(error: ValidationError, model: type[BaseModel], prefix: str = "") -> tuple[Problem, ...]:
    """Return every refusal of `model`'s validation, its fields named from `prefix` on."""
    return tuple(
        problem
        for details in error.errors(include_url=False)
        for problem in _problems_of(details, model, prefix)
    )


def _problems_of(details: ErrorDetails, model: type[BaseModel], prefix: str) -> Iterator[Problem]:
    path = _path(details["loc"], prefix)
    inner = details.get("ctx", {}).get("problems")
    if inner:
        for field, message in inner:
            yield Problem(f"{path}.{field}" if path else field, message)
    else:
        yield Problem(path or "body", _sentence(details, model))


def _path(location: _Location, prefix: str) -> str:
    path = prefix
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path


def _sentence(details: ErrorDetails, model: type[BaseModel]) -> str:
    value = details["input"]
    context: dict[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "contract":
            return details["msg"]
        case "missing":
            meaning = _description(model, details["loc"])
            return f"is missing; send it: {_lower(meaning)}" if meaning else "is missing; send it"
        case "literal_error":
            return f"is {shown(value)}; send {context['expected']}"
        case "bool_type":
            return f"is {shown(value)}; send true or false, without quotes"
        case "string_type" if value is None:
            return "is null; send some text"
        case "string_type":
            return f"is {shown(value)}; send a string in quotes"
        case "string_unicode":
            return HALF_CHARACTER
        case "string_too_short":
            return "is empty; send the id"
        case "string_too_long":
            return f"has {len(value)} characters and may have {context['max_length']}; shorten it"
        case "string_pattern_mismatch":
            return _PATTERNS[context["pattern"]]
        case "tuple_type":
            return f"is {shown(value)}; send a JSON array, [] when there is none"
        case "model_type":
            return f"is {shown(value)}; send a JSON object"
        case _:
            return f"is {shown(value)}: {_lower(details['msg'])}"


def _description(model: type[BaseModel], location: _Location) -> str | None:
    """Return what the contract says about a field: the reader of the error needs it next."""
    found: type[BaseModel] | None = model
    description = None
    for step in location:
        if isinstance(step, int):
            continue
        fields = found.model_fields.items() if found else ()
        field = next((field for name, field in fields if step in (name, field.alias)), None)
        if field is None:
            return None
        description = field.description
        found = _model_within(field.annotation)
    return description


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_within(part))), None)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
