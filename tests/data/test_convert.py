"""Annotations of four tools become a folder that fit takes; nothing is written by halves."""

import base64
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import test_cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn.data.convert.run import convert
from fcn.data.folder import checked
from fcn.data.palettes import voc_palette
from fcn.data.sample import VOID

cli = test_cli.cli  # the fixture

HEIGHT, WIDTH = 20, 30
SQUARE = [[5, 4], [14, 4], [14, 11], [5, 11]]  # x, y: columns 5..14, rows 4..11
INSIDE = np.zeros((HEIGHT, WIDTH), bool)
INSIDE[4:12, 5:15] = True


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 30, 60)).save(tmp_path / "in" / f"{name}.jpg")
    return tmp_path


def converted(root: Path, tool: str, source: Path, **more: object) -> dict[str, np.ndarray]:
    """The label maps by name, read as fit reads them."""
    lines = []
    names = convert(tool, source, root / "out", log=lines.append, **more)
    assert not list(root.glob(".*partial"))
    folder, _ = checked(*(root / "out" / n for n in ("photos", "labels", "classes.txt")), log=print)
    assert list(folder.classes.names) == names
    assert np.abs(folder[0].image.numpy().mean((1, 2)) - [90, 30, 60]).max() < 4
    return {
        s.name: s.labels["semantic"].numpy() for s in map(folder.__getitem__, range(len(folder)))
    }


def refused(root: Path, tool: str, source: Path, *parts: str, **more: object) -> None:
    with pytest.raises((OSError, ValueError)) as error:
        convert(tool, source, root / "out", log=print, **more)
    text = "\n".join([str(error.value), *getattr(error.value, "__notes__", ())])
    for part in parts:
        assert part in text, text
    assert not (root / "out").exists()
    assert not list(root.glob(".*partial"))


# labelme


def labelme(root: Path, name: str, *shapes: dict, **more: object) -> Path:
    content = {"imagePath": f"{name}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path = root / "in" / f"{name}.json"
    path.write_text(json.dumps(content | {"shapes": shapes} | more))
    return root / "in"


def shape(label: str, points: list, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "shape_type": kind, **more}


def test_labelme(root):
    mask = io.BytesIO()
    Image.fromarray(INSIDE[4:12, 5:15] * np.uint8(255)).save(mask, "PNG")
    box = shape("sky", [[14, 11], [5, 4]], "rectangle")
    drawn = shape(
        "sky", [[5, 4], [14, 11]], "mask", mask=base64.b64encode(mask.getvalue()).decode()
    )
    for i, one in enumerate((shape("sky", SQUARE), box, drawn)):
        source = labelme(root, "a", one, shape("car", [[0, 0], [3, 3]], "line"))
        labelme(
            root, "b", shape("road", [[15, 10], [15, 14]], "circle"), shape("__ignore__", SQUARE)
        )
        out = root / f"{i}"
        out.mkdir()
        labels = converted(out, "labelme", source)
        assert np.array_equal(labels["a"] == 2, INSIDE)  # background, road, sky
        assert np.array_equal(labels["b"] == VOID, INSIDE)
        assert 20 < (labels["b"] == 1).sum() < 60
        assert (labels["a"][~INSIDE] == 0).all()


def test_labelme_takes_the_order_of_a_list_and_the_photo_inside(root):
    (root / "labels.txt").write_text("__ignore__\n_background_\nsky\nroad\n")
    content = base64.b64encode((root / "in" / "b.jpg").read_bytes()).decode()
    (root / "in" / "b.jpg").unlink()
    source = labelme(root, "b", shape("sky", SQUARE), imageData=content)
    labels = converted(root, "labelme", source, classes=root / "labels.txt")
    assert np.array_equal(labels["b"] == 1, INSIDE)
    labelme(root, "a", shape("tree", SQUARE))
    other = root / "other"
    other.mkdir()
    refused(other, "labelme", source, "'tree' is not in the list", classes=root / "labels.txt")


def test_unlabelled_pixels_can_be_void(root):
    source = labelme(
        root, "a", shape("sky", SQUARE), shape("road", [[0, 0], [3, 0], [3, 2], [0, 2]])
    )
    labels = converted(root, "labelme", source, unlabelled="void")["a"]
    assert np.array_equal(labels == 1, INSIDE)
    assert (labels == VOID).sum() == HEIGHT * WIDTH - 80 - 12


def test_all_problems_are_listed_and_nothing_is_written(root):
    labelme(root, "a", shape("sky", SQUARE[:2]))
    labelme(root, "b", shape("sky", SQUARE), imageHeight=WIDTH, imageWidth=WIDTH)
    labelme(root, "c", shape("sky", SQUARE))
    source = labelme(root, "d", shape("sky", SQUARE, "cube"), imagePath="a.jpg")
    (root / "in" / "e.json").write_text("{")
    (root / "in" / "f.json").write_text("{}")
    parts = "5 problems|2 points|20 x 30 but its annotation is for 30 x 30|c.jpg, is missing|'cube'"
    parts += "|e.json: not JSON|f.json: not annotations of labelme (shapes: "
    refused(root, "labelme", source, *parts.replace("5 problems", "6 problems").split("|"))


def test_nothing_is_overwritten(root):
    source = labelme(root, "a", shape("sky", SQUARE))
    converted(root, "labelme", source)
    before = sorted((path, path.stat().st_mtime_ns) for path in (root / "out").rglob("*"))
    with pytest.raises(FileExistsError, match="out: exists and is not empty"):
        convert("labelme", source, root / "out")
    assert sorted((p, p.stat().st_mtime_ns) for p in (root / "out").rglob("*")) == before


def test_the_command(root, cli):
    source = labelme(root, "a", shape("sky", SQUARE))
    code, out, err = cli("convert", "labelme", source, "--out", root / "out")
    assert (code, err) == (0, "")
    assert f"saved {root / 'out'}: 1 photos, 2 classes" in out
    assert f"python -m fcn fit {root}/out/photos {root}/out/labels {root}/out/classes.txt" in out
    for name in "ab":
        labelme(root, name, shape("sky", SQUARE[:2]))
    code, out, err = cli("convert", "labelme", source, "--out", root / "other")
    assert code == 2
    first, *others = err.splitlines()
    assert first == f"fcn: {source}: 2 problems:"
    assert [line.split(": shape 1")[0] for line in others] == [
        f"  {source / 'a.jpg'}",
        f"  {source / 'b.jpg'}",
    ]


# COCO


def coco(root: Path, *segmentations: object, **more: object) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 9, "name": "sky"}, {"id": 3, "name": "road"}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": category, "segmentation": segmentation}
            for i, (category, segmentation) in enumerate(segmentations)
        ],
    }
    path = root / "in" / "instances.json"
    path.write_text(json.dumps(content | more))
    return path


