"""Read the annotation files of labelling tools."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Content = TypeVar("Content", bound=BaseModel)


def read_json(path: Path, content: type[Content], tool: str) -> Content:
    """The content of a JSON file. Raises FileNotFoundError and ValueError, naming the file."""
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise FileNotFoundError(
            f"{path}: no such file ({error.strerror}); check the path"
        ) from None
    try:
        return content.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise ValueError(f"{path}: not JSON ({first['msg']}); export it again") from None
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ValueError(
            f"{path}: not annotations of {tool} ({problem}); check the path, or export it again"
        ) from None


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file. Raises ValueError, naming the file."""
    try:
        return ET.parse(path).getroot()
    except (OSError, ET.ParseError, ValueError) as error:
        raise ValueError(f"{path}: not XML ({error}); export it again") from None
