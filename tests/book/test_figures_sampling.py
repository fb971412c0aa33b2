"""Figure 5 and what is said of it follow from the records, however the runs came out."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import sampling, style

from fcn.metrics import ConfusionMatrix
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import Data, Head, Record, Split


@pytest.fixture(autouse=True)
def _closed():
    plt.switch_backend("agg")
    style.use()
    yield
    plt.close("all")


def run(keep: float, factor: float = 1.0, seed: int = 0, scatter: float = 0.001, steps: int = 155) -> Record:
    """A run whose loss falls with its steps, ``factor`` times as high as it might be, and scatters a little."""
    noise = scatter * np.random.default_rng(seed + round(100 * keep)).standard_normal(steps)
    batch = round(8 / keep)
    curve = [
        {"step": i, "images": batch * i, "loss": factor * (1 + 2 * np.exp(-i / 40)) + x, "learning_rate": 0.01}
        for i, x in enumerate(noise, start=1)
    ]
    return Record(
        experiment=sampling.EXPERIMENTS[keep], purpose="final", recipe={"keep": keep, "batch_size": batch}, seed=seed,
        heads={"semantic": Head.scored("ab", ConfusionMatrix.from_matrix([[3, 1], [0, 4]]))}, images_seen=batch * steps,
        curve=curve, dataset=Data("sift-flow", Split("trainval", 2, "a"), Split("test", 1, "b")), versions={},
        commit=None, hardware="", seconds=1.0, deviations=(), initial_weights=None,
    )  # fmt: skip


def runs(**factors: float) -> dict[float, Record]:
    return {keep: run(keep, factors.get(f"keep{100 * keep:.0f}", 1.0)) for keep in (1.0, 0.5, 0.25)}


def test_the_catalogue_has_the_runs_that_the_figure_reads():
    steps = set()
    for keep, name in sampling.EXPERIMENTS.items():
        recipe = EXPERIMENTS[name].recipe
        assert recipe.keep == keep
        assert recipe.batch_size == 8 / keep, "as many cells a batch"
        steps.add(recipe.epochs / recipe.batch_size)
    assert len(steps) == 1, "equal iterations"


def test_records_are_found_by_name_and_seed_and_missing_ones_named():
    found = sampling.find([run(1.0), run(0.25), run(0.5, seed=1)])
    assert list(found) == [1.0, 0.25]
    assert sampling.not_run(found) == "not run: python -m fcn train sift-flow-googlenet-32s-keep50"
    assert sampling.not_run(runs()) == ""
    assert sampling.not_run({}).count("python -m fcn train") == 3


def test_the_figure_shows_every_run_against_iterations_and_images():
    figure = sampling.curves(runs())
    ends = [{line.get_xdata()[-1] for line in axes.lines} for axes in figure.axes]
    assert ends == [{155}, {155 * 8, 155 * 16, 155 * 32}]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["100 % of the cells", "50 % of the cells", "25 % of the cells"]


def test_a_level_is_the_mean_of_the_last_fifth():
    one = run(1.0, scatter=0)
    mean, error = sampling.level(one, "step", 100)
    part = [point["loss"] for point in one.curve[80:100]]
    assert mean == pytest.approx(np.mean(part))
    assert error == pytest.approx(np.std(part, ddof=1) / 20**0.5)
    assert sampling.level(one, "images", 800)[0] == pytest.approx(mean), "800 images are 100 steps of 8"


def test_too_few_points_are_refused():
    with pytest.raises(
        ValueError, match=r"keep100\.seed0\.json: 1 points of the curve in the last fifth before 2 step"
    ):
        sampling.level(run(1.0), "step", 2)


def test_the_table_compares_at_what_all_runs_reach():
    table = sampling.compared(runs())
    assert list(table.index) == ["100 %", "50 %", "25 %"]
    assert list(table.columns[-2:]) == ["loss at 155 iterations", "loss at 1240 images"]
    same, fewer = (table[column].str.split(" ± ").str[0].astype(float) for column in table.columns[-2:])
    assert same.max() - same.min() < 0.005, "equal curves are equal at equal iterations"
    assert fewer["25 %"] > fewer["50 %"] > fewer["100 %"], "and at equal images the large batches lag"


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (1.0, "25 % has the same loss within the scatter"),
        (0.9, "25 % has a loss **10.0 % lower**"),
        (1.1, "25 % has a loss **10.0 % higher**"),
    ],
)
def test_what_is_said_follows_from_the_numbers(factor, says):
    iterations, images = sampling.conclusions(runs(keep25=factor)).splitlines()
    assert "After 155 iterations" in iterations
    assert says in iterations
    assert "50 % has the same loss within the scatter" in iterations
    assert "After 1240 images" in images
    assert "higher**" in images


@pytest.mark.parametrize("found", [{}, {0.5: 1}, {1.0: 1}])
def test_nothing_is_said_of_what_was_not_run(found):
    assert "**not run**" in sampling.conclusions({keep: run(keep) for keep in found})


def test_the_control_has_the_quarters_batches_and_all_cells():
    found = runs(keep25=0.9)
    whole = replace(found[1.0], experiment=sampling.CONTROL, recipe=found[1.0].recipe | {"batch_size": 32})
    said = sampling.control([*found.values(), whole], found)
    assert "with batches of 32" in said
    assert "The quarter has a loss **10.0 % lower**" in said
    assert "**not run**" in sampling.control(list(found.values()), found)
    assert "**not run**" in sampling.control([whole], {})


def test_windows_counts_in_how_many_a_pixel_lies():
    figure = sampling.windows(np.zeros((7, 9, 3), np.uint8), 5, 2, (2, 3))
    often = figure.axes[1].images[0].get_array()
    assert often[0].tolist() == [1, 1, 2, 2, 3, 2, 2, 1, 1]
    assert often[3, 4] == 6
    marked = [patch.get_xy() for patch in figure.axes[0].patches if patch.get_linewidth() == 2]
    assert marked == [(-0.5, -0.5), (3.5, 1.5)]


def test_noise_shows_measurement_and_formula():
    spread, formula = {0.5: 1.0, 0.1: 3.0}, {0.5: 1.1, 0.1: 2.9}
    figure = sampling.noise(spread, formula, {"as many images": {1.0: 1.0, 0.5: 1.1}})
    left, right = figure.axes
    assert [list(line.get_ydata()) for line in left.lines] == [[1.1, 2.9], [1.0, 3.0]]
    assert list(right.lines[0].get_ydata()) == [1.0, 1.1]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["10 %", "50 %", "100 %"]
