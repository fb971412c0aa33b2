"""The wheel, in an environment that has the packages of the core and no others.

``uv build`` makes the wheel. ``uv sync`` installs the core's packages as ``uv.lock`` pins them, out
of uv's cache; then the wheel is installed without its dependencies, and ``uv pip check`` compares
what it requires with what is there. A Python that is not on PATH, or whose packages are not cached,
is skipped: ``make test-install`` downloads them.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.__main__ import DEFAULT_NET

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "_build" / "installed"
DEMO = "scenes-googlenet-8s-demo"
PYTHONS = ("3.11", "3.12", "3.13")
CUDA = ("cuda-", "nvidia-", "triton")  # what torch adds on Linux, where it may have a GPU
UNSET = ("PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "FCN_DATA", "FCN_WEIGHTS")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNSET}
ENVIRONMENT |= {"UV_OFFLINE": os.environ.get("UV_OFFLINE", "1"), "UV_PYTHON_DOWNLOADS": "never"}
ENVIRONMENT |= {"UV_LINK_MODE": "symlink", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def uv(*arguments: object) -> str:
    """Run uv, offline; returns its output. Skips the test if its cache lacks a package."""
    places = (root / ".tools" / "bin" / "uv" for root in (ROOT, Path(sys.prefix).parent))
    program = next((place for place in places if place.is_file()), shutil.which("uv"))
    if program is None:
        pytest.skip("no uv here: `make setup` installs it")
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode and "disabled" in done.stderr:  # the network
        pytest.skip("uv's cache lacks a package: `make test-install` downloads it")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, "--python", sys.executable, ROOT)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request, wheel: Path) -> Path:
    """An environment with the wheel and the core's packages."""
    version = request.param
    own = version == f"{sys.version_info.major}.{sys.version_info.minor}"
    python = sys.executable if own else shutil.which(f"python{version}")
    runs = python and subprocess.run([python, "-c", ""], capture_output=True, check=False)
    if not runs or runs.returncode:
        pytest.skip(f"no Python {version} here")
    return environment(python, wheel, f"python{version}")


def environment(python: str, wheel: Path, name: str, *extras: str) -> Path:
    """An environment with the wheel, the core's packages, those of the extras, and no others.

    It stays for the next run, which brings it up to date: it has tens of thousands of files.
    """
    folder = ENVIRONMENTS / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / file, folder)
    core = ("--frozen", "--no-dev", "--no-install-project", *(f"--extra={one}" for one in extras))
    uv("sync", "--quiet", *core, "--python", python, "--project", folder)
    made = folder / ".venv"
    uv("pip", "install", "--quiet", "--no-deps", "--reinstall", "--python", made, wheel)
    return made


def run(installation: Path, folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Run ``fcn ARGUMENTS`` of an environment in ``folder``: exit status, stdout, stderr."""
    command = [str(installation / "bin" / "fcn"), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_wheel_holds_the_package_and_the_default_net(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        nets = {name for name in held if name.startswith("fcn/weights/")}
        assert nets == {f"fcn/weights/{DEFAULT_NET.stem}{end}" for end in (".safetensors", ".onnx")}
        for name in nets:
            assert archive.read(name) == (ROOT / name.removeprefix("fcn/")).read_bytes()
    source = (path for path in (ROOT / "fcn").rglob("*.*") if "__pycache__" not in path.parts)
    assert held - nets == {path.relative_to(ROOT).as_posix() for path in source if path.is_file()}


def test_the_core_is_small_and_complete(installed: Path) -> None:
    uv("pip", "check", "--python", installed)
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", installed))
    packages = {entry["name"] for entry in listed}
    small = {name for name in packages if not name.startswith(CUDA)}
    assert {"fcn-book", "torch", "numpy", "pillow", "safetensors", "typer"} <= small
    assert len(small) < 40
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = {line.partition(">")[0] for line in extras["optional-dependencies"]["export"]}
    assert not packages & {*own, "matplotlib", "pandas", "protobuf", "scipy", "torchvision"}


def test_it_segments_a_photo_from_any_folder(installed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(tmp_path / "photo.jpg")
    status, out, err = run(installed, tmp_path, "predict", "photo.jpg")
    assert (status, err) == (0, "")
    assert "%" in out
    with Image.open(tmp_path / "photo.labels.png") as labels:
        assert labels.size == (120, 90)
    assert (tmp_path / "photo.overlay.png").is_file()


def test_it_lists_the_experiments(installed: Path, tmp_path: Path) -> None:
    status, out, err = run(installed, tmp_path, "list")
    assert (status, err) == (0, "")
    assert "python -m fcn train sift-flow-googlenet-8s-tuned" in out


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("train", DEMO), "train"),
        (("train", DEMO, "--smoke"), "train"),
        (("fit", "photos", "labels", "classes.txt"), "train"),
        (("export", "default"), "export"),
    ],
)
def test_a_missing_package_is_one_line_that_names_its_extra(
    installed: Path, tmp_path: Path, command: tuple[str, ...], extra: str
) -> None:
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
        Image.new("L", (64, 64)).save(tmp_path / folder / "a.png")
        Image.new("L", (64, 64)).save(tmp_path / folder / "b.png")
    (tmp_path / "classes.txt").write_text("sky\nsea\n")
    before = {*tmp_path.rglob("*")}
    status, out, err = run(installed, tmp_path, *command)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.endswith(f'is missing; install it with: pip install "fcn-book[{extra}]"\n')
    assert not [path for path in {*tmp_path.rglob("*")} - before if path.is_file()]


@pytest.fixture(scope="module")
def extended(wheel: Path) -> Path:
    """An environment of this Python with the extras that train and export."""
    return environment(sys.executable, wheel, "extended", "train", "export")


def test_with_the_extras_it_trains_lists_and_exports_in_an_empty_folder(
    extended: Path, tmp_path: Path
) -> None:
    uv("pip", "check", "--python", extended)
    command = ("train", "voc2011-alexnet-32s", "--smoke", "--device", "cpu")
    status, out, err = run(extended, tmp_path, *command)
    assert (status, err) == (0, "")
    (record,) = tmp_path.glob("runs/smoke/results/*.json")
    assert f"wrote the record {record.relative_to(tmp_path)}" in out
    (net,) = tmp_path.glob("runs/smoke/*.safetensors")
    status, out, err = run(extended, tmp_path, "export", net, "--out", "net.onnx")
    assert (status, out, err) == (0, "saved net.onnx\n", "")
    status, out, err = run(extended, tmp_path, "list", "--results", record.parent)
    assert (status, err) == (0, "")
    assert "(seed 0, demonstration)" in out
    status, out, err = run(extended, tmp_path, "list", "--results", "none")
    assert (status, out) == (2, "")
    assert err == "fcn: none: no such folder; name the folder of the records\n"
