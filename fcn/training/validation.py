"""One-line errors for settings and files that pydantic checks."""

from typing import Any

from pydantic import ValidationError

_SHOWN = (str, int, float, type(None))


def one_line(error: ValidationError) -> str:
    """The first finding of ``error``, such as "epochs is 0: must be greater than 0"."""
    found = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    rule = found["msg"].removeprefix("Value error, ").replace("Input should", "must")
    rule = rule.replace("String should", "must").splitlines()[0]
    value: Any = found["input"]
    if found["type"] not in ("missing", "value_error") and isinstance(value, _SHOWN):
        place += f" is {value!r}"
    return f"{place}: {rule}" if place else rule
