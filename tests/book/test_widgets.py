"""The interactive figures in headless Chromium, by pointer and keys, against Python's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import widgets

import fcn
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.data.synthetic.palette import CLASSES
from fcn.metrics import ConfusionMatrix
from fcn.replication import upper_bounds
from fcn.replication.upper_bounds import FACTORS, PAPER, PROTOCOLS, Line

ASSETS = Path(widgets.__file__).parent / "assets"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="{0}/custom.css"><link rel="stylesheet" href="{0}/widgets/widgets.css">
<script defer src="{0}/widgets/widgets.js"></script><article class="bd-article">{1}</article></html>
"""
METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page with one figure, at the width of a phone; fails if the page reports an error."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    errors = []

    def opened(figure):
        file = tmp_path / "page.html"
        file.write_text(PAGE.format(ASSETS.as_uri(), figure.data), encoding="utf-8")
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.set_default_timeout(5000)
        page.goto(file.as_uri())
        page.wait_for_selector(".explorable[data-live]")
        return page

    yield opened
    context.close()
    assert errors == []


def numbers(page):
    """The exact values of the numbers that the figure shows, by their keys."""
    keys = "node => [(node.closest('[data-key]') ?? node).dataset.key, Number(node.value)]"
    return dict(page.locator("data").evaluate_all(f"all => all.map({keys})"))


def number(page, key):
    return numbers(page)[key]


def choose(page, group, option):
    page.get_by_role("group", name=group).get_by_label(option, exact=True).check()


def point(page, name, x, y, action="move"):
    """Move the pointer to, or press it at, a place in 0..1 of the stage called ``name``."""
    stage = page.get_by_role("application", name=name)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    if action == "press":
        page.mouse.down()
        page.mouse.up()


def pixels(canvas):
    """What a canvas shows: H x W x 3."""
    read = "getContext('2d').getImageData(0, 0, node.width, node.height)"
    size = canvas.evaluate("node => [node.height, node.width, 4]")
    return np.array(canvas.evaluate(f"node => [...node.{read}.data]")).reshape(size)[..., :3]


def scored(truth, predicted, classes=10):
    confusion = ConfusionMatrix(classes)
    confusion.update(torch.as_tensor(truth), torch.as_tensor(predicted))
    return confusion.metrics()


@pytest.fixture(scope="module")
def scenes():
    painted = Scenes(3, (48, 64), split="test")
    return [painted[i] for i in range(3)]


# The shared script


