"""What TensorBoard and MLflow record of a run, read back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from tltool.errors import EnvironmentProblem, Interrupted, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.layout import RunLayout
from tltool.tracking.event_files import written_steps
from tltool.tracking.mlflow_store import public_uri
from tltool.tracking.observer import check_trackers, final_figures, tracked
from tltool.tracking.recipe_parameters import flattened

SETTINGS = (
    "name=two",
    "model.backbone=tiny_vgg",
    "model.weights=random",
    "train.finetune.unfreeze=block3",
    "train.head.epochs=2",
    "train.finetune.epochs=1",
    "train.probe.folds=2",
    "train.probe.c_values=[0.1, 1]",
    "train.cache=on",
    "augment.policy=none",
    "evaluate.label_errors=false",
    "evaluate.report=false",
    "export.enabled=false",
)
MEASURES = (
    "accuracy",
    "data_wait",
    "images_per_second",
    "learning_rate",
    "loss",
    "val_accuracy",
    "val_loss",
)


@dataclass
class RecordingObserver(SilentObserver):
    """Records epochs and warnings."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def on_epoch(self, epoch, epochs, metrics):
        self.epochs.append(dict(metrics))

    def on_message(self, text, *, level="info"):
        if level == "warning":
            self.warnings.append(text)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make MLflow store its runs in a folder for these tests."""
    uri = (tmp_path_factory.mktemp("mlflow") / "mlruns").as_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        for name in ("MLFLOW_EXPERIMENT_NAME", "TLTOOL_OFFLINE"):
            patch.delenv(name, raising=False)
        yield uri


@dataclass(frozen=True)
class Tracked:
    """A real run that both trackers recorded."""

    run: RunLayout
    metrics: dict
    recorded: RecordingObserver


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, store: str) -> Tracked:
    from tltool.workflows.finetune import finetune

    folder = tmp_path_factory.mktemp("tracked")
    for label, colour in {"red": (200, 30, 30), "green": (30, 200, 30)}.items():
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(8):
            shade = tuple(min(255, part + 3 * number) for part in colour)
            Image.new("RGB", (40, 40), shade).save(folder / "photos" / label / f"{number}.png")
    run, recorded = RunLayout(folder / "run"), RecordingObserver()
    result = finetune(
        folder / "photos",
        recipe=load_recipe("vgg16", SETTINGS),
        out=run.folder,
        track=["mlflow"],
        observer=recorded,
    )
    return Tracked(run, dict(result.metrics), recorded)


def tensorboard_of(run: RunLayout):
    """Return the event files as read by TensorBoard's own reader."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reading.EventAccumulator(str(run.folder / "tensorboard"))
    return accumulator.Reload()


def mlflow_of(run: RunLayout):
    """Return MLflow's client and its record of the run."""
    client = pytest.importorskip("mlflow").MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'tltool'")
    runs = client.search_runs([experiment.experiment_id])
    (logged,) = [one for one in runs if one.data.tags["tltool.run"] == str(run.folder)]
    return client, logged


def steps_of(run: RunLayout, tag: str) -> list[int]:
    return [event.step for event in tensorboard_of(run).Scalars(tag)]


def mlflow_steps_of(run: RunLayout, name: str) -> list[int]:
    client, logged = mlflow_of(run)
    return [metric.step for metric in client.get_metric_history(logged.info.run_id, name)]


def train(observer: Observer, epochs: range) -> None:
    observer.on_phase("head")
    for epoch in epochs:
        observer.on_epoch(epoch, 9, {"loss": 1 / epoch})


def test_the_trackers_of_a_real_run_give_no_warning(done: Tracked):
    assert done.recorded.warnings == []
    assert len(done.recorded.epochs) == 4


def test_tracking_changes_no_number(done: Tracked):
    from tltool.workflows.finetune import finetune

    recipe = load_recipe(str(done.run.recipe))
    folder = done.run.folder.parent
    result = finetune(folder / "photos", recipe=recipe, out=folder / "untracked", tensorboard=False)
    assert result.metrics == done.metrics


def test_tensorboard_has_every_metric_of_every_epoch(done: Tracked):
    tags = set(tensorboard_of(done.run).Tags()["scalars"])
    assert {f"{phase}/{name}" for phase in ("head", "finetune") for name in MEASURES} <= tags
    assert {"probe/val_loss", "probe/val_accuracy"} <= tags
    assert steps_of(done.run, "probe/val_loss") == [0]
    assert steps_of(done.run, "head/val_loss") == [1, 2]
    assert steps_of(done.run, "finetune/val_loss") == [1]
    values = [event.value for event in tensorboard_of(done.run).Scalars("head/val_loss")]
    assert values == pytest.approx([epoch["val_loss"] for epoch in done.recorded.epochs[1:3]])


