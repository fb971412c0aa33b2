"""Read the list of classes, as we write it and as other tools do.

Our own form has one class per line, in label order from 0, each with a colour or none::

    sky #9ecae1
    road #707074
    void 11 #000000          not a class: the label (or labels) and the colour of void

Also read: numbered lines (``7 sky``, in any order), labelme's ``labels.txt``, Roboflow's
``_classes.csv``, CVAT's ``labelmap.txt``, CamVid's ``label_colors.txt`` and ``class_dict.csv``, and
maps of numbers and names in JSON or plain YAML. A file of another form is refused, never guessed.
"""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcn.data.reading import read_lines
from fcn.data.sample import VOID

Colour = tuple[int, int, int]

OWN = "one class per line"
_REMEDY = "write one class per line, in label order from 0, such as: sky #9ecae1"
_IGNORED = ("void", "__ignore__")


class Classes(NamedTuple):
    """A list of classes in label order.

    ``palette``: C x 3, uint8, RGB, or None. ``void``: the colour of void, if given. ``values``: the
    number of each class in label maps, ascending; 0, 1, 2, ... unless the list numbers them.
    ``void_values``: further numbers that mean void. ``form``: the kind of list that was recognised.
    """

    names: tuple[str, ...]
    palette: NDArray[np.uint8] | None
    void: Colour | None
    values: tuple[int, ...]
    void_values: tuple[int, ...] = ()
    form: str = OWN

    @property
    def numbered(self) -> bool:
        """True unless the numbers in label maps are 0, 1, 2, ..."""
        return self.values != tuple(range(len(self.names)))

    def hex_lines(self) -> list[str]:
        """The list in our own form, colours and void included, for label maps from 0."""
        lines = list(self.names)
        if self.palette is not None:
            lines = [f"{n} {hex_of(c)}" for n, c in zip(lines, self.palette, strict=True)]
        return lines + ([f"void {hex_of(self.void)}"] if self.void else [])


class _Entry(NamedTuple):
    name: str
    value: int | None = None
    colour: Colour | None = None


def hex_of(colour: Sequence[int] | NDArray[np.integer[Any]]) -> str:
    """A colour such as #9ecae1."""
    return "#" + bytes(int(value) for value in colour).hex()


def read_classes(path: str | Path) -> Classes:
    """The list of classes in a file.

    Raises FileNotFoundError if there is none and ValueError, naming the file, if its form is
    unknown or its content contradicts itself.
    """
    lines = read_lines(path, "classes", "class")
    try:
        form, entries = _recognised(lines, Path(path).suffix.lower())
        return _checked(form, entries)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _recognised(lines: list[str], suffix: str) -> tuple[str, list[_Entry]]:
    """The name of a list's form and its entries."""
    first = lines[0] if lines else ""
    if suffix == ".json" or first.startswith(("{", "[")):
        return "a JSON map", _json("\n".join(lines))
    if suffix in (".yaml", ".yml"):
        return "a YAML map", _yaml(lines)
    for start, what in (("<", "an XML file"), ("item {", "a .pbtxt label map")):
        if first.startswith(start):
            raise ValueError(f"{what}, which is not read as a list of classes; {_REMEDY}")
    if (table := _table(lines)) is not None:
        return table
    for form, pattern in _FORMS.items():
        body = [line for line in lines if not line.startswith("#")]
        found = [match for line in body if (match := pattern.fullmatch(line))]
        others = [line for line in body if not pattern.fullmatch(line)]
        voids = [line for line in others if _VOID_LINE.fullmatch(line)]
        others = [line for line in others if line not in voids]
        if len(found) <= len(others):
            continue
        if others:
            raise ValueError(
                f"'{others[0]}' does not fit the other lines ({form}); give all lines one form"
            )
        return form, [_matched(match) for match in found] + [_void(line) for line in voids]
    if suffix == ".csv" and any("," in line for line in lines):
        raise ValueError(f"a table with unknown columns ({first}); {_HEADINGS}")
    if first == "__ignore__":  # labelme's label -1, which its maps store as 255
        ignored = _Entry("void", VOID)
        return "labelme's labels.txt", [ignored, *(_own(line) for line in lines[1:])]
    return OWN, [_own(line) for line in lines]


# ---------------------------------------------------------------------------------- lines of text

