"""The jobs that the graph derives from the catalogue, the data and the records."""

import re
import shlex
from pathlib import Path

import graph
import pytest
import yaml

from fcn.pretrained import PRETRAINED
from fcn.replication import released, run
from fcn.replication.catalogue import EXPERIMENTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(monkeypatch, tmp_path):
    """A folder without data and weights, with the committed records."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)


def built(**config):
    return graph.Graph({"data": "data", "weights": "data/weights"} | config)


def test_records_have_the_names_that_runs_give_them():
    for name, found in built(seeds=2).runs.items():
        assert name == run.name(found.experiment, found.seed)


def test_only_runs_without_a_record_have_a_rule():
    stems = [run.name(e, 0) for e in EXPERIMENTS.values()]
    has_record = {stem for stem in stems if (ROOT / "results" / f"{stem}.json").is_file()}
    g = built()
    assert {stem for stem in stems if not re.fullmatch(g.open_stems, stem)} == has_record
    assert len(has_record) > 20
    done = graph.Graph({"experiments": "recorded"})
    assert {Path(path).stem for path in done.records()} == has_record


def test_committed_records_count_for_another_folder_too_but_not_for_smoke_runs():
    name = "sift-flow-googlenet-8s-tuned"
    assert built(results="other", experiments=name).records() == [f"results/{name}.seed0.json"]
    (smoke,) = built(smoke=True, experiments=name).records()
    assert smoke == f"runs/smoke/results/{name}.seed0.demonstration.json"


def test_start_is_the_edge_and_data_and_weights_are_fetched_only_if_missing(tmp_path):
    first, second = "voc-vgg16-32s.seed1", "voc-vgg16-16s.seed1"
    g = built(seeds=2)
    marks = [f"runs/fetched/{unit}.txt" for unit in ("voc2012", "sbd")]
    assert g.inputs(first) == [*marks, "runs/fetched/vgg16.txt"]
    assert g.inputs(second) == [f"results/{first}.json", *marks]
    for folder in ("pascal/VOCdevkit/VOC2012", "sbd/benchmark_RELEASE", "weights"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data/weights/VGG_ILSVRC_16_layers.caffemodel").touch()
    assert g.inputs(first) == []


def test_every_data_set_but_the_subset_and_the_scenes_can_be_fetched():
    g = built()
    without = {e.dataset for e in EXPERIMENTS.values() if not g.data_of(e)}
    assert without == {"voc-subset", "scenes"}
    for script, _ in graph.FETCHED.values():
        assert (ROOT / "data_scripts" / script.split()[0]).is_file()


def test_scoring_a_released_net_needs_no_training_photos(tmp_path):
    g = built()
    for net, (name, experiment) in graph.RELEASED.items():
        dataset = EXPERIMENTS[experiment].dataset
        assert EXPERIMENTS[experiment].purpose == "final"  # another is scored on training photos
        [unit] = [u for u in graph.FETCHED if dataset.replace("voc", "voc2012").startswith(u)]
        assert g.released_inputs(net) == [f"runs/fetched/{one}.txt" for one in (name, unit)]
    (tmp_path / "data/pascal/VOCdevkit/VOC2012").mkdir(parents=True)
    assert g.released_inputs("fcn8s-heavy-pascal") == ["runs/fetched/voc-fcn8s.txt"]


def test_weights_are_those_that_the_package_and_the_scripts_know():
    import imagenet_weights
    import reference_weights

    for net, (name, file) in graph.IMAGENET.items():
        assert file == PRETRAINED[net] == imagenet_weights.WEIGHTS[name].name
    assert graph.RELEASED.keys() == released.REFERENCES.keys()
    for net, (name, experiment) in graph.RELEASED.items():
        assert reference_weights.FILES[name] == net
        assert EXPERIMENTS[experiment].dataset == released.REFERENCES[net].dataset


def test_tables_have_the_records_of_their_rows():
    table = built().records(table="Table 5")
    assert "results/sift-flow-vgg16-16s.seed0.json" in table
    assert all(
        (EXPERIMENTS[Path(path).name.split(".")[0]].paper or "")[0] == "Table 5" for path in table
    )


def test_a_chapter_gets_the_parameters_that_it_declares_and_trains_nothing():
    names = graph.chapters()
    assert len(names) == len(list(Path(graph.__file__).parents[1].glob("book/[0-9]*.py")))
    sources = {name: (ROOT / "book" / f"{name}.py").read_text() for name in names}
    assert graph.CHAPTERS.keys() == {name for name in names if "records()" in sources[name]}
    for config in ({}, {"experiments": "recorded"}, {"experiments": "voc-vgg16-32s"}):
        g = built(**config)
        for name, source in sources.items():
            command = g.chapter(name, "out.ipynb").split(" -r ")
            given = {part.split()[0] for part in command[1:]}
            assert all(f"\n{key} = " in source for key in given)
            if "\nexperiments = " in source and "preset paper" in command:
                assert "experiments" in given  # empty would mean all
                assert "experiments ''" not in command
                offered = re.search(r'offered=((?:\s*r?"[^"]*")+),', source)[1]
                pattern = "".join(re.findall('"([^"]*)"', offered))
                asked = next(part for part in command if part.startswith("experiments "))
                assert all(re.fullmatch(pattern, one) for one in shlex.split(asked)[1].split())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sedes": 2}, 'no setting "sedes"'),
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": "two"}, "a whole number"),
        ({"smoke": "yes"}, "true or false"),
        ({"experiments": "voc-vgg16-32"}, "did you mean voc-vgg16-32s"),
    ],
)
def test_wrong_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        built(**config)


def test_profiles_keep_going_and_rerun_by_file_time_only():
    profiles = {path.parent.name: path for path in ROOT.glob("workflow/profiles/*/config.yaml")}
    assert profiles.keys() == {"laptop", "slurm", "kubernetes"}
    for name, path in profiles.items():
        profile = yaml.safe_load(path.read_text())
        assert profile["keep-going"] is profile["rerun-incomplete"] is True
        assert profile["rerun-triggers"] == ["mtime"]
        assert profile.get("executor", "laptop") == name
