"""environment.yml, for conda, requires what pyproject.toml does: same names, same bounds."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]


def by_name(lines: list[str]) -> dict[str, SpecifierSet]:
    requirements = [Requirement(line) for line in lines]
    names = {requirement.name for requirement in requirements}
    assert len(names) == len(requirements), "a name is listed twice"
    return {requirement.name: requirement.specifier for requirement in requirements}


def test_conda_and_uv_require_the_same():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    plain = by_name([entry for entry in conda if isinstance(entry, str)])

    assert "--editable ." in pip
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    assert extras["book"][0] == "fcn-book[train,export]"  # onnx is in the test group, too
    assert extras["workflow"][0] == "fcn-book[book]"
    wanted = project["dependencies"] + extras["train"] + extras["book"][1:] + extras["workflow"][1:]
    groups = pyproject["dependency-groups"]
    assert groups["dev"][0] == {"include-group": "test"}
    wanted += groups["test"] + groups["dev"][1:]
    assert by_name([line for line in pip if not line.startswith("-")]) == by_name(wanted)
    assert plain == {"python": SpecifierSet(project["requires-python"]), "pip": SpecifierSet()}
