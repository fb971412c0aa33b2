"""Figure 5 follows from the records, however the runs came out."""

import figure_5
import matplotlib.pyplot as plt
import numpy as np
import pytest
from book_records import points, record
from figures import sampling, style

from fcn.replication.catalogue import EXPERIMENTS


@pytest.fixture(autouse=True)
def _closed():
    plt.switch_backend("agg")
    style.use()
    yield
    plt.close("all")


def run(keep, factor=1.0, seed=0, scatter=0.001, steps=155):
    """A run whose loss falls with its steps, ``factor`` times as high, with a little scatter."""
    noise = scatter * np.random.default_rng(seed + round(100 * keep)).standard_normal(steps)
    batch = round(8 / keep)
    losses = factor * (1 + 2 * np.exp(-np.arange(1, steps + 1) / 40)) + noise
    return record(
        figure_5.EXPERIMENTS[keep],
        seed=seed,
        recipe={"keep": keep, "batch_size": batch},
        images_seen=batch * steps,
        curve=points(losses, batch),
    )


def runs(**factors):
    return {keep: run(keep, factors.get(f"keep{100 * keep:.0f}", 1.0)) for keep in (1.0, 0.5, 0.25)}


def test_the_catalogue_has_the_runs_that_the_figure_reads():
    steps = set()
    for keep, name in figure_5.EXPERIMENTS.items():
        recipe = EXPERIMENTS[name].recipe
        assert recipe.keep == keep
        assert recipe.batch_size == 8 / keep, "as many cells a batch"
        steps.add(recipe.epochs / recipe.batch_size)
    assert len(steps) == 1, "equal iterations"


def test_records_are_found_by_name_and_seed_and_missing_ones_named():
    found = figure_5.find([run(1.0), run(0.25), run(0.5, seed=1)])
    assert list(found) == [1.0, 0.25]
    assert figure_5.not_run(found) == "not run: python -m fcn train sift-flow-googlenet-32s-keep50"
    assert figure_5.not_run(runs()) == ""
    assert figure_5.not_run({}).count("python -m fcn train") == 3


def test_the_figure_shows_every_run_against_iterations_and_images():
    figure = sampling.curves(runs())
    ends = [{line.get_xdata()[-1] for line in axes.lines} for axes in figure.axes]
    assert ends == [{155}, {155 * 8, 155 * 16, 155 * 32}]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["100 % of the cells", "50 % of the cells", "25 % of the cells"]


def test_a_level_is_the_mean_of_the_last_fifth():
    one = run(1.0, scatter=0)
    mean, error = figure_5.level(one, "step", 100)
    part = [point["loss"] for point in one.curve[80:100]]
    assert mean == pytest.approx(np.mean(part))
    assert error == pytest.approx(np.std(part, ddof=1) / 20**0.5)
    assert figure_5.level(one, "images", 800)[0] == pytest.approx(mean), (
        "800 images are 100 steps of 8"
    )


def test_too_few_points_are_refused():
    with pytest.raises(
        ValueError,
        match=r"keep100\.seed0\.json: 1 points of the curve in the last fifth before 2 step",
    ):
        figure_5.level(run(1.0), "step", 2)


def test_the_table_compares_at_what_all_runs_reach():
    table = figure_5.compared(runs())
    assert list(table.index) == ["100 %", "50 %", "25 %"]
    assert list(table.columns[-2:]) == ["loss at 155 iterations", "loss at 1240 images"]
    same, fewer = (
        table[column].str.split(" ± ").str[0].astype(float) for column in table.columns[-2:]
    )
    assert same.max() - same.min() < 0.005, "equal curves are equal at equal iterations"
    assert fewer["25 %"] > fewer["50 %"] > fewer["100 %"], (
        "and at equal images the large batches lag"
    )


@pytest.mark.parametrize(
    ("factor", "percent", "notable"), [(1.0, 0, False), (0.9, -10.0, True), (1.1, 10.0, True)]
)
def test_differences_follow_from_the_numbers(factor, percent, notable):
    found = runs(keep25=factor)
    steps, images = figure_5.common(found)
    assert (steps, images) == (155, 1240)
    for keep, expected in ((0.25, percent), (0.5, 0)):
        relative, in_errors = figure_5.difference(found[keep], found[1.0], "step", steps)
        assert relative == pytest.approx(expected, abs=0.1)
        assert (abs(in_errors) > 2) == (notable and keep == 0.25)
    relative, in_errors = figure_5.difference(found[0.25], found[1.0], "images", images)
    assert relative > 0, "the large batches lag at equal images"
    assert in_errors > 2


def test_the_sentences_say_by_how_much_sampled_runs_are_lower():
    said = figure_5.values(runs(keep25=0.9))
    assert (said["common_steps"], said["common_images"]) == (155, 1240)
    assert said["keep25_step"] == pytest.approx(10, abs=0.1)
    assert said["keep50_step"] == pytest.approx(0, abs=0.1)
    assert said["keep25_images"] < 0, "higher after as many images: the large batches lag"
    assert figure_5.values({1.0: run(1.0)}) == {}


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
