"""Errors of pydantic as one line: the path of a field, its value, and what is expected."""

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from .spelling import nearest

_KINDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}
_TYPES = {"string": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_TYPES |= {"finite_number": "a finite number", "dict": "an object", "model": "an object"}
_TYPES |= {"tuple": "a list", "list": "a list", "dataclass": "an object"}
"""Kind of an error, without its last part -> what was expected."""

_BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
"""Constraint of a number -> words before its bound."""

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""Kinds of errors for a name that a model, and a data class, does not have."""


def one_line(error: ValidationError, model: object, noun: str = "field") -> str:
    """Return the first problem of a model in one line; an unknown name comes before all others.

    `noun` is what the fields of the model are called, such as "property".
    """
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda p: p["type"] not in _UNKNOWN)
    *groups, name = problem["loc"] or ("",)
    path, kind = ".".join(map(str, problem["loc"])), problem["type"]
    group = _inside(model, groups)
    if kind in _UNKNOWN:
        return f"unknown {noun} {path!r}{nearest(str(name), _names(group))}"
    if kind == "missing":
        return f"{noun} {path!r} is missing"
    if kind == "value_error":
        return f"{path} {problem['ctx']['error']}".strip()
    start = f"{path} is {shortened(problem['input'])}".strip()
    field = _fields(group).get(str(name))
    if field and (choices := choices_of(field)):
        return f"{start}{nearest(str(problem['input']), choices)}"
    if kind == "string_pattern_mismatch" and not (field and field.examples):
        return f"{start}, expected text of the form {problem['ctx']['pattern']}"
    if field and (text := expected(field)):
        return f"{start}, expected {text}"
    wanted = _TYPES.get(kind.rpartition("_")[0]) or _TYPES.get(kind) or problem["msg"]
    return f"{start}, expected {wanted}"


def shortened(value: object, length: int = 60) -> str:
    """Return the `repr` of a value, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def expected(field: FieldInfo) -> str:
    """Return which values a field takes, such as "a whole number from 1 to 1024".

    It is empty for a field that is no choice, number, text or flag.
    """
    if choices := choices_of(field) or tuple(map(str, field.examples or ())):
        *others, last = choices
        return f"{', '.join(others)} or {last}"
    kind = _KINDS.get(_plain(field.annotation), "")
    low, high = limits(field)
    if low is not None and high is not None:
        return f"{kind} from {low:g} to {high:g}"
    found = ((words, _limit(field, name)) for name, words in _BOUNDS.items())
    bounds = " and ".join(f"{words} {bound:g}" for words, bound in found if bound is not None)
    return f"{kind} {bounds}".rstrip()


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the texts that a field takes; empty if it takes others."""
    return tuple(c for c in get_args(_plain(field.annotation)) if isinstance(c, str))


def limits(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the least and the greatest value of a number, None where it has none."""
    return _limit(field, "ge"), _limit(field, "le")


def _limit(field: FieldInfo, kind: str) -> float | None:
    return next((getattr(m, kind) for m in field.metadata if hasattr(m, kind)), None)


def _plain(annotation: Any) -> Any:
    """Return X for the annotation ``X | None``, anything else as it is."""
    others = [kind for kind in get_args(annotation) if kind is not NoneType]
    return others[0] if len(others) == 1 and NoneType in get_args(annotation) else annotation


def _fields(model: object) -> dict[str, FieldInfo]:
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    return model.model_fields if is_model else {}  # type: ignore[attr-defined]


def _names(model: object) -> Iterable[str]:
    return _fields(model) or getattr(model, "__annotations__", ())


def _inside(model: object, path: Iterable[object]) -> object:
    """Return the type of the field at a path below a model; None where it has no named fields."""
    for name in path:
        if get_origin(model) in (tuple, list, dict):
            model = get_args(model)[-1 if get_origin(model) is dict else 0]
        elif field := _fields(model).get(str(name)):
            model = field.annotation
        else:
            model = get_type_hints(model).get(str(name)) if isinstance(model, type) else None
        model = _plain(model)
    return model
