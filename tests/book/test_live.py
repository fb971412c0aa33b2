"""The live net of the first page in headless Chromium, offline: torch's labels, for any photo."""

import gzip
import hashlib
import json
import re
import sys
from pathlib import Path

import live
import numpy as np
import pytest
import torch
from PIL import Image

from fcn.predict import Segmenter

RUNTIME = {  # of onnxruntime-web 1.30.0 on npm, unpacked
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm.gz": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
    "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    "ort-wasm-simd-threaded.asyncify.wasm.gz": (
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
    ),
}
SOFTWARE_GPU = [  # computes what a GPU computes, on the CPU
    *(option for option in live.OPTIONS if option != "--disable-gpu"),
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--use-vulkan=swiftshader",
    "--use-angle=swiftshader",
]
GPU = "Object.defineProperty(navigator, 'gpu', {{ value: {} }})"
NO_WEBGPU = GPU.format("undefined")
NO_ADAPTER = GPU.format("{ requestAdapter: async () => null }")
BROKEN_GPU = GPU.format("{ requestAdapter: async () => ({}) }")
"""The page finds an adapter and shows the switch; the worker finds none."""
LABELS = """() => {
  const text = new TextDecoder("latin1");
  return document.querySelector(".live").labels.map((one) => text.decode(one));
}"""
DROP = """(content) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(content)], "photo.png", { type: "image/png" }));
  const event = new DragEvent("drop", { dataTransfer: files, bubbles: true });
  document.querySelector(".live-map").dispatchEvent(event);
}"""
SWITCH = ".live-gpu input"
GPU_FILES = ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm.gz")
PLACE = """() => {
  const { left, top } = document.querySelector(".live-cross").style;
  return [parseFloat(left), parseFloat(top)];
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live.served(tmp_path_factory.mktemp("site")) as server:
        yield server


@pytest.fixture(scope="module")
def playwright():
    if live.CHROMIUM is None:
        pytest.skip("no Chromium in the PATH")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(playwright):
    browser = playwright.chromium.launch(executable_path=live.CHROMIUM, args=live.OPTIONS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def gpu_page(playwright, server, tmp_path_factory):
    """A page whose net runs on a GPU made of software; the files loaded before and after."""
    browser = playwright.chromium.launch(executable_path=live.CHROMIUM, args=SOFTWARE_GPU)
    page = browser.new_page()
    page.goto(server.url)
    if not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
        browser.close()
        pytest.skip("no WebGPU adapter in this Chromium")
    server.sent.clear()
    live.await_labels(page, lambda: page.click(".live-run"))
    labels(page, small("china", tmp_path_factory.mktemp("photos")))
    before = set(server.sent)
    server.sent.clear()
    live.await_labels(page, lambda: page.check(SWITCH))
    yield page, before, dict(server.sent)
    browser.close()


@pytest.fixture(scope="module")
def running(chromium, server):
    """A page at a phone's width whose net has labelled the first photo, and what that took."""
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    found = live.measure(page, server, repeats=1)
    yield page, found
    assert errors == []


@pytest.fixture
def page(running):
    return running[0]


@pytest.fixture(scope="module")
def stages():
    return live.load()


def size(page):
    """Height and width of what the net got."""
    return tuple(page.eval_on_selector(".live-photo", "canvas => [canvas.height, canvas.width]"))


def labels(page, photo):
    """The label maps of the three stages for a photo, chosen as a reader chooses one."""
    live.await_labels(page, lambda: page.set_input_files("input[type=file]", photo))
    maps = [np.frombuffer(one.encode("latin1"), np.uint8) for one in page.evaluate(LABELS)]
    return [one.reshape(size(page)) for one in maps]


