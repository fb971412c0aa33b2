"""Tables: published numbers as printed, ours from records only, real and synthetic kept apart."""

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch

from fcn.metrics import ConfusionMatrix
from fcn.replication import paper, tables
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.paper import OTHERS, RELEASE, TABLES, TITLES
from fcn.training.record import Data, Head, Record, Split, write

ROOT = Path(__file__).parents[2]
SHORT = "sift-flow-googlenet-8s-short"


def record(
    experiment=SHORT, seed=0, purpose="final", hits=((8, 2), (4, 6)), dataset="sift-flow", **entries
):
    """A record with two classes; its settings are those of the catalogue."""
    settings = EXPERIMENTS.get(experiment, EXPERIMENTS[SHORT])
    head = Head.scored(("sky", "tree"), ConfusionMatrix.from_matrix(torch.tensor(hits)))
    geometric = ConfusionMatrix.from_matrix(torch.tensor([[9, 1], [0, 10]]))
    made = {
        "experiment": experiment,
        "purpose": purpose,
        "heads": {"geometric": Head.scored(("sky", "vertical"), geometric), "semantic": head},
        "net": settings.net_settings,
        "recipe": asdict(settings.recipe),
        "seed": seed,
        "images_seen": 1,
        "curve": [],
        "dataset": Data(dataset, Split("trainval", 2486, "a"), Split("test", 200, "b")),
        "versions": {},
        "commit": None,
        "hardware": "",
        "seconds": 1.0,
        "deviations": (),
        "initial_weights": None,
    }
    return Record(**made | entries)


def test_published_rows_are_as_printed_and_in_order():
    frame = tables.table("Table 5", [])
    published = frame[frame["source"] == "Table 5"]
    assert len(published) == sum(row.table == "Table 5" for row in TABLES)
    assert list(published.iloc[-1])[1:6] == ["85.2", "51.7", "39.5", "76.1", "94.3"]
    assert list(published.loc["Tighe et al. 2010"])[1:6] == ["-", "-", "-", "-", "90.8"]


def test_without_records_every_run_gives_its_command():
    for frame in [tables.at_a_glance([]), *(tables.table(name, []) for name in TITLES)]:
        ours = frame[frame["source"] == "ours"]
        for name, row in ours.iterrows():
            assert row["record"] == f"python -m fcn train {name}"
            assert row["mean IU"] == "not run"
    assert list(tables.at_a_glance([]).index) == ["FCN-16s, VGG16", *tables.GLANCE]


def test_every_experiment_of_a_table_has_its_row():
    for name in TITLES:
        wanted = [e.name for e in EXPERIMENTS.values() if e.paper and e.paper[0] == name]
        assert [label for label in tables.table(name, []).index if label in EXPERIMENTS] == wanted


def test_one_record_gives_its_metrics_from_the_right_heads():
    frame = tables.at_a_glance([record()])
    row = frame.loc[SHORT]
    # 14 of 20 pixels; (8/10 + 6/10) / 2; (8/14 + 6/12) / 2; equal frequencies
    assert list(row)[1:6] == ["70.0", "70.0", "53.6", "53.6", "95.0"]
    assert list(row)[6:] == ["GoogLeNet, 2 more epochs of SGD", "seed 0"]
    assert frame.loc["FCN-16s, VGG16", "net, training"] == "VGG16, at least 175 epochs of SGD"


def test_several_seeds_give_mean_and_sample_standard_deviation():
    runs = [record(seed=0), record(seed=3, hits=((9, 1), (4, 6)))]
    row = tables.table("Table 5", runs).loc[SHORT]
    assert row["pixel acc."] == "72.5 ± 3.5"
    assert row["geometric acc."] == "95.0 ± 0.0"
    assert row["record"] == "seeds 0, 3"


@pytest.mark.parametrize(
    "other", [{"purpose": "validation"}, {"purpose": "demonstration"}, {"dataset": "scenes"}]
)
def test_only_final_runs_on_real_images_enter(other):
    assert tables.at_a_glance([record(**other)]).equals(tables.at_a_glance([]))
    assert tables.table("Table 5", [record(**other)]).equals(tables.table("Table 5", []))