_RGB = r"(?P<r>\d{1,3})[\s,]+(?P<g>\d{1,3})[\s,]+(?P<b>\d{1,3})"
_HEX = r"(?:\s+#(?P<hex>\S*))?"
_VALUE = r"(?P<value>\d+)(?:\s*[:,;=|)]\s*|\.\s+|\s+)"
_NUMBERED = "numbered lines"
_VOID_LINE = re.compile(rf"(?i:void|__ignore__)(?P<values>(?:[\s,:=]+\d+)*){_HEX}")
_FORMS = {
    "CVAT's labelmap.txt": re.compile(r"(?P<name>.+?):(?P<r>\d+),(?P<g>\d+),(?P<b>\d+):.*:.*"),
    "number, name, red, green, blue": re.compile(rf"{_VALUE}(?P<name>.*?[^\d\s,].*?)[\s,]+{_RGB}"),
    "red, green, blue, name": re.compile(rf"{_RGB}[\s,]+(?P<name>.*\S)"),
    "name, red, green, blue": re.compile(rf"(?P<name>.*?[^\d\s,].*?)[\s,]+{_RGB}"),
    _NUMBERED: re.compile(rf"{_VALUE}(?P<name>\S.*?){_HEX}"),
    "names with numbers": re.compile(r"(?P<name>.+?)\s*[:,;=]\s*(?P<value>\d+)"),
}


def _matched(match: re.Match[str]) -> _Entry:
    found = match.groupdict()
    value = found.get("value")
    colour = None
    if found.get("r"):
        colour = _rgb([found["r"], found["g"], found["b"]])
    elif found.get("hex") is not None:
        colour = _from_hex(found["hex"], match[0])
    return _Entry(found["name"].strip("\"' \t,"), None if value is None else int(value), colour)


def _void(line: str) -> _Entry:
    """A line such as ``void``, ``void 11`` or ``void 11 #000000``; the first number alone."""
    match = _VOID_LINE.fullmatch(line)
    assert match
    values = [int(value) for value in re.findall(r"\d+", match["values"])]
    colour = None if match["hex"] is None else _from_hex(match["hex"], line)
    if not values and colour is None:
        name = line.strip()
        raise ValueError(
            f"'{name}' is not a class but label {VOID}; remove it and do not count it, or give "
            f"its label, such as: {name} 11"
        )
    if len(values) > 1:
        raise ValueError(f"'{line}': give each label of void its own line, such as: void 11")
    return _Entry("void", values[0] if values else None, colour)


def _own(line: str) -> _Entry:
    if _VOID_LINE.fullmatch(line):
        return _void(line)
    name, *rest = re.split(r"(?:^|\s)#", line, maxsplit=1)
    if not rest:
        return _Entry(name.strip())
    if not name.strip():
        raise ValueError(f"'{line}' is not a class with a colour, such as: sky #9ecae1")
    return _Entry(name.strip(), None, _from_hex(rest[0], line))


def _from_hex(digits: str, line: str) -> Colour:
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        raise ValueError(f"'{line}' is not a class with a colour, such as: sky #9ecae1")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _rgb(values: Sequence[Any]) -> Colour:
    if len(values) != 3 or not all(re.fullmatch(r"\d{1,3}", str(v).strip()) for v in values):
        raise ValueError(f"{list(values)} is not a colour: give red, green, blue from 0 to 255")
    red, green, blue = (int(value) for value in values)
    if max(red, green, blue) > 255:
        raise ValueError(f"colour {red}, {green}, {blue} is above 255; correct it")
    return red, green, blue


# ----------------------------------------------------------------------------------------- tables

_COLUMNS = {
    "name": {"name", "class", "label", "class name", "class_name", "category"},
    "value": {"pixel value", "pixel_value", "value", "id", "index", "class_id", "label_id"},
    "r": {"r", "red"},
    "g": {"g", "green"},
    "b": {"b", "blue"},
    "hex": {"color", "colour", "hex"},
}
_HEADINGS = "keep the columns name, value (the pixel's number) and r, g, b"