def batch(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def of_torch(stages, image):
    """The label maps of the three stages for a photo, by torch."""
    with torch.inference_mode():
        return [one[0, 0].numpy() for one in stages(batch(image))]


def small(name, folder):
    """Save a photo at a size that a GPU made of software labels in seconds, the same for all."""
    live.picture(name).resize((96, 64)).save(folder / "small.png")
    return folder / "small.png"


def ramp(path, width, height, **options):
    """Save a photo that turns red from top to bottom and green from left to right."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 255 // height, columns * 255 // width, 0 * rows], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
    return path


@pytest.mark.parametrize("name", live.PHOTOS)
def test_the_labels_are_those_of_torch(page, stages, tmp_path, name):
    image = live.picture(name)  # at the size of the net, so that both get the same pixels
    image.save(tmp_path / "photo.png")
    found = labels(page, tmp_path / "photo.png")
    wanted = of_torch(stages, image)
    with torch.inference_mode():
        whole = stages.net(batch(image))["semantic"].argmax(1)[0].numpy()
    np.testing.assert_array_equal(wanted[-1], whole)
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(np.unique(theirs)) > 2
        assert (ours == theirs).mean() >= 0.999


@pytest.mark.parametrize("name", live.PHOTOS)
def test_the_labels_of_the_gpu_are_those_of_torch(gpu_page, stages, tmp_path, name):
    page, *_ = gpu_page
    photo = small(name, tmp_path)
    found = labels(page, photo)
    assert re.search(r"in \d+ ms on the GPU\.$", page.inner_text(".live-status"))
    for ours, theirs in zip(found, of_torch(stages, Image.open(photo)), strict=True):
        assert (ours == theirs).mean() >= 0.999


def test_what_the_gpu_needs_is_loaded_when_it_is_switched_on(gpu_page):
    page, before, after = gpu_page
    files = [f"/live/onnxruntime/{name}" for name in GPU_FILES]
    assert before.isdisjoint(files)
    said = re.search(r"loads (\d+) MB more", page.inner_text(".live-gpu"))
    assert f"{sum(after[file] for file in files) / 1e6:.0f}" == said[1]


@pytest.mark.parametrize("script", [NO_WEBGPU, NO_ADAPTER])
def test_without_a_gpu_there_is_no_switch(chromium, server, script):
    page = chromium.new_page()
    page.add_init_script(script)
    page.goto(server.url)
    page.click(".live-run")
    page.wait_for_selector(".live-controls")
    page.wait_for_timeout(200)  # until the page knows that there is no adapter
    assert page.locator(".live-gpu").is_hidden()
    page.close()


def test_when_the_gpu_fails_the_cpu_goes_on(chromium, server):
    page = chromium.new_page()
    page.add_init_script(BROKEN_GPU)
    page.goto(server.url)
    live.await_labels(page, lambda: page.click(".live-run"))
    assert re.search(r"in \d+ ms on the CPU\.$", page.inner_text(".live-status"))
    before = page.evaluate(LABELS)
    live.await_labels(page, lambda: page.check(SWITCH))
    assert page.evaluate(LABELS) == before
    assert not page.is_checked(SWITCH)
    said = page.inner_text(".live-status")
    assert re.search(r"in \d+ ms on the CPU\. The GPU failed: .*adapter", said)
    page.close()


def test_the_page_states_what_was_measured(running):
    stored = json.loads(live.RECORD.read_text())
    _, found = running
    assert found["bytes"] == pytest.approx(stored["bytes"], rel=0.01)
    assert found["seconds"] < 10 * stored["seconds"]  # on a slower or busier machine
    assert found["milliseconds"] < 10 * stored["milliseconds"]
    text = (live.ASSETS / "live.js").read_text()
    assert re.findall(r"Loads (\d+) MB", text) == [f"{stored['bytes'] / 1e6:.0f}"]


def test_nothing_is_loaded_before_the_click(chromium, server):
    server.sent.clear()
    page = chromium.new_page()
    page.goto(server.url, wait_until="networkidle")
    assert set(server.sent) == {"/", "/live.jpg", "/live/live.css", "/live/live.js"}
    page.close()


def test_the_net_is_small():
    assert live.exported().stat().st_size < 13e6


def test_a_change_in_a_module_that_the_net_needs_exports_it_anew():
    modules = [module for name, module in sys.modules.items() if re.fullmatch(r"fcn\.\w+", name)]
    files = {Path(module.__file__) for module in modules if not hasattr(module, "__path__")}
    assert {"export", "geometry", "models", "preprocessing"} < {path.stem for path in files}
    assert files <= {*live.MADE_BY}


@pytest.mark.parametrize(
    ("given", "labelled"),
    [
        ((31, 7), (32, 32)),
        ((97, 131), (131, 97)),
        ((1950, 2600), (512, 384)),
        ((3000, 40), (32, 512)),
    ],
)
def test_photos_of_any_size(page, tmp_path, given, labelled):
    maps = labels(page, ramp(tmp_path / "photo.png", *given))
    assert {one.shape for one in maps} == {labelled}
    assert max(one.max() for one in maps) < 33


def test_photos_are_turned_as_their_exif_entry_says(page, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the file's top is on the right
    labels(page, ramp(tmp_path / "photo.jpg", 120, 80, exif=exif))
    assert size(page) == (120, 80)
    row = "canvas => [...canvas.getContext('2d').getImageData(0, 60, 80, 1).data]"
    reds = page.eval_on_selector(".live-photo", row)[::4]
    assert reds[2] > 200 > 50 > reds[-2]


def test_the_class_under_the_pointer_and_the_shares(page, tmp_path):
    live.picture("china").save(tmp_path / "photo.png")
    maps = labels(page, tmp_path / "photo.png")
    classes = Segmenter(live.NET).classes
    height, width = maps[0].shape
    for stage in (2, 1, 0):
        said = page.get_attribute("input[type=range]", "aria-valuetext")
        assert said == f"FCN-{live.STAGES[stage]}"
        page.locator(".live-map").scroll_into_view_if_needed()
        box = page.locator(".live-map").bounding_box()
        for x, y in ((0.3, 0.5), (0.85, 0.1), (0.8, 0.9)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            row, column = int(y * height), int(x * width)
            near = maps[stage][row - 2 : row + 3, column - 2 : column + 3]
            assert classes.index(page.inner_text(".live-class")) in near
        largest = np.bincount(maps[stage].ravel()).argmax()
        share = 100 * (maps[stage] == largest).mean()
        assert page.inner_text(".live-shares li >> nth=0") == f"{classes[largest]} {share:.1f} %"
        page.press("input[type=range]", "ArrowLeft")


def test_the_keyboard_reaches_everything(page):
    page.focus(".live-thumb >> nth=1")
    live.await_labels(page, lambda: page.keyboard.press("Enter"))
    page.focus("[role=application]")
    page.keyboard.press("ArrowDown")
    before = page.evaluate(PLACE)
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    moved = [b - a for a, b in zip(before, page.evaluate(PLACE), strict=True)]
    assert moved == pytest.approx([4, -2], abs=0.01)
    order = []
    page.focus(".live-thumb >> nth=0")
    for _ in range(6):
        name = "document.activeElement.className || document.activeElement.type"
        order.append(page.evaluate(name))
        page.keyboard.press("Tab")
    assert order == ["live-thumb"] * 3 + ["file", "live-pane", "range"]


def test_a_photo_can_be_dropped(page, tmp_path):
    content = list(ramp(tmp_path / "photo.png", 200, 100).read_bytes())
    live.await_labels(page, lambda: page.evaluate(DROP, content))
    assert size(page) == (100, 200)


def test_the_page_fits_a_phone(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_is_no_picture_is_named(page, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("input[type=file]", tmp_path / "notes.txt")
    page.wait_for_selector('.live[data-state="error"]')
    said = page.inner_text(".live-status")
    assert said.startswith("notes.txt is not a picture that this browser can read")


@pytest.mark.parametrize("file", ["net.json", "net.onnx.gz", "worker.js"])
def test_a_missing_file_is_named_and_loaded_when_it_is_back(chromium, server, file):
    page = chromium.new_page()
    missing = Path(server.folder, "live", file)
    away = missing.rename(missing.with_suffix(".away"))
    page.goto(server.url)
    page.click(".live-run")
    page.wait_for_selector('.live[data-state="error"]')
    away.rename(missing)
    assert file in page.inner_text(".live-status")
    again = ".live-run" if file == "net.json" else ".live-thumb"
    live.await_labels(page, lambda: page.click(again))
    page.close()


def test_browsers_without_webassembly_get_a_message(chromium, server):
    page = chromium.new_page()
    page.add_init_script("delete window.WebAssembly")
    page.goto(server.url)
    assert "WebAssembly" in page.inner_text(".live-status")
    assert page.locator(".live-run").count() == 0
    page.close()


def test_a_page_opened_as_a_file_says_how_to_serve_it(chromium, server):
    page = chromium.new_page()
    page.goto(Path(server.folder, "index.html").as_uri())
    assert "make serve" in page.inner_text(".live-status")
    assert page.locator(".live-run").count() == 0
    page.close()


def test_without_javascript_the_still_picture_stays(chromium, server):
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(server.url)
    assert page.locator("#live").is_visible()
    page.context.close()


def test_the_runtime_is_the_published_one():
    for name, wanted in RUNTIME.items():
        content = (live.ASSETS / "onnxruntime" / name).read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        assert hashlib.sha256(content).hexdigest() == wanted, name
    assert "MIT License" in (live.ASSETS / "onnxruntime" / "LICENSE").read_text()


def test_the_first_page_has_the_live_net():
    text = (live.BOOK / "index.md").read_text()
    assert "```{image} assets/live.jpg\n:name: live\n" in text
    assert '<script defer src="_static/live/live.js">' in text