def test_tensorboard_has_the_final_metrics_the_plots_and_the_recipe(done: Tracked):
    events = tensorboard_of(done.run)
    (accuracy,) = events.Scalars("final/accuracy")
    assert accuracy.value == pytest.approx(done.metrics["accuracy"]["value"])
    (table,) = events.Tensors("final")
    low = done.metrics["accuracy"]["low"]
    assert f"| accuracy_low | {low:.6g} |" in table.tensor_proto.string_val[0].decode()
    (plot,) = events.Images("plots/confusion_matrix")
    path = done.run.plots / "confusion_matrix.png"
    assert plot.encoded_image_string == path.read_bytes()
    with Image.open(path) as image:
        assert (plot.width, plot.height) == image.size
    (recipe,) = events.Tensors("recipe")
    assert b"    backbone: tiny_vgg\n" in recipe.tensor_proto.string_val[0]
    assert events.SummaryMetadata("recipe").plugin_data.plugin_name == "text"


def test_mlflow_has_the_recipe_as_parameters(done: Tracked):
    _, logged = mlflow_of(done.run)
    assert logged.data.params["model.backbone"] == "tiny_vgg"
    assert logged.data.params["train.head.epochs"] == "2"
    assert logged.data.params["augment.mixup"] == "null"


def test_mlflow_has_every_epoch_and_the_status(done: Tracked):
    client, logged = mlflow_of(done.run)
    history = client.get_metric_history(logged.info.run_id, "head/val_loss")
    assert [metric.step for metric in history] == [1, 2]
    expected = [epoch["val_loss"] for epoch in done.recorded.epochs[1:3]]
    assert [metric.value for metric in history] == pytest.approx(expected)
    assert logged.data.metrics["final/accuracy"] == done.metrics["accuracy"]["value"]
    assert logged.data.metrics["final/accuracy_low"] == done.metrics["accuracy"]["low"]
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == done.run.folder.name


def test_mlflow_has_the_files(done: Tracked):
    client, logged = mlflow_of(done.run)
    names = {entry.path for entry in client.list_artifacts(logged.info.run_id)}
    assert names == {"recipe.yaml", "metrics.json", "history.csv", "plots"}
    plots = {entry.path for entry in client.list_artifacts(logged.info.run_id, "plots")}
    assert plots == {f"plots/{path.name}" for path in done.run.plots.glob("*.png")}


@pytest.mark.parametrize("track", [[], ["mlflow"]])
def test_a_resumed_run_repeats_no_step(run: RunLayout, store: str, track: list[str]):
    with tracked(run, SilentObserver(), tensorboard=True, track=track) as observer:
        train(observer, range(1, 4))
    (events,) = (run.folder / "tensorboard").iterdir()
    # killed while writing: half a record at the end
    events.write_bytes(events.read_bytes()[:-7])
    with tracked(run, SilentObserver(), tensorboard=True, track=track) as observer:
        train(observer, range(2, 6))
    assert steps_of(run, "head/loss") == [1, 2, 3, 4, 5]
    if track:
        assert mlflow_steps_of(run, "head/loss") == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("socket_disabled")
def test_no_connection_is_opened(run: RunLayout, store: str):
    recorded = RecordingObserver()
    with tracked(run, recorded, tensorboard=True, track=["mlflow"]) as observer:
        train(observer, range(1, 2))
    assert recorded.warnings == []
    assert mlflow_steps_of(run, "head/loss") == [1]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (OSError("disk"), "FAILED")]
)
def test_mlflow_has_the_status_of_a_run_that_failed(
    run: RunLayout, store: str, error: BaseException, status: str
):
    with (
        pytest.raises(type(error)),
        tracked(run, SilentObserver(), tensorboard=False, track=["mlflow"]) as observer,
    ):
        train(observer, range(1, 3))
        raise error
    assert mlflow_of(run)[1].info.status == status


