"""The checksum of a data set's contents changes with every byte of its images and label maps."""

import os
import sys
from pathlib import Path

import pytest
from test_cli import data as sift_flow_data  # noqa: F401 - fixtures
from test_datasets_nyud_context import NAMES as INDOORS
from test_datasets_nyud_context import context, indoors  # noqa: F401
from test_datasets_voc import NAMES
from test_datasets_voc import data as pascal  # noqa: F401
from test_finetune import root as own  # noqa: F401

from fcn.data.folder import Folder
from fcn.data.nyud import INPUTS, Nyud
from fcn.data.pascal_context import PascalContext
from fcn.data.sample import SegmentationDataset
from fcn.data.sbd import Sbd
from fcn.data.sift_flow import SiftFlow
from fcn.data.synthetic.outdoor import Scenes
from fcn.data.voc import Voc
from fcn.training.gpu import Resident
from fcn.training.memory import InMemory

MAKERS = {
    "sift-flow": ("sift_flow_data", lambda root: SiftFlow(root / "sift-flow", "trainval")),
    "voc": ("pascal", lambda root: Voc(root / "pascal/VOCdevkit/VOC2012", names=NAMES[:2])),
    "sbd": ("pascal", lambda root: Sbd(root / "sbd/benchmark_RELEASE/dataset", names=NAMES[:2])),
    "context-59": ("context", lambda root: PascalContext(root, task=59)),
    "context-33": ("context", lambda root: PascalContext(root, task=33)),
    "own": ("own", lambda root: Folder(root / "photos", root / "labels", root / "classes.txt")),
} | {
    f"nyud-{inputs}": (
        "indoors",
        lambda root, inputs=inputs: Nyud(root, inputs=inputs, names=INDOORS[:2]),
    )
    for inputs in INPUTS
}


OPENED: list[Path] = []  # by this process since it was last cleared
sys.addaudithook(lambda event, arguments: _note(arguments[0]) if event == "open" else None)


def _note(path):
    if isinstance(path, str | os.PathLike):
        OPENED.append(Path(path))


@pytest.mark.parametrize("name", MAKERS)
def test_every_file_that_a_sample_is_read_from_counts(name, request, tmp_path):
    fixture, make = MAKERS[name]
    root: Path = request.getfixturevalue(fixture)
    dataset: SegmentationDataset = make(root)
    _ = dataset[0]  # a folder looks at all label maps once, to learn what greys mean
    OPENED.clear()
    _ = dataset[0]
    files = dataset.files(0)
    assert {path for path in OPENED if path.is_relative_to(tmp_path)} == set(files)
    assert make(root).contents == dataset.contents
    for path in files:
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert make(root).contents != dataset.contents
        path.write_bytes(before)
    assert make(root).contents == dataset.contents


def test_scenes_are_what_their_names_say():
    scenes = Scenes(3, (24, 32))
    assert scenes.files(0) == []
    assert scenes.contents == Scenes(3, (24, 32)).contents == Resident(scenes).contents
    for other in (Scenes(2, (24, 32)), Scenes(3, (32, 32)), Scenes(3, (24, 32), seed=1)):
        assert other.contents != scenes.contents


@pytest.mark.parametrize("kind", [InMemory, Resident])
def test_photos_in_memory_have_the_contents_of_their_folder(own, kind):  # noqa: F811
    folder = Folder(own / "photos", own / "labels", own / "classes.txt")
    assert kind(folder).contents == folder.contents
