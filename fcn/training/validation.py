"""One-line errors for settings and files that pydantic checks."""

from typing import Any, TypeVar

from pydantic import ValidationError

T = TypeVar("T")
_SHOWN = (str, int, float, type(None))


def one_line(error: ValidationError) -> str:
    """The first problem in ``error``, such as "epochs is 0: must be greater than 0"."""
    found = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in found["loc"] if part not in ("int", "float"))
    rule = found["msg"].removeprefix("Value error, ").replace("Input should", "must")
    rule = rule.replace("String should", "must").splitlines()[0]
    value: Any = found["input"]
    if found["type"] not in ("missing", "value_error") and isinstance(value, _SHOWN):
        shown = repr(value)
        place += f" is {shown if len(shown) <= 60 else f'{shown[:59]}…'}"
    return f"{place}: {rule}" if place else rule


def readable(cls: type[T]) -> type[T]:
    """Class decorator: a failed validation raises ValueError with one line."""
    validate = cls.__init__

    def __init__(self: T, *args: Any, **settings: Any) -> None:
        try:
            validate(self, *args, **settings)
        except ValidationError as error:
            raise ValueError(one_line(error)) from None

    cls.__init__ = __init__  # type: ignore[method-assign, assignment]
    return cls
