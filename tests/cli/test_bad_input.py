"""Every bad input of a training run: one sentence, a stable exit code, nothing lost."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ONLY_PROBE, unless_thorough
from tests.fork_server import ForkServer


def damaged(path: Path, *, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def write_bomb(path: Path, side: int = 20_000) -> None:
    Image.new("1", (side, side)).save(path)


# images -------------------------------------------------------------------------------------


def test_a_folder_that_does_not_exist(finetune_tiny, the_error, tmp_path):
    result = finetune_tiny(tmp_path / "nowhere")
    assert result.exit_code == 3
    assert "nowhere" in the_error(result)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere"],
        ["photos", "--test", "nowhere"],
        ["photos", "--out", "photos"],
        ["photos", "--offline"],
        ["photos", "--recipe", "nowhere"],
        ["photos", "--set", "train.epochs=3"],
        ["photos", "--backbone", "nowhere"],
    ],
)
def test_what_is_known_at_once_is_told_before_tensorflow_is_loaded(
    forked_cli: ForkServer, make_photos, tmp_path, arguments, monkeypatch
):
    make_photos(n=1).rename(tmp_path / "photos")
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "weights"))
    program = (
        "import sys\n"
        "from tltool.cli.main import app\n"
        "try: app(['finetune', *sys.argv[1:]])\n"
        "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules)"
    )
    result = forked_cli.run(program, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    code, loaded = result.stdout.split()
    assert int(code) in (2, 3, 5)
    assert loaded == "False"
    assert result.stderr.startswith("error: ")


def test_a_photos_argument_that_is_a_file(finetune_tiny, the_error, tmp_path):
    (tmp_path / "list.txt").write_text("x")
    result = finetune_tiny(tmp_path / "list.txt")
    assert result.exit_code == 3
    assert "list.txt" in the_error(result)


@pytest.mark.parametrize(
    ("name", "content", "output"),
    [
        ("photos.zip", "these are words", "not a zip or tar archive"),
        ("data.csv", "path,label\na.jpg,cat\nb.jpg,dog\n", "a.jpg in line 2, b.jpg in line 3"),
        ("data.csv", "photo,kind\n", "no column 'path' and no column 'label'"),
        (
            "train.csv",
            "label,pixel0,pixel1,pixel2,pixel3\n7,0,0,0,256\n",
            "line 2: pixel 3 is '256'",
        ),
    ],
)
def test_other_sources_that_cannot_be_used(
    tltool, the_error, tmp_path, untouched, name, content, output
):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / name).write_text(content)
    source = untouched(tmp_path / "given") / name
    arguments = ("--recipe", "scratch", "--out", "run")
    result = tltool("finetune", source, *arguments)
    assert result.exit_code == 3
    assert output in the_error(result)
    assert name in the_error(result)


def test_a_group_column_that_makes_a_split_impossible(finetune_tiny, the_error, make_photos):
    photos = make_photos(n=4)
    rows = [f"{path.relative_to(photos)},{path.parent.name}" for path in photos.rglob("*.jpg")]
    table = photos / "data.csv"
    groups = ["one" if row.endswith("cat") else f"dog {n}" for n, row in enumerate(rows)]
    lines = [f"{row},{group}" for row, group in zip(rows, groups, strict=True)]
    table.write_text("\n".join(["path,label,group", *lines]))
    result = finetune_tiny(table)
    assert result.exit_code == 3
    assert "'cat' has 1" in the_error(result)


def test_a_folder_that_may_not_be_read(finetune_tiny, the_error, make_photos):
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    photos = make_photos()
    (photos / "cat").chmod(0)
    result = finetune_tiny(photos)
    (photos / "cat").chmod(0o755)
    assert result.exit_code == 3
    assert "no permission to read" in the_error(result)


def test_an_empty_folder(finetune_tiny, the_error, tmp_path):
    (tmp_path / "void").mkdir()
    result = finetune_tiny(tmp_path / "void")
    assert result.exit_code == 3
    assert "void" in the_error(result)
    assert "no images" in the_error(result)


def test_photos_without_class_folders(finetune_tiny, the_error, make_photos, untouched):
    folder = untouched(make_photos(classes=("cat",)) / "cat")
    result = finetune_tiny(folder)
    assert result.exit_code == 3
    assert "not in class folders" in the_error(result)


def test_one_class_only(finetune_tiny, the_error, make_photos, untouched):
    result = finetune_tiny(untouched(make_photos(classes=("cat",))))
    assert result.exit_code == 3
    assert "'cat'" in the_error(result)


def test_a_class_with_fewer_images_than_splits(finetune_tiny, the_error, make_photos, untouched):
    photos = make_photos(n=6)
    make_photos(classes=("rare",), n=2, seed=7)
    result = finetune_tiny(untouched(photos), settings=("data.test_fraction=0.2",))
    assert result.exit_code == 3
    assert "'rare' has 2" in the_error(result)


def test_no_readable_image(finetune_tiny, the_error, make_photos, untouched):
    photos = make_photos(n=3)
    for path in photos.rglob("*.jpg"):
        path.write_text("these are words")
    result = finetune_tiny(untouched(photos), settings=("data.max_bad_fraction=1",))
    assert result.exit_code == 3
    assert "none of the 6 images" in the_error(result)


def test_all_files_corrupt_in_one_class(finetune_tiny, the_error, make_photos, untouched):
    photos = make_photos(n=4)
    for path in (photos / "dog").iterdir():
        damaged(path, keep=100)
    result = finetune_tiny(untouched(photos), settings=("data.max_bad_fraction=1",))
    assert result.exit_code == 3
    assert "'dog'" in the_error(result)


def test_more_bad_files_than_allowed(finetune_tiny, the_error, make_photos, untouched):
    photos = make_photos(n=6)
    for path in sorted((photos / "dog").iterdir())[:3]:
        damaged(path, keep=0)
    result = finetune_tiny(untouched(photos))
    assert result.exit_code == 3
    assert "3 of 12 files" in the_error(result)


def test_on_bad_fail_stops_at_one_bad_file(finetune_tiny, the_error, make_photos, untouched):
    photos = make_photos(n=12)
    damaged(photos / "cat" / "0_003.jpg", keep=0)
    result = finetune_tiny(untouched(photos), settings=("data.on_bad=fail",))
    assert result.exit_code == 3
    assert "0_003.jpg" in the_error(result)


def test_bad_files_among_good_ones_are_named_and_left_alone(
    finetune_tiny, make_photos, untouched, tmp_path
):
    photos = make_photos(n=8)
    (photos / "cat" / "empty.jpg").touch()
    (photos / "cat" / "words.jpg").write_text("these are words")
    write_bomb(photos / "dog" / "bomb.png")
    damaged(photos / "dog" / "0_000.jpg", keep=400)
    Image.open(photos / "cat" / "0_001.jpg").save(photos / "cat" / "really_png.jpg", format="PNG")
    (photos / "cat" / ".hidden.jpg").write_text("not looked at")
    result = finetune_tiny(untouched(photos), settings=("data.max_bad_fraction=0.5", *ONLY_PROBE))
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "run" / "data_issues.csv").open(encoding="utf-8") as file:
        used = {Path(row["path"]).name: row["used"] for row in csv.DictReader(file)}
    assert used == {
        "empty.jpg": "no",
        "words.jpg": "no",
        "bomb.png": "no",
        "0_000.jpg": "no",
        "really_png.jpg": "yes",
    }
    assert "4 files cannot be used" in result.stderr


def test_class_names_with_spaces_unicode_and_a_leading_dot(
    finetune_tiny, make_photos, untouched, tmp_path
):
    names = ("Große Hunde", "小猫 🐈", "it's [bold]", ".secret")
    photos = make_photos(classes=names, n=5)
    result = finetune_tiny(untouched(photos), settings=ONLY_PROBE)
    assert result.exit_code == 0, result.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    assert [row["name"] for row in metrics["per_class"]] == sorted(names[:3])
    for name in names[:3]:
        assert name in result.stdout


def test_a_test_folder_with_a_class_that_is_not_trained(
    finetune_tiny, the_error, make_photos, tmp_path
):
    other = make_photos(tmp_path / "other", classes=("cat", "fox"), n=2)
    result = finetune_tiny(make_photos(), "--test", other)
    assert result.exit_code == 3
    assert "'fox'" in the_error(result)


# recipe and names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("trian: {batch_size: 4}", "Did you mean 'train'?"),
        ("train: {batchsize: 4}", "Did you mean 'train.batch_size'?"),
        ("train: {batch_size: many}", "train.batch_size"),
        ("train: {batch_size: 0}", "train.batch_size"),
        ("train: {label_smoothing: 1.5}", "train.label_smoothing"),
        ("seed: .nan", "seed"),
        ("model: [vgg16]", "model"),
        ("- just\n- a list", "not a map"),
        ("train:\n\tbatch_size: 4", "tabs"),
        ("seed: 1\nseed: 2", "duplicate key 'seed'"),
        ("train: {cache: {views: 99}}", "train.cache.views"),
    ],
)
def test_a_wrong_recipe(tltool, make_photos, tmp_path, text, output):
    recipe = tmp_path / "my.yaml"
    recipe.write_text(text, encoding="utf-8")
    result = tltool("finetune", make_photos(), "--recipe", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert output in result.stderr
    assert result.stderr.startswith("error: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "output"),
    [
        (("--recipe", "vgg61"), "Did you mean 'vgg16'?"),
        (("--recipe", "no/such.yaml"), "no/such.yaml"),
        (("--backbone", "vgg15"), "Did you mean 'vgg1"),
        (("--set", "train.finetune.unfreeze=blok5"), "Did you mean 'block5'?"),
        (("--set", "nonsense"), "key=value"),
        (("--set", "train.epochs=3"), "unknown key 'train.epochs'"),
        (("--name", "../evil"), "name"),
    ],
)
def test_a_name_that_does_not_exist(tltool, the_error, make_photos, tmp_path, flags, output):
    result = tltool("finetune", make_photos(), "--out", tmp_path / "run", *flags)
    assert result.exit_code == 2
    assert output in the_error(result)
    assert not (tmp_path / "run").exists()


# weights ------------------------------------------------------------------------------------


def test_no_network_and_no_weights(tltool, make_photos, tmp_path, monkeypatch, the_error):
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "no_weights"))
    result = tltool("finetune", make_photos(), "--offline", "--out", tmp_path / "run")
    assert result.exit_code == 5
    assert "vgg16" in the_error(result)
    assert "tltool weights" in result.stderr
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize("content", [b"", b"these are words", b"\x89HDF\r\n\x1a\n" + bytes(64)])
def test_a_weights_file_that_is_none(finetune_tiny, the_error, make_photos, tmp_path, content):
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(content)
    result = finetune_tiny(make_photos(), "--weights", file)
    assert result.exit_code == 2
    assert "mine.weights.h5" in the_error(result)


def test_a_weights_file_that_does_not_exist(finetune_tiny, the_error, make_photos, tmp_path):
    result = finetune_tiny(make_photos(), "--weights", tmp_path / "gone.h5")
    assert result.exit_code == 2
    assert "gone.h5" in the_error(result)


def test_weights_of_another_backbone(finetune_tiny, the_error, make_photos, tmp_path):
    from tltool.models.backbone_registry import get_backbone
    from tltool.models.build import build_model

    other = build_model(
        get_backbone("tiny_resnet"),
        image_size=(32, 32),
        classes=2,
        head="gap",
        dropout=0.0,
        hidden_units=8,
        norm="none",
        weights=None,
        seed=0,
    )
    other.save_weights(tmp_path / "other.weights.h5")
    result = finetune_tiny(make_photos(), "--weights", tmp_path / "other.weights.h5")
    assert result.exit_code == 2
    assert "other.weights.h5" in the_error(result)


# folders and machine ------------------------------------------------------------------------


def test_an_output_folder_that_is_not_empty(
    finetune_tiny, the_error, make_photos, untouched, tmp_path
):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    untouched(tmp_path / "run")
    result = finetune_tiny(make_photos())
    assert result.exit_code == 2
    assert "is not empty" in the_error(result)


def test_an_output_folder_that_is_a_file(finetune_tiny, the_error, make_photos, tmp_path):
    (tmp_path / "run").write_text("years of work")
    result = finetune_tiny(make_photos())
    assert result.exit_code == 2
    assert "is a file" in the_error(result)
    assert (tmp_path / "run").read_text() == "years of work"


def test_an_output_folder_that_cannot_be_made(tltool, the_error, make_photos, tmp_path):
    (tmp_path / "file").write_text("x")
    flags = ("--recipe", "quick", "--out", tmp_path / "file" / "run")
    result = tltool("finetune", make_photos(), *flags)
    assert result.exit_code == 5
    assert "cannot be made" in the_error(result)


def test_the_same_command_works_after_a_typo_in_the_photos_folder(
    finetune_tiny, make_photos, tmp_path
):
    assert finetune_tiny(tmp_path / "nowhere").exit_code == 3
    result = finetune_tiny(make_photos(), settings=ONLY_PROBE)
    assert result.exit_code == 0, result.stderr


def test_a_gpu_that_is_not_there(finetune_tiny, the_error, make_photos, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    result = finetune_tiny(make_photos(), "--device", "gpu")
    assert result.exit_code == 5
    assert "GPU" in the_error(result)


@pytest.mark.thorough
def test_a_disk_without_room_for_the_cache(
    finetune_tiny, the_error, make_photos, tmp_path, monkeypatch, tltool
):
    tight = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: tight)
    result = finetune_tiny(make_photos(), settings=ONLY_PROBE)
    assert result.exit_code == 5
    assert "no space" in the_error(result)
    assert f"tltool runs resume {tmp_path / 'run'}" in result.stderr
    monkeypatch.undo()
    assert tltool("runs", "resume", tmp_path / "run").exit_code == 0


def test_a_disk_that_fills_up_while_the_cache_is_reserved(
    finetune_tiny, the_error, make_photos, tmp_path, monkeypatch, tltool
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    result = finetune_tiny(make_photos(), settings=ONLY_PROBE)
    assert result.exit_code == 5
    assert "no space" in the_error(result)
    assert f"tltool runs resume {tmp_path / 'run'}" in result.stderr
    monkeypatch.undo()
    assert tltool("runs", "resume", tmp_path / "run").exit_code == 0


def test_a_disk_that_fills_up_during_the_export(
    finetune_tiny, the_error, make_photos, tmp_path, monkeypatch
):
    import tensorflow as tf

    def full(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    settings = ("export.enabled=true", *ONLY_PROBE)
    result = finetune_tiny(make_photos(), settings=settings)
    assert result.exit_code == 5
    assert "disk" in the_error(result)
    assert list((tmp_path / "exports").rglob("*.pb")) == []
    assert (tmp_path / "run" / "model.keras").is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system of the size given, e.g. ``"64k"``."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("file systems may not be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", ["8k", "64k", "160k"])
def test_a_run_folder_on_a_full_disk(
    finetune_tiny, the_error, make_photos, small_disk, size, tmp_path
):
    out = ("--out", small_disk(size) / "run")
    result = finetune_tiny(make_photos(), *out, settings=("export.enabled=true",))
    assert result.exit_code == 5
    assert "disk" in the_error(result)
    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize("size", ["16k", "256k"])
def test_an_export_onto_a_full_disk(finetune_tiny, the_error, make_photos, small_disk, size):
    disk, settings = small_disk(size), ("export.enabled=true", *ONLY_PROBE)
    result = finetune_tiny(make_photos(), "--export-to", disk, settings=settings)
    assert result.exit_code == 5
    assert "disk" in the_error(result)
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_a_model_below_the_recipes_bar_is_not_exported(
    finetune_tiny, the_error, make_photos, tmp_path
):
    photos = make_photos(n=12)
    for cat in sorted((photos / "cat").iterdir()):
        # the same pictures under both names, as other bytes: nothing to learn
        (photos / "dog" / cat.name).write_bytes(cat.read_bytes() + b"dog")
    settings = ("evaluate.min_accuracy=1", "export.enabled=true", *ONLY_PROBE)
    result = finetune_tiny(photos, "--json", settings=settings)
    assert result.exit_code == 4
    assert "evaluate.min_accuracy" in the_error(result)
    assert not (tmp_path / "exports").exists()
    document = json.loads(result.stdout)
    assert document["run"] == str(tmp_path / "run") and document["export"] is None
    assert document["metrics"]["accuracy"]["value"] < 1
    assert document["error"]["exit_code"] == 4


def test_a_model_against_its_conditions_is_not_exported(
    finetune_tiny, the_error, make_photos, tmp_path
):
    conditions = ("--assert", "accuracy>=0", "--assert", "log_loss<=1e-9")
    settings = ("export.enabled=true", "evaluate.report=true", *ONLY_PROBE)
    result = finetune_tiny(make_photos(n=8), *conditions, settings=settings)
    assert result.exit_code == 4
    for output in (
        "accuracy ",
        "recall 95 %",
        "not met  log_loss<=1e-9",
    ):  # the results all the same
        assert output in result.stdout
    assert f"report  {tmp_path / 'run' / 'report.html'}" in result.stdout
    assert "log_loss<=1e-9 is not met" in the_error(result)
    assert not (tmp_path / "exports").exists()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    assert [row["passed"] for row in metrics["asserts"]] == [True, False]
    assert "log_loss<=1e-9" in (tmp_path / "run" / "recipe.yaml").read_text("utf-8")


@pytest.mark.thorough
def test_a_run_folder_whose_name_is_not_utf8(
    finetune_tiny, tltool, the_error, make_photos, tmp_path
):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    photos = make_photos(n=8)
    settings = ("export.enabled=true", *ONLY_PROBE)
    result = finetune_tiny(photos, "--out", odd, "--json", settings=settings)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["run"] == str(tmp_path) + r"/caf\udce9"
    (facts,) = (tmp_path / "exports").rglob("metadata.json")
    assert json.loads(facts.read_text("utf-8"))["run"] == r"caf\udce9"
    (exported,) = (tmp_path / "exports").iterdir()
    compared = tltool("compare", exported, odd)  # the export's run is found by its name
    assert "is given twice" in the_error(compared)


@pytest.mark.slow
def test_a_folder_whose_name_is_not_utf8(finetune_tiny, tltool, make_photos, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    for label in ("cat", "dog"):  # and so are folders below the classes, which make slices
        for part in (b"\xe9", b"\xe8"):
            folder = odd / label / os.fsdecode(part)
            make_photos(folder.parent, classes=[folder.name], n=12, seed=ord(part) + len(label))
    result = finetune_tiny(odd, "--json", settings=("data.validation_fraction=0.5", *ONLY_PROBE))
    assert result.exit_code == 0, result.stderr
    run = tmp_path / "run"
    program = (
        "import json, sys; text = json.dumps([json.load(open(path, encoding='utf-8')) "
        "for path in sys.argv[1:]], ensure_ascii=False); sys.stdout.buffer.write(text.encode())"
    )
    files = [run / "metrics.json", run / "manifest.json"]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, check=True)
    metrics, facts = json.loads(done.stdout)
    assert {row["value"] for row in metrics["slices"] if row["by"] == "folder"} == {
        r"\udce9",
        r"\udce8",
    }
    assert facts["options"]["data"] == str(tmp_path) + r"/caf\udce9"
    again = tltool("runs", "reproduce", run, "--out", tmp_path / "again", "--offline", "--json")
    assert json.loads(again.stdout)["verdict"] == "bit-identical", again.stderr


@pytest.mark.parametrize(
    ("condition", "output"),
    [
        ("accuracy>=1", "can never hold with --strict: no 95 %"),
        ("accuracy>=0.9", "the 95 % interval for 0 errors"),
    ],
)
def test_a_strict_condition_that_nothing_meets_is_refused_before_training(
    finetune_tiny, the_error, make_photos, tmp_path, condition, output
):
    result = finetune_tiny(make_photos(n=8), "--assert", condition, "--strict")
    assert result.exit_code == 2
    assert output in the_error(result)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("condition", "output"),
    [
        ("acuracy>=0.9", "Did you mean 'accuracy'?"),
        ("recall[dgo]>=0.9", "Did you mean 'dog'?"),
        ("accuracy", "is not a condition"),
    ],
)
def test_a_wrong_condition_is_told_before_training(
    finetune_tiny, the_error, make_photos, tmp_path, condition, output
):
    result = finetune_tiny(make_photos(), "--assert", condition)
    assert result.exit_code == 2
    assert output in the_error(result)
    assert "probe" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_strict_without_a_condition(finetune_tiny, the_error, make_photos):
    result = finetune_tiny(make_photos(), "--strict")
    assert result.exit_code == 2
    assert "evaluate.asserts" in the_error(result)


# Ctrl-C -------------------------------------------------------------------------------------


PHASES = ["audit", "model", "features", "probe", "head", "finetune", "evaluation", "export"]


@pytest.mark.slow
@pytest.mark.parametrize("phase", unless_thorough(PHASES, "finetune"))
def test_ctrl_c_in_each_phase_says_what_is_kept(
    finetune_tiny, the_error, make_photos, untouched, tmp_path, monkeypatch, phase, tltool
):
    from tltool.cli.terminal.progress import Display

    output = Display.on_phase

    def press_ctrl_c(display: Display, name: str, detail: str = "") -> None:
        output(display, name, detail)
        if name == phase:
            raise KeyboardInterrupt

    monkeypatch.setattr(Display, "on_phase", press_ctrl_c)
    photos = untouched(make_photos(n=4))
    settings = () if phase in ("head", "finetune") else ONLY_PROBE
    exported = f"export.enabled={json.dumps(phase == 'export')}"
    result = finetune_tiny(photos, settings=(exported, *settings))
    assert result.exit_code == 130
    assert f"tltool runs resume {tmp_path / 'run'}" in result.stderr
    assert not (tmp_path / "exports").exists()
    trained = (tmp_path / "run" / "model.keras").exists()
    assert trained == (phase == "export")
    monkeypatch.undo()
    assert tltool("runs", "resume", tmp_path / "run").exit_code == 0
    assert (tmp_path / "run" / "model.keras").is_file()


@pytest.mark.thorough
def test_no_label_is_called_wrong_by_features_that_tell_nothing(
    finetune_tiny, make_photos, tmp_path
):
    photos = make_photos(classes=("cat",), n=12)
    shutil.copytree(photos / "cat", photos / "dog")  # each image has both labels
    result = finetune_tiny(photos, settings=("evaluate.label_errors=true", *ONLY_PROBE))
    assert result.exit_code == 0, result.stderr
    assert "linear probe on the random features does no better" in result.stderr
    assert "no search for label errors: the weights are random" in result.stderr
    assert not (tmp_path / "run" / "label_errors.csv").exists()
