"""Errors of pydantic in one line: every kind of field names its path, value and what it takes."""

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from jrsr_core.common.validation import expected, one_line, shortened


def even(value):
    if value % 2:
        raise ValueError(f"is {value}, expected an even number")
    return value


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    share: float = Field(0.5, ge=0, le=1)
    layers: dict[str, float] = {}


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    kind: Literal["red", "green"] = "red"
    count: int | None = Field(None, ge=1)
    below: int = Field(0, le=-1)
    rate: float = Field(0.5, gt=0)
    parity: Annotated[int, AfterValidator(even)] = 0
    device: str = Field("cpu", pattern="^(cpu|cuda)$", examples=["cpu", "cuda"])
    code: str = Field("a", pattern="^[a-z]$")
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "key 'name' is missing"),
        ({"name": 3}, "name is 3, expected text"),
        ({"nam": 3}, "unknown key 'nam', did you mean 'name'?"),
        ({"name": 3, "zzz": 3}, "unknown key 'zzz', known: name, kind, count"),
        ({"kind": "gren"}, "kind is 'gren', did you mean 'green'?"),
        ({"kind": 3}, "kind is 3, known: red, green"),
        ({"count": 0}, "count is 0, expected a whole number of at least 1"),
        ({"count": "x"}, "count is 'x', expected a whole number of at least 1"),
        ({"below": 3}, "below is 3, expected a whole number of at most -1"),
        ({"rate": 0}, "rate is 0, expected a number above 0"),
        ({"rate": float("nan")}, "rate is nan, expected a number above 0"),
        ({"parity": 3}, "parity is 3, expected an even number"),
        ({"device": "gpu"}, "device is 'gpu', expected cpu or cuda"),
        ({"code": "0\x1b"}, r"code is '0\x1b', expected text of the form ^[a-z]$"),
        ({"inner": {"share": 1.5}}, "inner.share is 1.5, expected a number from 0 to 1"),
        ({"inner": {"shre": 1.5}}, "unknown key 'inner.shre', did you mean 'share'?"),
        ({"inner": {"layers": {"a": "x"}}}, "inner.layers.a is 'x', expected a number"),
        ({"inner": [1]}, "inner is [1], expected an object"),
        ({"name": ["x" * 500]}, f"name is ['{'x' * 58}..., expected text"),
    ],
)
def test_first_problem(values, message):
    with pytest.raises(ValidationError) as caught:
        Outer(**({"name": "x"} if values else {}) | values)
    assert one_line(caught.value, Outer, "key").startswith(message)


def test_what_a_field_takes():
    texts = {name: expected(field) for name, field in Outer.model_fields.items()}
    assert texts["kind"] == "red or green"
    assert texts["name"] == "text"
    assert texts["count"] == "a whole number of at least 1"
    assert texts["below"] == "a whole number of at most -1"
    assert texts["inner"] == ""


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"gt": 0, "le": 1}, "a number above 0 and of at most 1"),
        ({"ge": 0, "lt": 90}, "a number of at least 0 and below 90"),
        ({"gt": -180, "lt": 180}, "a number above -180 and below 180"),
        ({"lt": 0}, "a number below 0"),
        ({"ge": 0, "le": 0}, "a number from 0 to 0"),
    ],
)
def test_every_bound_of_a_number_is_stated(bounds, text):
    class Bounded(BaseModel):
        value: float = Field(**bounds)

    assert expected(Bounded.model_fields["value"]) == text
    with pytest.raises(ValidationError) as caught:
        Bounded(value=500)
    assert one_line(caught.value, Bounded) == f"value is 500, expected {text}"


def test_a_short_value_stays_whole():
    assert shortened("x" * 58) == repr("x" * 58)
