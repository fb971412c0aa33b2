"""Read the annotation files of labelling tools."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any


def read_json(path: Path, key: str, tool: str) -> dict[str, Any]:
    """An object with ``key``. Raises FileNotFoundError and ValueError, naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not JSON ({reason}); export it again") from None
    if not isinstance(content, dict) or key not in content:
        raise ValueError(f"{path}: has no '{key}', so not annotations of {tool}; check the path")
    return content


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file. Raises ValueError, naming the file."""
    try:
        return ET.parse(path).getroot()
    except (OSError, ET.ParseError, ValueError) as error:
        raise ValueError(f"{path}: not XML ({error}); export it again") from None
