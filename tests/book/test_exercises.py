"""The exercises: each has a solution, and the code and the numbers in solutions are right.

The numbers in solutions are written by hand. The tests compute those that need no training.
"""

import ast
import io
import re
import textwrap
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import build
import figure_5
import numpy as np
import pytest
import torch
from chapter_tables import SHORT
from figures.voc import drawn_labels
from figures.welcome import coarse_labels
from rooms import room
from torch.nn import functional as F

import fcn
from fcn.classifiers import alexnet
from fcn.convolutionalize import backbone
from fcn.data import voc
from fcn.data.nyud import Nyud
from fcn.data.pascal_context import PascalContext
from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import Scenes
from fcn.data.synthetic.palette import CLASSES
from fcn.dilation import dilated
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.preprocessing import MEAN_HHA
from fcn.replication import catalogue, claims, deviations, smoke, speedrun, upper_bounds
from fcn.replication.benchmark import measure, paper_times
from fcn.replication.benchmark.record import load_benchmarks
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import find, load_records

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted(Path(build.BOOK).glob("[0-9][0-9]_*.py"))
RECORDS = load_records(ROOT / "results")
OPENED = ":::{dropdown} Solution\n"
RACE = "sift-flow-googlenet-8s-speedrun"
VOTE = upper_bounds.Protocol("vote", "bilinear", "abstains")


def exercises(chapter: str) -> dict[int, str]:
    """The exercises of a chapter by number, with their solutions, as Markdown without indents."""
    (path,) = (one for one in CHAPTERS if one.name.startswith(chapter))
    lines = path.read_text(encoding="utf-8").partition("# ## Exercises\n")[2].splitlines()
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
    parts = re.split(r"^(\d+)\. ", text, flags=re.MULTILINE)[1:]
    numbers = [int(number) for number in parts[::2]]
    assert numbers == list(range(1, len(numbers) + 1))
    dedented = (textwrap.dedent("   " + body) for body in parts[1::2])
    return dict(zip(numbers, dedented, strict=True))


def solution(chapter: str, number: int) -> str:
    """A solution in one line, as its reader sees it."""
    return " ".join(exercises(chapter)[number].partition(OPENED)[2].split())


def code(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(chapter: str, number: int, **names: object) -> dict[str, object]:
    """The names after the code of a solution has run; ``printed`` is what it printed."""
    (source,) = code(exercises(chapter)[number])
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, f"{chapter}.{number}", "exec"), names)
    return names | {"printed": printed.getvalue()}


@pytest.mark.parametrize("chapter", [path.name[:2] for path in CHAPTERS])
def test_every_exercise_has_a_solution(chapter):
    for number, text in exercises(chapter).items():
        asked, opened, solved = text.partition(OPENED)
        assert asked.strip(), number
        assert opened, f"exercise {chapter}.{number} has no solution"
        assert solved.strip().endswith(":::"), number
        for source in code(text):
            ast.parse(source)


# Chapters 8 and 9: code that changes a data set or a net


def test_a_pair_of_colour_nets_is_the_mean_of_two(tmp_path):
    smoke.write_data("nyud-rgb", tmp_path)
    settings = {"num_classes": 40, "width": 1 / 16, "upsampling": "interpolate"}
    learned = []

    def learn(net, data, steps, rate, seed):
        learned.append((net, data, seed))
        for parameter in net.heads.parameters():
            torch.nn.init.normal_(parameter)

    names = {"Nyud": Nyud, "torch": torch, "LateFusion": LateFusion, "SMALL_NET": settings}
    names |= {"SHORT": SimpleNamespace(steps=1), "here": SimpleNamespace(seed=3), "learn": learn}
    rooms = SimpleNamespace(training="rooms", data=lambda inputs, rooms: (inputs, rooms))
    names |= {"rooms_of": lambda size: rooms, "new_net": lambda inputs, seed: new(seed)}
    new = {seed: FCN("alexnet", 8, **settings).eval() for seed in (3, 4)}.get
    made = run("08", 1, **names)
    colour, other = made["colour"], made["other"]
    assert learned == [(new(3), ("rgb", "rooms"), 3), (new(4), ("rgb", "rooms"), 4)]
    assert (colour, other) == (new(3), new(4))
    image = made["Twice"](tmp_path / "nyud", "test")[0].image[None].float() / 255
    with torch.no_grad():
        mean = (colour(image[:, :3]) + other(image[:, :3])) / 2
        torch.testing.assert_close(made["pair"].eval()(image), mean)