def test_other_recorded_runs_join_the_glance_below_their_paper_row():
    frame = tables.at_a_glance([record("voc-vgg16-32s-fixed"), record("sift-flow-vgg16-32s")])
    assert list(frame.index)[:2] == ["FCN-32s-fixed, VGG16", "voc-vgg16-32s-fixed"]
    assert "sift-flow-vgg16-32s" in frame.index
    assert not frame.isna().any().any()


def test_a_column_that_only_our_records_have_is_shown():
    assert "pixel acc." not in tables.table("Table 1", []).columns
    frame = tables.table("Table 1", [record("voc2011-vgg16-32s")])
    assert list(frame["pixel acc."]) == ["-", "-", "-", "not run", "70.0", "not run", "not run"]


def test_an_unknown_table_is_named():
    with pytest.raises(ValueError, match='no results in "Table 9": choose one of Table 1'):
        tables.table("Table 9", [])


def test_a_comparison_has_the_release_other_replications_and_ours_with_the_difference():
    frame = tables.comparison("Table 2", [record("voc-vgg16-32s-heavy")])
    sources = ["Table 2", "release", "others", "ours", "difference"]
    assert list(dict.fromkeys(frame["source"])) == sources
    release = frame[frame["source"] == "release"]
    assert dict(release["mean IU"])["FCN-8s at-once, VGG16"] == "65.4"
    assert "channel dropout" in frame.loc["pytorch-fcn FCN-8s", "what sets it apart"]
    assert frame.loc["voc-vgg16-32s-heavy", "what sets it apart"] == "release"
    assert list(frame.loc["voc-vgg16-32s"])[2:7] == ["-", "-", "not run", "-", "-"]
    after = frame.iloc[list(frame.index).index("voc-vgg16-32s-heavy") + 1]
    assert (after.name, after["pixel acc."]) == ("less FCN-32s, VGG16", "-")
    assert after["mean IU"] == "-10.0"  # 53.6 - 63.6


def test_a_difference_is_that_of_the_printed_figures_and_of_the_mean_over_seeds():
    runs = [record(seed=0), record(seed=1, hits=((9, 1), (4, 6)))]
    frame = tables.comparison("Table 5", runs)
    row = frame.iloc[list(frame.index).index(SHORT) + 1]
    assert row["pixel acc."] == f"{72.5 - 85.2:+.1f}"
    assert row["geometric acc."] == "+0.7"  # 95.0 - 94.3


@pytest.mark.parametrize(
    ("experiment", "value"),
    [
        ("voc-vgg16-8s-heavy", 65.5),  # the release's row, whose recipe it follows
        ("voc-vgg16-8s", 62.7),
        ("pascal-context-59-vgg16-8s-heavy", 35.1),  # not the 33 classes' row of the same label
        ("pascal-context-33-vgg16-8s", 53.5),
        ("sift-flow-googlenet-8s-tuned", 39.5),
    ],
)
def test_an_experiment_is_compared_with_the_row_it_replicates(experiment, value):
    assert tables.replicated(EXPERIMENTS[experiment]).metrics["mean_iu"] == value


def test_what_replicates_no_row_has_none():
    assert tables.replicated(EXPERIMENTS["scenes-googlenet-8s-demo"]) is None


def test_runs_without_a_published_row_have_a_table_of_their_own():
    names = ["voc-subset-googlenet-32s", "voc-subset-googlenet-8s"]
    assert list(tables.ours(names, [])["mean IU"]) == ["not run", "not run"]
    frame = tables.ours(names, [record(names[1])])
    assert list(frame["mean IU"]) == ["not run", "53.6"]
    assert "source" not in frame.columns


def test_coverage_counts_experiments_and_final_runs():
    frame = tables.coverage([record(seed=0), record(seed=1), record(seed=2, purpose="validation")])
    assert tuple(frame.loc["Table 5", ["recorded", "runs"]]) == (1, 2)
    assert frame.loc["all", "experiments"] == len(EXPERIMENTS)


