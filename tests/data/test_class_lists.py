"""Lists of classes as tools write them: read by their recognised form, or refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_folder import outcome

from fcn.data.class_lists import read_classes

SKY, ROAD = (135, 206, 235), (112, 112, 116)


def read(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_classes(path)


@pytest.mark.parametrize(
    ("name", "text", "names", "values", "voids"),
    [
        ("own.txt", "sky\nroad\n", ("sky", "road"), (0, 1), ()),
        ("own.txt", "sky\nroad\nvoid 11\n", ("sky", "road"), (0, 1), (11,)),
        ("own.txt", "void 11\nVoid 12\nsky\nroad\n", ("sky", "road"), (0, 1), (11, 12)),
        ("own.txt", "sky\nroad\n__ignore__ 7\n", ("sky", "road"), (0, 1), (7,)),
        ("own.txt", "class 0\nclass 1\n", ("class 0", "class 1"), (0, 1), ()),
        ("own.txt", "3 wheeler\ncar\n天空\n", ("3 wheeler", "car", "天空"), (0, 1, 2), ()),
        ("labels.txt", "__ignore__\n_background_\nsky\n", ("_background_", "sky"), (0, 1), (255,)),
        (
            "_classes.csv",
            "Pixel Value, Class\n0, unlabeled\n2, sky\n1, road\n",
            ("unlabeled", "road", "sky"),
            (0, 1, 2),
            (),
        ),
        ("n.txt", "2 sky\n0: tree house\n1, road\n", ("tree house", "road", "sky"), (0, 1, 2), ()),
        ("n.txt", "1 sky\n2 road\n0 void\n", ("sky", "road"), (1, 2), (0,)),
        ("n.txt", "1 sky\n2 road\nvoid 0\n", ("sky", "road"), (1, 2), (0,)),
        ("n.txt", "sky: 1\nroad: 0\n", ("road", "sky"), (0, 1), ()),
        ("m.json", '{"5": "sky", "2": "road"}', ("road", "sky"), (2, 5), ()),
        ("m.json", '{"sky": 1, "road": 0}', ("road", "sky"), (0, 1), ()),
        ("m.json", '["sky", "road"]', ("sky", "road"), (0, 1), ()),
        (
            "c.json",
            '{"id2label": {"0": "sky", "1": "b", "255": "void"}}',
            ("sky", "b"),
            (0, 1),
            (255,),
        ),
        ("m.yaml", "nc: 2\nnames:\n  1: sky\n  0: 'road'  # a\n", ("road", "sky"), (0, 1), ()),
        ("m.yaml", "train: x\nnames: [sky, 'road']\n", ("sky", "road"), (0, 1), ()),
        ("m.yml", "names:\n- sky\n- road\nnc: 2\n", ("sky", "road"), (0, 1), ()),
        ("m.yml", "---\n0: sky\n1: road\n", ("sky", "road"), (0, 1), ()),
    ],
)
def test_names_and_numbers(tmp_path, name, text, names, values, voids):
    classes = read(tmp_path, name, text)
    assert (classes.names, classes.values, classes.void_values) == (names, values, voids)
    assert classes.palette is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.txt", "sky #87ceeb\nroad #707074\nvoid #000000\n"),
        ("own.txt", "sky #87ceeb\nroad #707074\nvoid 11 #000000\n"),
        (
            "labelmap.txt",
            "# label:color_rgb\nsky:135,206,235::\nroad:112,112,116::\nvoid:0,0,0::\n",
        ),
        ("label_colors.txt", "135 206 235\tsky\n112 112 116\t\troad\n0 0 0\tVoid\n"),
        ("class_dict.csv", "name,r,g,b\nsky,135,206,235\nroad, 112, 112, 116\nVoid,0,0,0\n"),
        ("n.csv", "1,road,112,112,116\n0,sky,135,206,235\n255,void,0,0,0\n"),
        ("n.txt", "sky 135 206 235\nroad 112 112 116\nvoid 0 0 0\n"),
        ("n.txt", "1 road #707074\n0 sky #87ceeb\nvoid #000000\n"),
        ("m.json", '{"sky": [135, 206, 235], "road": "#707074", "void": [0, 0, 0]}'),
        (
            "c.json",
            '{"categories": [{"id": 1, "name": "road", "color": [112, 112, 116]}, '
            '{"id": 0, "name": "sky", "color": "87ceeb"}, {"name": "void", "color": "#000000"}]}',
        ),
    ],
)
def test_colours(tmp_path, name, text):
    classes = read(tmp_path, name, text)
    assert classes.names == ("sky", "road")
    assert classes.values == (0, 1)
    assert np.array_equal(classes.palette, [SKY, ROAD])
    assert classes.void == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("own.txt", "sky\n__ignore__\nroad\n", ["'__ignore__' is not a class", "__ignore__ 11"]),
        ("own.txt", "sky\nroad\nvoid 1\n", ["number '1' appears twice"]),
        ("own.txt", "sky\nroad\nvoid 8 9\n", ["own line"]),
        ("own.txt", "sky,road,tree\n", ["number of classes is 1"]),
        ("n.txt", "0 sky\n1 road\ntree\n", ["'tree' does not fit", "numbered lines"]),
        ("n.txt", "-1 plate\n0 sky\n1 road\n", ["'-1 plate' does not fit"]),
        ("n.txt", "1 euro\n2 euro\n", ["'euro' appears twice"]),
        ("n.txt", "0 sky\n0 road\n", ["number '0' appears twice"]),
        ("n.txt", "0 sky\n70000 road\n", ["70000"]),
        ("labelmap.txt", "sky:1,2,3::\nroad:1,2,4::\ntree\n", ["'tree' does not fit", "CVAT"]),
        ("label_colors.txt", "300 1 2 sky\n1 2 3 road\n", ["above 255"]),
        ("class_dict.csv", "name,r,g,b\nsky,1,2\n", ["'sky,1,2' does not fit"]),
        ("t.csv", "name,id,trainId\nsky,7,0\n", ["unknown column, 'trainid'"]),
        ("_classes.csv", "filename, sky, road\na.jpg, 1, 0\n", ["unknown columns (filename"]),
        ("_classes.csv", "Pixel Value, Class\nx, sky\n", ["'x' is not the number"]),
        ("m.json", '{"sky": ', ["not valid JSON"]),
        ("m.json", "[" * 100_000, ["nested too deeply"]),
        ("m.json", '{"0": "sky", "0": "road"}', ["'0' appears twice"]),
        ("m.json", '{"a": {"b": 1}}', ["no classes in a form that is read"]),
        ("m.json", '[{"name": "sky", "id": 0}, {"name": "road"}]', ["'road' has no number"]),
        ("m.yaml", "a: &x\n  b: *x\n", ["a"]),
        ("m.yaml", "names:\n  - {name: sky}\n", ["name: sky"]),
        ("m.xml", "<annotation>\n</annotation>\n", ["an XML file"]),
        ("m.pbtxt", "item {\n  id: 1\n}\n", [".pbtxt"]),
    ],
)
def test_other_forms_are_refused_by_name(tmp_path, name, text, parts):
    with pytest.raises(ValueError, match=f"{name}: ") as error:
        read(tmp_path, name, text)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 500
    for part in parts:
        assert part in message, message


EXAMPLES = [
    "sky #87ceeb\nroad #707074\nvoid 11 #000000\n",
    "# label:color_rgb\nsky:135,206,235::\nroad:112,112,116::\n",
    "name,r,g,b\nsky,135,206,235\nroad,112,112,116\n",
    '{"categories": [{"id": 1, "name": "a", "color": [1, 2, 3]}, {"id": 0, "name": "b"}]}',
    "nc: 2\nnames:\n  1: sky\n  0: 'road'\n",
    "0 sky\n1 road\n255 void\n",
]


@given(
    st.sampled_from(EXAMPLES),
    st.integers(0, 99),
    st.integers(0, 9),
    st.text(st.sampled_from("0:,;#'[]{}-\n ax\0é\"\t") | st.characters(codec="utf-8"), max_size=6),
    st.sampled_from(["txt", "csv", "json", "yaml"]),
)
@settings(max_examples=150)
def test_damaged_lists_are_read_or_refused(tmp_path_factory, text, at, cut, put, ending):
    path = tmp_path_factory.getbasetemp() / f"list.{ending}"
    path.write_text(text[:at] + put + text[at + cut :], encoding="utf-8")
    classes, message = outcome(lambda: read_classes(path))
    if classes is None:
        assert f"{path}: " in message
        return
    assert len(set(classes.names)) == len(set(classes.values)) == len(classes.names) >= 2
    assert classes.palette is None or len(classes.palette) == len(classes.names)