def test_ratio_of_colour_and_depth():
    one = room(12, (144, 192))
    names = {"centred": one.image - one.image.mean((0, 1)), "log_depth": np.log(1000 * one.depth)}
    made = run(
        "08",
        2,
        **names,
        new_net=lambda inputs, seed: FCN("alexnet", 8, 40, inputs=inputs, width=1 / 16),
    )
    assert f"ratio is {made['ratio']:.0f} " in solution("08", 2)


def test_one_channel_of_hha_is_left(tmp_path):
    smoke.write_data("nyud-hha", tmp_path)
    alone = run("08", 4, Nyud=Nyud, MEAN_HHA=MEAN_HHA)["Alone"]
    hha = Nyud(tmp_path / "nyud", "test", "hha")[0].image
    height = alone(1, tmp_path / "nyud", "test", "hha")[0].image
    assert height[1].equal(hha[1])
    assert (height[0].unique().tolist(), height[2].unique().tolist()) == ([132], [118])


def test_other_classes_are_void(tmp_path):
    smoke.write_data("pascal-context-59", tmp_path)
    context = tmp_path / "pascal-context"
    kept = run("09", 3, PascalContext=PascalContext, torch=torch, VOID=VOID)["Only"]
    names = PascalContext(context, "val").heads["semantic"]
    for i, sample in enumerate(PascalContext(context, "val")):
        labels = sample.labels["semantic"]
        found = kept(["sky", "cow"], context, "val")[i].labels["semantic"]
        of_both = (labels == names.index("sky")) | (labels == names.index("cow"))
        assert found.equal(labels.masked_fill(~of_both, VOID))


# Chapters 1 and 10: painted scenes


def test_what_vanishes_at_stride_32():
    scenes = Scenes(24, (192, 288), split="test")
    maps = [scenes[i].labels["semantic"].numpy() for i in range(24)]

    def left(name: str, stride: int) -> tuple[int, int]:
        label = CLASSES.index(name)
        shown = [one for one in maps if (one == label).any()]
        return sum(bool((coarse_labels(one, stride) == label).any()) for one in shown), len(shown)

    assert (left("pole", 32), left("pole", 16), left("pole", 8)) == ((0, 12), (8, 12), (12, 12))
    assert (left("car", 32), left("boat", 32)) == ((4, 8), (2, 4))


def test_bounds_on_a_resized_grid():
    resized = run("10", 1, F=F)["resized"]
    scenes = Scenes(24, (180, 250), split="test")
    labels = [scenes[i].labels["semantic"] for i in range(24)]

    def bound(cells: tuple[int, int]) -> float:
        confusion = ConfusionMatrix(len(CLASSES))
        for one in labels:
            confusion.update(one[None], resized(one, cells))
        return confusion.metrics().mean_iu

    counts = upper_bounds.Bounds(len(CLASSES), (64,), (VOTE,))
    for one in labels:
        counts.update(one)
    found = [counts.metrics(VOTE, 64).mean_iu, bound((3, 4)), bound((2, 3))]
    assert [round(one, 1) for one in found] == [39.3, 38.6, 34.9]


# Chapter 11: a dilated net


def test_a_dilated_net_takes_a_sixth_of_the_steps():
    names = {"backbone": backbone, "alexnet": alexnet, "dilated": dilated, "nn": torch.nn}
    with torch.device("meta"):
        fine = run("11", 2, fcn=fcn, CLASSES=CLASSES, torch=torch, **names)
    image = torch.rand(1, 3, 96, 96, device="meta")
    assert fine["upsampled"](image).shape == (1, len(CLASSES), 96, 96)
    settings = {"upsampling": "interpolate", "width": 1 / 8}
    skips = multiplications(lambda: FCN("alexnet", 8, len(CLASSES), **settings), 96, 96)
    times = multiplications(lambda: fine["net"], 96, 96) / skips
    assert f"{times:.1f} times" in solution("11", 2)
    assert f"{320 / times:.0f} of 320 steps" in solution("11", 2)