def test_coco(root):
    coder = pytest.importorskip("pycocotools.mask")
    compressed = coder.encode(np.asfortranarray(INSIDE.astype(np.uint8)))
    flat = INSIDE.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    forms = (
        {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()},
        {"size": [HEIGHT, WIDTH], "counts": runs},
        [[5, 4, 15, 4, 15, 12, 5, 12]],
    )
    for i, form in enumerate(forms):
        out = root / f"{i}"
        out.mkdir()
        whole = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]
        labels = converted(out, "coco", coco(root, (9, form), (3, whole)), photos=root / "in")
        assert np.array_equal(labels["a"] == 2, INSIDE)  # the smaller above the larger
        assert np.array_equal(labels["a"] == 1, ~INSIDE)


def test_coco_that_is_wrong(root):
    pytest.importorskip("pycocotools")
    refused(root, "coco", coco(root, (9, [])), "only a box")
    refused(root, "coco", coco(root, (5, [[0, 0, 1, 0, 1, 1]])), "category 5 is unknown")
    refused(root, "coco", coco(root, (9, [[0, 0, 1, 1]])), "three or more points")
    runs = {"size": [HEIGHT, WIDTH], "counts": [3, 10**9]}
    refused(root, "coco", coco(root, (9, runs)), "do not add up")
    outside = [{"id": 7, "file_name": "../../secret.jpg", "height": 1, "width": 1}]
    refused(root, "coco", coco(root, images=outside), "not inside the folder")
    refused(
        root,
        "coco",
        coco(root, images=[{"id": 7}]),
        "instances.json: not annotations of COCO's instances (images.0.file_name",
    )
    refused(root, "coco", root / "in" / "none.json", "no such file")


def test_pycocotools_is_named_with_its_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ModuleNotFoundError, match="pycocotools"):
        convert("coco", coco(root, (9, [[0, 0, 5, 0, 5, 5]])), root / "out")
    assert not list(root.glob(".*partial"))
    assert not (root / "out").exists()