def test_nothing_is_written_for_a_run_without_an_epoch(run: RunLayout, store: str):
    before = sorted(run.folder.iterdir())
    with (
        pytest.raises(Interrupted),
        tracked(run, SilentObserver(), tensorboard=True, track=["mlflow"]) as observer,
    ):
        observer.on_phase("audit")
        raise Interrupted("stopped")
    assert sorted(run.folder.iterdir()) == before


def broken_tensorboard(run: RunLayout, patch: pytest.MonkeyPatch) -> None:
    (run.folder / "tensorboard").write_text("in the way")


def broken_mlflow(run: RunLayout, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MLFLOW_TRACKING_URI", (run.recipe / "mlruns").as_uri())


@pytest.mark.parametrize(
    ("breaks", "title"), [(broken_tensorboard, "TensorBoard"), (broken_mlflow, "MLflow")]
)
def test_a_failing_tracker_gives_one_warning_and_the_run_continues(
    run: RunLayout,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[RunLayout, pytest.MonkeyPatch], None],
    title: str,
):
    breaks(run, monkeypatch)
    recorded = RecordingObserver()
    with tracked(run, recorded, tensorboard=True, track=["mlflow"]) as observer:
        train(observer, range(1, 4))
    assert len(recorded.epochs) == 3
    (warning,) = recorded.warnings
    assert warning.startswith(f"{title} failed and is disabled; the run continues: ")


def test_tensorboard_writes_into_folders_whose_names_are_not_utf8(run: RunLayout):
    odd = Path(os.fsdecode(os.fsencode(run.folder.parent) + b"/caf\xe9"))
    try:
        run.folder.rename(odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    recorded = RecordingObserver()
    for epochs in (range(1, 3), range(2, 5)):  # the second one reads what the first has written
        with tracked(RunLayout(odd), recorded, tensorboard=True, track=[]) as observer:
            train(observer, epochs)
    assert recorded.warnings == []
    steps = [step for tag, step in written_steps(odd / "tensorboard") if tag == "head/loss"]
    assert sorted(steps) == [1, 2, 3, 4]


def test_no_tensorboard_means_none(run: RunLayout):
    with tracked(run, SilentObserver(), tensorboard=False, track=[]) as observer:
        train(observer, range(1, 3))
    assert not (run.folder / "tensorboard").exists()


def test_the_error_of_a_missing_mlflow_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(EnvironmentProblem) as problem:
        check_trackers(["mlflow"], offline=False)
    assert " install 'mlflow-skinny>=3'" in str(problem.value.hint)


def test_an_unknown_tracker_is_an_error():
    with pytest.raises(UsageError, match="Did you mean 'mlflow'"):
        check_trackers(["mlfow"], offline=False)


def test_a_tracking_server_is_an_error_offline(monkeypatch: pytest.MonkeyPatch, store: str):
    check_trackers(["mlflow"], offline=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    check_trackers(["mlflow"], offline=False)
    with pytest.raises(UsageError, match="offline"):
        check_trackers(["mlflow"], offline=True)
    monkeypatch.setenv("TLTOOL_OFFLINE", "1")
    with pytest.raises(UsageError, match="offline"):
        check_trackers(["mlflow"], offline=False)


def test_a_database_needs_the_full_mlflow_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(EnvironmentProblem, match="sqlite"):
        check_trackers(["mlflow"], offline=False)


def test_a_password_in_the_address_stays_out_of_the_run_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example:5000/a")
    assert public_uri() == "https://tracking.example:5000/a"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///data/mlruns")
    assert public_uri() == "file:///data/mlruns"


def test_metrics_and_parameters_are_flattened():
    metrics = {"n": 3, "accuracy": {"value": 0.5, "low": 0.1}, "probe": None, "rows": [[1]]}
    assert final_figures(metrics) == {
        "final/n": 3.0,
        "final/accuracy": 0.5,
        "final/accuracy_low": 0.1,
    }
    settings = {"name": "a", "train": {"ema": 0.5, "probe": {"c_values": [1, 2], "on": True}}}
    assert dict(flattened(settings)) == {
        "name": "a",
        "train.ema": "0.5",
        "train.probe.c_values": "[1, 2]",
        "train.probe.on": "true",
    }


def test_checking_trackers_loads_neither_tensorflow_nor_mlflow():
    program = (
        "import sys; from tltool.tracking.observer import check_trackers;"
        "check_trackers(['mlflow', 'wandb'], offline=True);"
        "sys.exit(bool({'tensorflow', 'mlflow', 'wandb', 'pandas'} & set(sys.modules)))"
    )
    pytest.importorskip("mlflow")
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