def test_metrics_agree_with_the_package(show, scenes):
    page = show(widgets.stamps([[1.0]], 2))
    generator = torch.Generator().manual_seed(0)
    for classes in (1, 2, 5, 21):
        matrix = torch.randint(0, 50, (classes, classes), generator=generator)
        matrix[classes // 2 + 1 :: 3] = 0  # classes without a pixel
        found = page.evaluate("matrix => Explorable.metrics(matrix)", matrix.tolist())
        wanted = ConfusionMatrix.from_matrix(matrix).metrics()
        for name in METRICS:
            assert found[name] == pytest.approx(getattr(wanted, name), abs=1e-9)
        assert found["iu_per_class"] == pytest.approx(list(wanted.iu_per_class), abs=1e-9)


def test_label_maps_survive_the_way_into_the_page(show, scenes):
    page = show(widgets.stamps([[1.0]], 2))
    for labels in (scenes[0].labels["semantic"].numpy(), np.full((3, 2), 255), np.zeros((1, 1))):
        found = page.evaluate("runs => [...Explorable.labelMap(runs)]", widgets._runs(labels))
        assert found == labels.ravel().tolist()


def test_without_javascript_a_sentence_and_no_more(browser, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(PAGE.format(ASSETS.as_uri(), widgets.stamps([[1.0]], 2).data))
    assert "The figure above shows" in page.locator(".explorable").inner_text()
    context.close()


def test_the_text_stays_if_the_data_are_broken(browser, tmp_path):
    context = browser.new_context()
    page = context.new_page()
    broken = widgets.stamps([[1.0]], 2).data.replace('{"cells"', '{"shells"')
    (tmp_path / "page.html").write_text(PAGE.format(ASSETS.as_uri(), broken), encoding="utf-8")
    with page.expect_event("pageerror"):
        page.goto((tmp_path / "page.html").as_uri())
    assert "The figure above shows" in page.locator(".explorable").inner_text()
    context.close()


# A receptive field under the pointer


@pytest.fixture
def receptive_field(show):
    photo = torch.linspace(0, 1, 3 * 97 * 130).view(1, 3, 97, 130)
    return show(widgets.receptive_field(photo, "A gradient."))


@pytest.mark.parametrize(
    ("net", "title"), [("alexnet", "AlexNet"), ("vgg16", "VGG16"), ("googlenet", "GoogLeNet")]
)
def test_receptive_fields_are_those_of_the_geometry(receptive_field, net, title):
    page = receptive_field
    choose(page, "Backbone", title)
    for stride in (32, 16, 8):
        trunk = fcn.FCN(net, stride=stride, num_classes=1, width=1 / 32).trunk
        shape = trunk(torch.zeros(1, 3, 97, 130))[stride].shape
        field = trunk.fields[stride]
        choose(page, "Stride", str(stride))
        for x, y in ((0.01, 0.01), (0.503, 0.503), (0.99, 0.99), (0.303, 0.803)):
            point(page, "A gradient.", x, y)
            for key in ("size", "stride", "offset"):
                assert number(page, key) == float(getattr(field, key))
            pixels = {"column": int(x * 130), "row": int(y * 97)}
            for cells, (key, pixel) in zip(shape[:1:-1], pixels.items(), strict=True):
                centres = [float(field.stride * i + field.offset) for i in range(cells)]
                assert abs(number(page, key) - pixel) == min(abs(c - pixel) for c in centres)


def test_arrow_keys_move_from_cell_to_cell(receptive_field):
    page = receptive_field
    choose(page, "Backbone", "VGG16")
    page.get_by_role("radio", name="32").focus()
    page.keyboard.press("ArrowRight")  # to stride 16
    assert number(page, "stride") == 16
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    assert (number(page, "row"), number(page, "column")) == (7.5, 7.5)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert (number(page, "row"), number(page, "column")) == (23.5, 39.5)
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    assert number(page, "row") == 7.5
    page.keyboard.press("End")
    page.keyboard.press("PageDown")
    assert (number(page, "row"), number(page, "column")) == (7.5 + 16 * 6, 7.5 + 16 * 8)


def test_the_share_seen_counts_pixels_of_the_photo(receptive_field):
    page = receptive_field
    choose(page, "Backbone", "AlexNet")
    choose(page, "Stride", "8")
    point(page, "A gradient.", 0.01, 0.01)  # the cell at 4, 4 sees 19 x 19 pixels from -5 on
    assert "rows −5 to 13 and columns −5 to 13" in page.locator("output").inner_text()
    share = page.locator("output data").last.get_attribute("value")
    assert float(share) == pytest.approx(100 * 14 * 14 / (97 * 130))


# A transposed convolution, step by step

CELLS = torch.tensor([[4.0, 8, 4], [0, 12, 8], [4, 0, 4]])


def output(page):
    """The fine map that the figure shows, h x w."""
    columns, values = page.locator(".explorable-fine").evaluate(
        "node => [+node.style.getPropertyValue('--columns'),"
        " [...node.children].map(child => +child.textContent.replace('−', '-'))]"
    )
    return torch.tensor(values).view(-1, columns).float()


def transposed(cells, kernel, stride):
    return F.conv_transpose2d(cells[None, None], kernel[None, None], stride=stride)[0, 0]


def test_stamps_add_up_to_the_transposed_convolution(show):
    page = show(widgets.stamps(CELLS, 2))
    filters = {
        "bilinear, 3 × 3": fcn.upsampling.bilinear_filter(2, 3),
        "bilinear, 4 × 4": fcn.upsampling.bilinear_filter(2),
        "nearest, 2 × 2": torch.ones(2, 2),
        "equal taps, 3 × 3": torch.full((3, 3), 0.5),
    }
    page.get_by_role("button", name="All", exact=True).click()
    for name, kernel in filters.items():
        page.get_by_role("combobox").select_option(name)
        for stride in (1, 2, 3):
            choose(page, "Stride", str(stride))
            wanted = transposed(CELLS, kernel, stride)
            torch.testing.assert_close(output(page), wanted, atol=6e-4, rtol=0)
    page.get_by_role("button", name="all 1").click()
    torch.testing.assert_close(output(page), transposed(torch.ones(3, 3), kernel, 3))


def test_one_stamp_at_a_time_by_keyboard(show):
    page = show(widgets.stamps(CELLS, 2))
    kernel = fcn.upsampling.bilinear_filter(2, 3)
    stamped = torch.zeros(7, 7)
    page.get_by_role("button", name="Clear").press("Enter")
    assert not output(page).any()
    following = page.get_by_role("button", name="Next stamp")
    for i in range(3):
        for j in range(3):
            following.press(" ")
            stamped[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += CELLS[i, j] * kernel
            torch.testing.assert_close(output(page), stamped, atol=6e-4, rtol=0)
    page.get_by_role("button", name="Back").press("Enter")
    stamped[4:7, 4:7] -= CELLS[2, 2] * kernel
    torch.testing.assert_close(output(page), stamped, atol=6e-4, rtol=0)


def test_a_filter_of_your_own(show):
    page = show(widgets.stamps(CELLS, 2))
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_label("Tap, row 0, column 2").fill("-1.5")
    page.get_by_label("Cell, row 1, column 1").fill("2")
    kernel, cells = fcn.upsampling.bilinear_filter(2, 3), CELLS.clone()
    kernel[0, 2], cells[1, 1] = -1.5, 2
    torch.testing.assert_close(output(page), transposed(cells, kernel, 2), atol=6e-4, rtol=0)
    assert page.get_by_role("combobox").input_value() == "own"
    page.get_by_role("button", name="as above").click()
    torch.testing.assert_close(output(page), transposed(CELLS, kernel, 2), atol=6e-4, rtol=0)


def test_the_sum_behind_a_number(show):
    page = show(widgets.stamps(CELLS, 2))
    page.get_by_role("button", name="All", exact=True).click()
    point(page, "Output", 2.5 / 7, 2.5 / 7)
    explained = page.locator("output").last
    wanted = "4 × 0.25 + 8 × 0.25 + 0 × 0.25 + 12 × 0.25 = 6"
    assert explained.inner_text() == f"Row 2, column 2: {wanted}"
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert explained.inner_text() == "Row 1, column 3: 8 × 1 = 8"


def test_sums_of_taps_tell_whether_a_constant_map_stays_constant(show):
    page = show(widgets.stamps(CELLS, 2))
    assert "add up to 1, 1, 1, 1: a constant map stays constant" in page.content()
    page.get_by_role("combobox").select_option("equal taps, 3 × 3")
    assert "add up to 2, 1, 1, 0.5: a constant map gets a pattern" in page.content()


# A prediction to paint

TRUTH = np.array([[0, 0, 0, 2], [0, 0, 1, 2], [255, 1, 1, 2], [1, 1, 1, 255]])
GUESS = np.array([[0, 0, 0, 0], [0, 1, 1, 2], [1, 1, 1, 2], [1, 1, 0, 2]])


@pytest.fixture
def mask(show):
    sixteen = widgets.example(
        "sixteen", TRUTH, {"guess": GUESS, "sky": 0 * GUESS}, ["sky", "tree", "pole"], PALETTE[:3]
    )
    large = np.arange(24 * 32).reshape(24, 32) // 100
    other = widgets.example("large", large, {"sky": 0 * large}, CLASSES, PALETTE)
    return show(widgets.mask(sixteen, other))


def assert_metrics(page, truth, predicted, classes=3):
    wanted, found = scored(truth, predicted, classes), numbers(page)
    for name in METRICS:
        assert found[name] == pytest.approx(getattr(wanted, name), abs=1e-9)


def test_painting_by_pointer_moves_the_metrics(mask):
    painted = GUESS.copy()
    assert_metrics(mask, TRUTH, painted)
    choose(mask, "Paint", "pole")
    point(mask, "Prediction", 3.5 / 4, 0.5 / 4, "press")
    painted[0, 3] = 2
    assert_metrics(mask, TRUTH, painted)
    assert "+7.1" in mask.locator("table").inner_text()  # one more of 14 pixels

    box = mask.get_by_role("application").bounding_box()  # a stroke along the second row
    mask.mouse.move(box["x"] + 2, box["y"] + 1.5 * box["height"] / 4)
    mask.mouse.down()
    mask.mouse.move(box["x"] + box["width"] - 2, box["y"] + 1.5 * box["height"] / 4)
    mask.mouse.up()
    painted[1] = 2
    assert_metrics(mask, TRUTH, painted)

    mask.get_by_role("button", name="undo").click()
    painted[1] = GUESS[1]
    assert_metrics(mask, TRUTH, painted)
    mask.get_by_role("button", name="sky", exact=True).click()
    assert_metrics(mask, TRUTH, 0 * GUESS)


def test_painting_by_keyboard(mask):
    painted = GUESS.copy()
    stage = mask.get_by_role("application")
    stage.focus()
    for key in ("2", "ArrowRight", "ArrowDown", "Space", "3", "Shift+ArrowRight", "Shift+End"):
        mask.keyboard.press(key)
    painted[1] = [0, 2, 2, 2]
    assert_metrics(mask, TRUTH, painted)
    assert mask.locator("output").first.inner_text() == "Row 1, column 3: is pole, predicted pole."
    spoken = mask.locator(".explorable-spoken").inner_text()
    assert f"Mean IU {scored(TRUTH, painted, 3).mean_iu:.1f}" in spoken
    assert stage.evaluate("node => node === document.activeElement")


def test_a_brush_of_three_pixels(mask):
    choose(mask, "Example", "large")
    truth = np.arange(24 * 32).reshape(24, 32) // 100
    painted = 0 * truth
    choose(mask, "Brush", "3")
    choose(mask, "Paint", "ground")
    point(mask, "Prediction", 0.5 / 32, 12.5 / 24, "press")  # at the edge: half of the brush
    painted[11:14, :2] = 3
    assert_metrics(mask, truth, painted, classes=10)


# The bounds of a grid


@pytest.fixture(scope="module")
def lines():
    """Lines with numbers that can be told apart, as ``ranked`` returns them."""
    ends = {"abstains": [""], "votes": [", predicted void an error", ", predicted void left out"]}
    labels = [f"{protocol}{end}" for protocol in PROTOCOLS for end in ends[protocol.void]]
    numbers = {label: {f: 10 * i + f / 100 for f in FACTORS} for i, label in enumerate(labels)}
    return [Line("the paper", PAPER, 0), *(Line(label, row, 1) for label, row in numbers.items())]


def test_every_protocol_at_every_factor(show, scenes, lines):
    """For all that are arithmetic in powers of two, the page equals the package exactly."""
    labels = scenes[0].labels["semantic"]
    page = show(widgets.bounds([labels], lines, CLASSES, PALETTE))
    downs = {
        "sample": "its middle pixel",
        "vote": "the winner of a vote",
        "mean": "the share of each label",
    }
    ups = {"repeat": "repeated", "bilinear": "interpolated"}
    voids = {
        "": "does not vote",
        ", predicted void an error": "votes; predicted, an error",
        ", predicted void left out": "votes; predicted, left out",
    }
    told = {line.label: line.mean_iu for line in lines}
    counted = upper_bounds.Bounds(len(CLASSES))
    counted.update(labels)
    for protocol in PROTOCOLS:
        choose(page, "A cell keeps", downs[protocol.down])
        choose(page, "On the way up, cells are", ups[protocol.up])
        for end in list(voids)[:1] if protocol.void == "abstains" else list(voids)[1:]:
            choose(page, "Void", voids[end])
            for n, factor in enumerate(FACTORS):
                page.get_by_role("slider").fill(str(n))
                wanted = counted.metrics(protocol, factor, score_void="left" not in end)
                found, case = numbers(page), (str(protocol), end, factor)
                for name in ("mean_iu", "pixel_accuracy"):
                    assert found[name] == pytest.approx(getattr(wanted, name), abs=1e-9), case
                assert found["voc"] == pytest.approx(told[f"{protocol}{end}"][factor]), case
                assert found["paper"] == PAPER[factor]


def test_the_grid_turns_by_keyboard(show, scenes, lines):
    maps = [scenes[0].labels["semantic"]]
    page = show(widgets.bounds(maps, lines, CLASSES, PALETTE))
    knob = page.get_by_role("slider")
    assert knob.get_attribute("aria-valuetext") == "1/32"
    knob.focus()
    page.keyboard.press("ArrowRight")
    assert knob.get_attribute("aria-valuetext") == "1/16"
    counted = upper_bounds.Bounds(len(CLASSES))
    counted.update(maps[0])
    vote = upper_bounds.Protocol("vote", "bilinear", "abstains")
    assert number(page, "mean_iu") == pytest.approx(counted.metrics(vote, 16).mean_iu)
    page.keyboard.press("End")
    assert number(page, "mean_iu") == pytest.approx(counted.metrics(vote, 4).mean_iu)


# Predictions under a slider


@pytest.fixture
def stages(show, scenes):
    truth = [scene.labels["semantic"].numpy() for scene in scenes]
    filled = [np.where(labels == 255, 0, labels) for labels in truth]
    guesses = {
        f"FCN-{s}s": np.stack([map_[::s, ::s].repeat(s, 0).repeat(s, 1)[:48] for map_ in filled])
        for s in (32, 16, 8)
    }
    maps = guesses | {"ground truth": truth}
    page = show(widgets.stages([scene.image for scene in scenes], maps, CLASSES, PALETTE))
    return page, maps


def test_the_slider_shows_each_label_map_and_its_metrics(stages):
    page, maps = stages
    table = PALETTE.tolist()
    for i in range(3):
        choose(page, "Scene", str(i + 1))
        numbers = page.locator("tbody data").evaluate_all("all => all.map(node => +node.value)")
        wanted = [scored(maps["ground truth"][i], maps[f"FCN-{s}s"][i]) for s in (32, 16, 8)]
        pairs = [number for m in wanted for number in (m.pixel_accuracy, m.mean_iu)]
        assert numbers == pytest.approx(pairs, abs=1e-9)
        for n, (title, labels) in enumerate(maps.items()):
            page.get_by_role("slider").fill(str(n))
            colours = pixels(page.get_by_role("img", name=f"Label map: {title}"))
            painted = np.array([*table, [235, 235, 235]])[np.minimum(labels[i], len(table))]
            assert (colours == painted).all()


def test_labels_under_pointer_and_cursor(stages):
    page, maps = stages

    def called(row, column):
        named = [*CLASSES, *["void"] * 250]
        labels = {title: named[of_scenes[0][row, column]] for title, of_scenes in maps.items()}
        words = "; ".join(f"{title}: {label}" for title, label in labels.items())
        return f"Row {row}, column {column}. {words}."

    point(page, "Label map", 20.5 / 64, 30.5 / 48)
    assert page.locator("output").inner_text() == called(30, 20)
    page.get_by_role("application").focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator("output").inner_text() == called(29, 18)


def test_wrong_pixels_are_marked(stages):
    page, maps = stages
    page.get_by_role("checkbox", name="wrong pixels in red").check()
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")  # FCN-16s
    red = (pixels(page.get_by_role("img", name="FCN-16s")) == [209, 73, 91]).all(2)
    truth = maps["ground truth"][0]
    assert (red == ((truth != 255) & (maps["FCN-16s"][0] != truth))).all()
    assert red.any()


# All of them


def test_the_same_call_gives_the_same_text(scenes):
    maps = {"ground truth": [scenes[0].labels["semantic"].numpy()]}
    one, other = (widgets.stages([scenes[0].image], maps, CLASSES, PALETTE).data for _ in range(2))
    assert one == other


def test_nothing_is_wider_than_a_phone_and_the_radio_buttons_have_names(mask, stages):
    for page in (mask, stages[0]):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("input:not([aria-label])").evaluate_all(
            "all => all.every(input => input.labels.length === 1)"
        )