# CVAT and VOC

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>sky</name><color>#010203</color></label>
<label><name>road</name><color>#040506</color></label>
</labels></task></meta>
<image id="0" name="a.jpg" width="30" height="20">{}</image></annotations>
"""


@pytest.mark.parametrize(
    "drawn",
    [
        '<polygon label="sky" points="5,4;14,4;14,11;5,11" z_order="1"/>',
        '<box label="sky" xtl="5" ytl="4" xbr="14" ybr="11" z_order="1"/>',
        '<mask label="sky" rle="0, 80" left="5" top="4" width="10" height="8" z_order="1"/>',
    ],
)
def test_cvat(root, drawn):
    under = '<box label="road" xtl="0" ytl="0" xbr="30" ybr="20" z_order="0"/>'
    (root / "in" / "annotations.xml").write_text(CVAT.format(drawn + under))
    labels = converted(root, "cvat", root / "in")["a"]
    assert np.array_equal(labels == 1, INSIDE)
    assert np.array_equal(labels == 2, ~INSIDE)
    assert (root / "out" / "classes.txt").read_text().splitlines() == [
        "background #000000",
        "sky #010203",
        "road #040506",
        "void #e0e0c0",
    ]


def test_cvat_that_is_wrong(root):
    path = root / "in" / "annotations.xml"
    path.write_text(
        CVAT.format('<mask label="sky" rle="0,900" left="0" top="0" width="2" height="2"/>')
    )
    refused(root, "cvat", path, "a mask of 'sky': its run lengths exceed")
    path.write_text(CVAT.format("").replace("<image", "<track/><image"))
    refused(root, "cvat", path, "a video's tracks", "CVAT for images 1.1")
    path.write_text("<annotations>")
    refused(root, "cvat", path, "not XML")


@pytest.mark.parametrize("listed", ["labelmap.txt", "class_names.txt", ""])
def test_voc(root, listed):
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / "in" / folder).mkdir()
    for name in "ab":
        (root / "in" / f"{name}.jpg").rename(root / "in" / "JPEGImages" / f"{name}.jpg")
    labels = np.where(INSIDE, 1, 0).astype(np.uint8)
    labels[0] = VOID
    image = Image.fromarray(labels)
    image.putpalette(voc_palette(256).tobytes())
    colours = "background:0,0,0::\naeroplane:128,0,0::\nvoid:224,224,192::\n"
    if listed:
        text = colours if "map" in listed else "_background_\naeroplane\n"
        (root / "in" / listed).write_text(text)
    if listed == "labelmap.txt":
        image = image.convert("RGB")
    image.save(root / "in" / "SegmentationClass" / "a.png")
    found = converted(root, "voc", root / "in")
    assert list(found) == ["a"]
    assert np.array_equal(found["a"], labels)


def test_shapes_drawn_on_a_photo_as_stored_are_turned(root):
    """Coordinates of 20 x 30 pixels and a photo that its EXIF orientation turns upright."""
    note = Image.Exif()
    note[0x112] = 6
    path = root / "in" / "a.jpg"
    Image.open(path).save(path, exif=note)
    source = labelme(root, "a", shape("sky", SQUARE))
    assert np.array_equal(converted(root, "labelme", source)["a"] == 1, np.rot90(INSIDE, -1))


def test_a_format_that_is_none(root):
    refused(root, "yolo", root / "in", "'yolo'", "labelme, coco, cvat, voc")
    refused(root, "voc", root / "in", "SegmentationClass: no such folder")
    refused(root, "cvat", root / "none", "none: no such file or folder")
    refused(root, "labelme", root / "JPEG", "no such file or folder", photos=root / "in")


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_annotations_are_refused_or_converted(root, data):
    """Whatever one value of a file becomes, no other error than these two escapes."""
    shapes = [shape("sky", SQUARE), shape("car", [[1, 1], [3, 3]], "circle")]
    labelme(root, "a", *shapes)
    tool, path = data.draw(st.sampled_from(["labelme", "coco"])), root / "in" / "a.json"
    if tool == "coco":
        pytest.importorskip("pycocotools")
        runs = {"size": [HEIGHT, WIDTH], "counts": [100, 20, 480]}
        path = coco(root, (9, [[5, 4, 15, 4, 15, 12]]), (3, runs))
    content = json.loads(path.read_text())
    places = list(_places(content))
    holder, key = data.draw(st.sampled_from(places))
    odd = st.one_of(st.none(), st.integers(-9, 99), st.floats(), st.text(max_size=4), st.just([[]]))
    holder[key] = data.draw(odd | st.just({}) | st.just([1, "x"]))
    path.write_text(json.dumps(content))
    shutil.rmtree(root / "out", ignore_errors=True)
    source = path if tool == "coco" else root / "in"
    if tool == "labelme":
        (root / "in" / "instances.json").unlink(missing_ok=True)
    try:
        convert(tool, source, root / "out", log=lambda line: None)
    except (OSError, ValueError):
        assert not (root / "out").exists()
    assert not list(root.glob(".*partial"))


def _places(content):
    """Every place in nested lists and dictionaries."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)