def _table(lines: list[str]) -> tuple[str, list[_Entry]] | None:
    """The entries of a CSV table with headings, or None if the first line has none."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    heads = [cell.lower() for cell in rows[0]] if rows else []
    columns = [next((key for key, known in _COLUMNS.items() if h in known), h) for h in heads]
    if len(heads) < 2 or len(set(columns) & set(_COLUMNS)) < 2 or "name" not in columns:
        return None
    if unknown := [h for h, column in zip(heads, columns, strict=True) if column not in _COLUMNS]:
        raise ValueError(f"a table with an unknown column, '{unknown[0]}'; {_HEADINGS}")
    entries = []
    for row in rows[1:]:
        if len(row) != len(columns) or len(set(columns)) < len(columns):
            raise ValueError(f"'{','.join(row)}' does not fit the headings {', '.join(heads)}")
        cells = dict(zip(columns, row, strict=True))
        value = cells.get("value")
        if value is not None and not value.isdecimal():
            raise ValueError(f"'{','.join(row)}': '{value}' is not the number of a class")
        colour = None
        if "r" in cells:
            colour = _rgb([cells.get(channel, "") for channel in "rgb"])
        elif "hex" in cells:
            colour = _from_hex(cells["hex"].removeprefix("#"), ",".join(row))
        entries.append(_Entry(cells["name"], None if value is None else int(value), colour))
    form = "Roboflow's _classes.csv" if "pixel value" in heads else "class_dict.csv"
    return form if form[0] == "R" or "r" in columns else "a table", entries


# ---------------------------------------------------------------------------------- JSON and YAML

_UNWRAP = ("id2label", "label2id", "names", "categories", "classes", "labels")
_NAMES = ("name", "title", "label", "class")
_VALUES = ("id", "value", "index")
_COLOURS = ("color", "colour", "rgb", "hex")
_MAPS = f"give a map of numbers and names, or {_REMEDY}"


def _json(text: str) -> list[_Entry]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := next((key for i, key in enumerate(keys) if key in keys[:i]), None):
            raise ValueError(f"'{twice}' appears twice; each must be unique")
        return dict(pairs)

    try:
        content = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error}); correct it, or {_REMEDY}") from None
    except RecursionError:
        raise ValueError(f"nested too deeply; {_MAPS}") from None
    for key in _UNWRAP:
        if isinstance(content, dict) and isinstance(content.get(key), dict | list):
            content = content[key]
    return _mapped(content)


def _mapped(content: Any) -> list[_Entry]:
    """The entries of a list of names or objects, or of a map between numbers and either."""
    if isinstance(content, list) and content:
        if all(isinstance(one, str) for one in content):
            return [_Entry(name) for name in content]
        if all(isinstance(one, dict) for one in content):
            return [_object(one, None) for one in content]
    if isinstance(content, dict) and content:
        if all(re.fullmatch(r"\d+", str(key)) for key in content):
            return [_object(one, int(key)) for key, one in content.items()]
        if all(isinstance(n, int) and not isinstance(n, bool) for n in content.values()):
            return [_Entry(str(name), n) for name, n in content.items()]
        if all(isinstance(c, str | list) for c in content.values()):
            return [_Entry(str(name), None, _any_colour(c)) for name, c in content.items()]
    raise ValueError(f"holds no classes in a form that is read; {_MAPS}")


def _object(one: Any, value: int | None) -> _Entry:
    if isinstance(one, str) and value is not None:
        return _Entry(one, value)
    if isinstance(one, dict):
        name = next((one[key] for key in _NAMES if isinstance(one.get(key), str)), None)
        colour = next((one[key] for key in _COLOURS if key in one), None)
        if value is None:
            value = next((one[key] for key in _VALUES if isinstance(one.get(key), int)), None)
        if name is not None:
            return _Entry(name, value, None if colour is None else _any_colour(colour))
    raise ValueError(f"'{json.dumps(one)[:60]}' is not a class with a name; {_MAPS}")


def _any_colour(colour: Any) -> Colour:
    if isinstance(colour, list):
        return _rgb(colour)
    return _from_hex(str(colour).removeprefix("#"), str(colour))


def _yaml(lines: list[str]) -> list[_Entry]:
    """Plain YAML: a map or a list of names, one per line or in brackets, below a key or alone."""
    lines = [re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in lines]
    lines = [line for line in lines if line not in ("", "---", "...")]
    keys = [re.fullmatch(r"(\w+)\s*:\s*(.*)", line) for line in lines]
    for i, key in enumerate(keys):
        if key and key[1] in _UNWRAP:
            if key[2]:
                return _mapped(_flow(key[2]))
            lines = lines[i + 1 :]
            break
    entry = re.compile(r"(?:-\s+(?P<item>.+)|(?P<key>[^:]+?)\s*:\s+(?P<content>.+))")
    found: list[re.Match[str]] = []
    for line in lines:
        match = entry.fullmatch(line)
        if match is None or (found and (match["key"] is None) != (found[0]["key"] is None)):
            if found and re.fullmatch(r"[a-z]\w*\s*:.*", line):
                break  # the next key of the file
            raise ValueError(f"'{line}' is beyond the plain YAML that is read; {_MAPS}")
        if found and found[0]["key"] and found[0]["key"].isdecimal() != match["key"].isdecimal():
            break
        found.append(match)
    if not found:
        raise ValueError(f"holds no classes in a form that is read; {_MAPS}")
    if found[0]["key"] is None:
        return _mapped([_bare(match["item"]) for match in found])
    pairs = [(_bare(match["key"]), _scalar(match["content"])) for match in found]
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice; each must be unique")
    return _mapped(dict(pairs))


def _flow(text: str) -> Any:
    """The content of ``[a, b]`` or ``{0: a, 1: b}``."""
    inner = [part.strip() for part in text[1:-1].split(",") if part.strip()]
    if text[0] + text[-1] == "[]":
        return [_bare(part) for part in inner]
    if text[0] + text[-1] == "{}" and all(":" in part for part in inner):
        pairs = [part.split(":", 1) for part in inner]
        return {_bare(key): _scalar(content) for key, content in pairs}
    raise ValueError(f"'{text[:60]}' is beyond the plain YAML that is read; {_MAPS}")


def _bare(text: str) -> str:
    """Text without its quotes."""
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    if not quoted and text.startswith(tuple("{[&*!|>%@`\"'")):
        raise ValueError(f"'{text[:60]}' is beyond the plain YAML that is read; {_MAPS}")
    return text[1:-1] if quoted else text


def _scalar(text: str) -> Any:
    text = text.strip()
    if text.startswith("["):
        return _flow(text)
    return int(text) if text.isdecimal() else _bare(text)


# ----------------------------------------------------------------------------------------- checks


def _checked(form: str, entries: list[_Entry]) -> Classes:
    """The classes, ordered by their numbers, without void."""
    voids = [e for e in entries if e.name.strip().lower() in _IGNORED]
    for void in voids:
        if void.value is None and void.colour is None:
            _void(void.name)  # raises
    named = [entry for entry in entries if entry not in voids]
    if any(not entry.name for entry in named):
        raise ValueError("a class has no name; give each one")
    _unique("class", [entry.name for entry in named], str)
    colours = [(entry.colour, entry) for entry in named if entry.colour is not None]
    void_colours = {void.colour for void in voids if void.colour is not None}
    if len(void_colours) > 1:
        raise ValueError("void has two colours; give it one")
    _unique("colour", [colour for colour, _ in colours] + list(void_colours), hex_of)
    if colours and len(colours) < len(named):
        without = next(entry.name for entry in named if entry.colour is None)
        raise ValueError(
            f"'{without}' has no colour but others do; give all classes a colour or none"
        )
    if not 2 <= len(named) <= VOID:
        raise ValueError(
            f"the number of classes is {len(named)}; give 2 (background is one) to {VOID}"
        )
    values = [entry.value for entry in named if entry.value is not None]
    if values and len(values) < len(named):
        without = next(entry.name for entry in named if entry.value is None)
        raise ValueError(f"'{without}' has no number but others do; number all classes or none")
    named.sort(key=lambda entry: entry.value or 0)  # stable: without numbers, as they are listed
    values = sorted(values) or list(range(len(named)))
    void_values = sorted({void.value for void in voids if void.value is not None})
    _unique("number", values + void_values, str)
    if max(values + void_values) > 0xFFFF:
        raise ValueError(f"number {max(values + void_values)} is above 65535; correct it")
    return Classes(
        tuple(entry.name for entry in named),
        np.array([entry.colour for entry in named], np.uint8) if colours else None,
        next(iter(void_colours), None),
        tuple(values),
        tuple(void_values),
        form,
    )


def _unique(what: str, values: list[Any], shown: Callable[[Any], str]) -> None:
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ValueError(f"{what} '{shown(twice[0])}' appears twice; each must be unique")
