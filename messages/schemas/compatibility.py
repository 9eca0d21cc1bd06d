"""What a change of the models would break, found by comparing JSON Schemas.

Events live for years in queues, feeds and dead letters, and the PSA is upgraded on another day than we are. So within
one version of an event:

* whatever was valid stays valid: no field vanishes or becomes required, no type, word list, bound or pattern narrows
* what we promise billing stays promised: a field of an accounting event that was always there stays always there, and
  takes no new types. New words may appear in it; readers are told to expect them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]

# For each keyword whose larger (or smaller) value admits less: +1 when less is admitted as it grows.
_BOUNDS: Final = {
    "minimum": 1,
    "exclusiveMinimum": 1,
    "minLength": 1,
    "minItems": 1,
    "maximum": -1,
    "exclusiveMaximum": -1,
    "maxLength": -1,
    "maxItems": -1,
}
_FORMS: Final = ("pattern", "format")


def breaks(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[str]:
    """Return one sentence for each way in which `new` breaks what `old` published; both are keyed by type name."""
    found = [
        f"{name}: the event is gone; keep it, readers still hold such messages"
        for name in old
        if name not in new
    ]
    for name in old:
        if name in new:
            promised = ".accounting." in name
            comparison = _Comparison(old[name], new[name], promised)
            found += [f"{name}: {sentence}" for sentence in comparison.breaks("", old[name], new[name])]
    return found


@dataclass(frozen=True)
class _Comparison:
    old_root: Schema
    new_root: Schema
    promised: bool

    def breaks(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        olds, news = _alternatives(old, self.old_root), _alternatives(new, self.new_root)
        where = path or "the event"
        for before in olds:
            ways = [
                list(self._narrowed(path, before, after)) for after in news if _kind(after) == _kind(before)
            ]
            if ways:
                yield from min(ways, key=len)
            else:
                yield f"{where} no longer takes {_kind(before)}"
        if self.promised:
            for kind in sorted({_kind(after) for after in news} - {_kind(before) for before in olds}):
                yield f"{where} may now be {kind}, which readers do not expect"

    def _narrowed(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        where = path or "the event"
        if gone := _values(old) - _values(new) if _values(new) else set():
            yield f"{where} no longer takes {', '.join(sorted(gone))}"
        elif _values(new) and not _values(old):
            yield f"{where} now takes only {', '.join(sorted(_values(new)))}"
        for keyword, direction in _BOUNDS.items():
            if keyword in new and (keyword not in old or (new[keyword] - old[keyword]) * direction > 0):
                yield f"{where} has a narrower {keyword}: {old.get(keyword, 'none')} became {new[keyword]}"
        for keyword in _FORMS:
            if keyword in new and new[keyword] != old.get(keyword):
                yield f"{where} has another {keyword}: {old.get(keyword, 'none')} became {new[keyword]}"
        if "items" in old and "items" in new:
            yield from self.breaks(f"{path}[]", old["items"], new["items"])
        yield from self._properties(path, old, new)

    def _properties(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            inner = f"{path}.{name}" if path else name
            if name in after:
                yield from self.breaks(inner, before[name], after[name])
            else:
                yield f"{inner} is gone; what senders say in it would be lost"
        for name in sorted(is_required - was_required):
            yield f"{path}.{name} is now required; earlier messages lack it".lstrip(".")
        if self.promised:
            for name in sorted((was_required - is_required) & after.keys()):
                yield f"{path}.{name} may now be missing, which readers do not expect".lstrip(".")


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return _alternatives(target, root)
    if "anyOf" in schema:
        return [alternative for branch in schema["anyOf"] for alternative in _alternatives(branch, root)]
    return [schema]


def _kind(schema: Schema) -> str:
    return str(schema.get("type", "anything"))


def _values(schema: Schema) -> set[str]:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return {repr(value) for value in values}