# Chapters 11 and 12: records


def test_five_runs_at_a_tenth_of_the_rate():
    names = [*figure_5.EXPERIMENTS.values(), figure_5.CONTROL]
    runs = [find(RECORDS, name)[0] for name in names]
    quarter = EXPERIMENTS[figure_5.EXPERIMENTS[0.25]]
    small = replace(quarter.recipe, batch_size=8, epochs=0.5)
    steps = {round(one.recipe["epochs"] * 2486 / one.recipe["batch_size"]) for one in runs}
    assert steps == {round(small.epochs * 2486 / small.batch_size)}
    images = sum(one.images_seen for one in runs) + min(steps) * small.batch_size
    assert f"{10 * images:,} images" in solution("11", 5)
    assert {one.recipe["learning_rate"] for one in runs} == {10 * 1e-3}


def test_metrics_that_disagree():
    table = claims.metric_by_metric(RECORDS).replace("-", np.nan).astype(float)
    both = table[(table > 0).any(axis=1) & (table < 0).any(axis=1)]
    large = both[both.abs().max(axis=1) > 1]
    assert both.index.tolist() == [*large.index, "5: the semantic task alone"]
    assert both.iloc[-1].abs().max() <= 0.3
    scores = large.loc["4.3: only the score layers learn"].to_dict()
    weights = large.loc["4.3: rare classes weighted up"].to_dict()
    assert (scores.pop("mean acc."), scores.pop("mean IU")) == (5.5, 2.4)
    assert (weights.pop("mean acc."), weights["pixel acc."]) == (25.5, -13.7)
    assert max(weights.values()) < 0
    assert (max(scores.values()), min(scores.values())) == (-1.8, -3.0)


def test_deviations_of_a_missing_row():
    names = {"deviations": deviations, "EXPERIMENTS": EXPERIMENTS}
    listed = run("12", 3, **names)["printed"].splitlines()
    assert f"lists {len(listed)} deviations" in solution("12", 3)
    assert listed[0].startswith("backbone: ")
    assert listed[-1].endswith("bfloat16")
    asked = EXPERIMENTS[f"{SHORT['16s']}-pool4"]
    assert (asked.start, asked.recipe.epochs) == ((SHORT["32s"],), 2)
    assert EXPERIMENTS[SHORT["32s"]].recipe.epochs == 4
    assert any("2 of at least 175" in one for one in listed)
    assert not any("4 of at least" in one for one in listed)
    (one,), (start,) = (find(RECORDS, SHORT[stride]) for stride in ("16s", "32s"))
    texts = [deviation.text for deviation in deviations.deviations_of(one)]
    assert one.initial_weights.name == f"{start.file_name[:-5]}.safetensors"
    assert not any("4 of at least" in text for text in texts)
    assert not find(RECORDS, asked.name)


# Chapter 7: metrics and counts


def test_what_a_border_hides():
    label = voc.CLASSES.index("person")
    share = F.avg_pool2d((drawn_labels() == label).float()[None, None], 32)
    coarse = label * (F.interpolate(share, scale_factor=32, mode="bilinear")[0, 0] > 0.5).long()
    wrong, iu = {}, {}
    for reach in (0, 2, 7, 8):
        truth = drawn_labels(reach)
        wrong[reach] = int(((truth != coarse) & (truth != VOID)).sum())
        confusion = ConfusionMatrix(len(voc.CLASSES))
        confusion.update(truth, coarse)
        iu[reach] = confusion.metrics().mean_iu
    text = solution("07", 1)
    assert f"mean IU is {iu[0]:.1f} and {wrong[0]} pixels are wrong" in text
    assert f"it is {iu[2]:.1f} and {wrong[2]} are wrong" in text
    assert f"hides {100 * (1 - wrong[2] / wrong[0]):.0f} % of" in text
    assert wrong[7] > wrong[8] == 0


