"""environment.yml, for conda, asks for what pyproject.toml asks for: the same names, the same bounds."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent


def by_name(lines: list[str]) -> dict[str, SpecifierSet]:
    requirements = [Requirement(line) for line in lines]
    assert len({requirement.name for requirement in requirements}) == len(requirements), "a name stands there twice"
    return {requirement.name: requirement.specifier for requirement in requirements}


def test_conda_and_uv_ask_for_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    plain = by_name([entry for entry in conda if isinstance(entry, str)])

    assert "--editable ." in pip
    from_conda = by_name([line for line in pip if not line.startswith("-")])
    assert from_conda == by_name(project["project"]["dependencies"] + project["dependency-groups"]["dev"])
    assert plain == {"python": SpecifierSet(project["project"]["requires-python"]), "pip": SpecifierSet()}