def test_markdown_links_each_seed_and_marks_commands_as_code():
    text = tables.markdown(tables.at_a_glance([record(), record(seed=4)]))
    assert f"[seed 0](results/{SHORT}.seed0.json), [seed 4](results/{SHORT}.seed4.json)" in text
    assert "`python -m fcn train sift-flow-googlenet-32s-short`" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_the_readme_changes_only_between_the_markers(tmp_path):
    (tmp_path / "README.md").write_text(f"above\n\n{tables.BEGIN}\nold\n{tables.END}\n\nbelow\n")
    write(record(), tmp_path / "results")
    tables.update_readme(tmp_path / "README.md", tmp_path / "results")
    text = (tmp_path / "README.md").read_text()
    table = tables.markdown(tables.at_a_glance([record()]))
    assert text == f"above\n\n{tables.BEGIN}\n\n{table}\n\n{tables.END}\n\nbelow\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "results"]


def test_a_file_without_markers_or_no_file_is_one_clear_line(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text("nothing\n")
    missing = r"README\.md: the markers of the results at a glance are missing"
    with pytest.raises(ValueError, match=missing):
        tables.update_readme(tmp_path / "README.md", tmp_path / "results")
    with pytest.raises(FileNotFoundError, match=r"other\.md: no such file"):
        tables.update_readme(tmp_path / "other.md", tmp_path / "results")
    assert (tmp_path / "README.md").read_text() == "nothing\n"


def test_the_readme_holds_the_results_at_a_glance_of_the_records(tmp_path):
    now, readme = tmp_path / "README.md", (ROOT / "README.md").read_bytes()
    now.write_bytes(readme)
    tables.update_readme(now, ROOT / "results")
    assert readme == now.read_bytes(), (
        "the records changed: run python -m fcn list --readme README.md"
    )


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    done = subprocess.run(
        [sys.executable, "-m", "fcn", "list", "--readme", str(tmp_path / "photo.png")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    said = "not a text file in UTF-8; give the one with the markers, README.md"
    assert done.stderr == f"fcn: {tmp_path / 'photo.png'}: {said}\n"


def test_every_published_row_names_an_experiment_of_the_catalogue():
    named = {row.experiment for row in (*TABLES, *RELEASE, *OTHERS) if row.experiment}
    assert named <= EXPERIMENTS.keys()


def test_a_row_of_the_paper_is_found_by_its_table_and_label():
    assert paper.row("Table 5", "FCN-16s").metrics["geometric_accuracy"] == 94.3
    assert paper.row("Table 6", "FCN-8s", "33 classes").metrics["mean_iu"] == 53.5
    with pytest.raises(KeyError, match="Table 2 has no row FCN-4s"):
        paper.row("Table 2", "FCN-4s")


def test_every_number_of_other_people_has_its_source():
    assert all(row.url.startswith("https://") for row in (*RELEASE, *OTHERS))
    assert not any(row.url for row in TABLES)
    frame = tables.comparison("Table 2", [])
    for label, row in frame[frame["source"].isin(["release", "others"])].iterrows():
        assert re.search(r" \(\[source\]\(https://\S+\)\)$", row["what sets it apart"]), label


def test_the_repeats_of_another_replication_differ_by_what_the_chapters_say():
    repeats = [row.metrics["mean_iu"] for row in OTHERS if row.label.endswith("of two runs")]
    assert len(repeats) == 2
    assert max(repeats) - min(repeats) == pytest.approx(0.57)


def test_names_with_html_are_shown_as_text():
    name = "<script>alert(1)</script> a|b"
    frame = pd.DataFrame({"pixel acc.": ["12.3"], name: [f"{name} & p < 0.05"]}, index=[name])
    shown = tables.markdown(frame)
    assert "<script" not in shown
    assert "</script" not in shown
    assert "& p < 0.05" in shown
    assert {line.replace(r"\|", "").count("|") for line in shown.splitlines()} == {4}


def test_several_seeds_are_a_mean_and_a_spread():
    assert tables.over_seeds([]) == "not run"
    assert tables.over_seeds([41.25]) == "41.2"
    assert tables.over_seeds([40.0, 41.0, 42.0]) == "41.0 ± 1.0"


def test_numbers_are_aligned_to_the_right():
    frame = pd.DataFrame(
        {
            "seconds": ["4,640", "-"],
            "mean IU": ["41.6 ± 1.2", "not run"],
            "geometric acc.": ["-", "-"],
            "p": ["< 0.001", "0.05"],
            "images": ["2 of 3", "-"],
        },
        ["a", "b"],
    )
    rule = tables.markdown(frame).splitlines()[1]
    assert rule == "| :-- | --: | --: | --: | --: | :-- |"