def test_one_matrix_and_one_per_image():
    truth = torch.zeros(2, 100, dtype=torch.int64)
    truth[0, :50] = truth[1, :2] = 1
    misses_two, ten_too_many = truth.clone(), truth.clone()
    misses_two[1] = 0
    ten_too_many[0, 50:60] = 1

    def score(labels: torch.Tensor, found: torch.Tensor) -> float:
        confusion = ConfusionMatrix(2)
        confusion.update(labels, found)
        return confusion.metrics().mean_iu

    one = [score(truth, found) for found in (misses_two, ten_too_many)]
    each = [[*map(score, truth, found)] for found in (ten_too_many, misses_two)]
    text = solution("07", 2)
    assert f"the first prediction, {one[0]:.1f} to {one[1]:.1f}" in text
    assert f"the second, {np.mean(each[0]):.1f} to {np.mean(each[1]):.1f}" in text
    assert f"scores {each[1][1]:.0f} on the second image" in text


def test_work_of_the_nets_of_table_1():
    nets = ("alexnet", "vgg16", "googlenet")
    work = [multiplications(lambda name=name: FCN(name, 32, 21), 500, 500) for name in nets]
    alexnet_, vgg16, googlenet = (f"{one / 1e9:.0f}" for one in work)
    text = solution("07", 3)
    assert f"about {alexnet_} (AlexNet), {vgg16} (VGG16) and {googlenet} (GoogLeNet)" in text
    shares = [one / work[1] for one in work]
    assert f"or {shares[0]:.2f}, {shares[1]:.0f} and {shares[2]:.2f}." in text

    names = ("FCN-AlexNet", "FCN-VGG16", "FCN-GoogLeNet")
    cases = paper_times.measured_times(load_benchmarks(ROOT / "results")[0])["tight"]
    paper = np.array([paper_times.PAPER[name] for name in names])
    ours = np.array([cases[name].median for name in names])
    of_paper, of_ours = paper / paper[1], ours / ours[1]
    assert (of_ours <= of_paper).all()
    assert ((of_paper / shares)[[0, 2]] > 1.3).all()
    assert (of_ours / shares)[2] > 1.3
    for ratios in (of_paper / shares, of_ours / shares):
        assert 1.2 < ratios[0] < ratios[2] / 1.2
    assert 0.9 < (of_ours / of_paper)[0] < 1 / 0.9
    assert (of_ours / of_paper)[2] < 0.9


# Chapters 14 and 15: counts


def multiplications(build, height: int, width: int) -> float:
    return measure.operations(build, (1, 3, height, width), training=False) / 2


def test_padding_that_costs_less_than_a_tenth():
    printed = run("14", 2, fcn=fcn, multiplications=multiplications)["printed"]
    ratios = dict(line.split() for line in printed.splitlines())
    for side in ratios.keys() - {"3000"}:
        assert re.search(rf"{ratios[side]} at {side}\b", solution("14", 2))
    assert float(ratios["2048"]) > 1.1 >= float(ratios["3000"])


def test_operations_of_the_speedrun(tmp_path):
    text = Path(catalogue.__file__).with_suffix(".toml").read_text(encoding="utf-8")
    (row,) = code(exercises("15")[1], "toml")
    (tmp_path / "catalogue.toml").write_text(f"{text}\n{row}", encoding="utf-8")
    frozen = catalogue.read(tmp_path / "catalogue.toml")[0]["speedrun-3a"]
    last = catalogue.find("speedrun")
    assert frozen == replace(last, name="speedrun-3a", recipe=frozen.recipe)
    assert frozen.recipe == replace(last.recipe, frozen="inception_3a")

    made = run("15", 2, speedrun=speedrun)
    assert f"prints {made['printed'].strip()}." in solution("15", 2)
    saved = 1 - speedrun.operations(frozen) / speedrun.operations(last)
    assert f"{100 * saved:.0f} % of the work is saved" in solution("15", 1)
    brief = replace(last, recipe=replace(last.recipe, epochs=2))
    saved = 1 - speedrun.operations(brief) / speedrun.operations(last)
    assert f"{100 * saved:.0f} % of the row's operations" in solution("15", 3)
    heads, _ = speedrun.stages_of("sift-flow-googlenet-8s-speedrun-brief")
    first, step = speedrun._counted(heads, (256, 256))
    assert 0.85 < first / (first + 4 * step) < 0.95  # nine tenths
