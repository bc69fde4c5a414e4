"""Wrong arguments of every command are refused before TensorFlow is imported."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tltool.cli.main import app
from tltool.data.corrections.corrections_file import CorrectionsFile
from tltool.data.corrections.decision import Decision

# one process for all, as the import of the command line takes most of the time of a case
PROGRAM = """
import contextlib, io, json, sys
from tltool.cli.main import app
results = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(arguments)
        except SystemExit as end:
            code = end.code
    loaded = [name for name in ("tensorflow", "keras") if name in sys.modules]
    results.append([code, err.getvalue(), loaded])
    if loaded:
        break
json.dump(results, sys.stdout)
"""

# Arguments: exit code, and what the message names. Folders: photos (ants, bees), void (empty),
# run and export (of a model that knows ants and bees), wasps (photos of two other classes).
CASES = {
    "finetune nowhere": (3, "nowhere"),
    "finetune void": (3, "void"),
    "finetune photos --assert recall[wasps]>=0.5": (2, "wasps"),
    "finetune photos --assert foo>=0.5": (2, "foo"),
    "finetune photos --backbone nowhere": (2, "nowhere"),
    "finetune photos --backbone nowhere.keras": (2, "nowhere.keras"),
    "finetune photos --backbone photos/ants": (2, "is a folder"),
    "finetune photos --recipe nowhere": (2, "nowhere"),
    "finetune photos --backbone auto --weights nowhere.h5": (2, "--weights nowhere.h5"),
    "finetune photos --backbone auto --set model.weights=random": (2, "model.weights random"),
    "finetune photos --backbone auto --kfold 2": (2, "model.backbone is auto"),
    "finetune photos --backbone auto --find-lr": (2, "model.backbone is auto"),
    "finetune photos --backbone auto --budget 2": (2, "--budget 2: expected a time"),
    "finetune photos --budget 2m": (2, "--budget limits the choice of the backbone"),
    "finetune nowhere --backbone auto": (3, "nowhere"),
    "finetune photos --backbone auto --set train.finetune.unfreeze=nothing": (2, "no stage"),
    "finetune photos --weights nowhere.h5": (2, "nowhere.h5"),
    "finetune photos --set model.weights=nowhere.h5": (2, "nowhere.h5"),
    "finetune photos --test nowhere": (3, "nowhere"),
    "finetune s3://me:secret@bucket/x": (2, "a password or a signature"),
    "predict run wds:s3://bucket/x.tar": (5, "there is no copy of wds:s3://bucket/x.tar"),
    "data check ftp://host/photos": (3, "ftp://host/photos is an address (URL) that is not read"),
    "finetune photos --kfold 2 --assert recall[wasps]>=0.5": (2, "wasps"),
    "finetune photos --fold 9/3": (2, "no fold 9 of 3"),
    "finetune nowhere --find-lr": (3, "nowhere"),
    "finetune photos --corrections nowhere.csv": (2, "nowhere.csv"),
    "finetune photos --corrections corrections.csv": (3, "the label 'wasps', which is no class"),
    "recipes run quick photos --corrections corrections.csv": (3, "the label 'wasps', which is no"),
    "recipes sweep quick photos --corrections corrections.csv": (3, "the label 'wasps', which is"),
    "predict photos/ants/0_000.jpg run": (3, "the model comes first: run photos/ants/0_000.jpg"),
    "predict photos photos": (3, "photos"),
    "predict nowhere photos": (2, "nowhere"),
    "predict void photos": (3, "void"),
    "predict run nowhere": (3, "nowhere"),
    "predict run void": (3, "void"),
    "predict export void nowhere": (3, "void"),
    "finetune photos --cluster ray://head:10001": (2, "ray job submit"),
    "finetune photos --cluster head": (2, "--cluster head: expected auto, or HOST:PORT"),
    "finetune photos --cluster auto --workers 2": (2, "leave out one of them"),
    "finetune photos --workers 0": (2, "--workers"),
    "predict run photos --cluster head": (2, "HOST:PORT"),
    "predict run photos --pixels 3by4": (2, "3by4"),
    "evaluate photos export": (3, "the model comes first: export photos"),
    "evaluate nowhere photos": (2, "nowhere"),
    "evaluate run nowhere": (3, "nowhere"),
    "evaluate run void": (3, "void"),
    "evaluate run wasps": (3, "wasps"),
    "evaluate run photos --assert recall[wasps]>=0.5": (2, "wasps"),
    "evaluate export photos --assert recall[wasps]>=0.5": (2, "wasps"),
    "evaluate run photos --split test": (2, "test"),
    "evaluate export photos --split validation": (2, "export"),
    "explain photos/ants/0_000.jpg run": (3, "the model comes first"),
    "explain nowhere photos": (2, "nowhere"),
    "explain run nowhere": (3, "nowhere"),
    "explain run void": (3, "void"),
    "explain run photos --class wasps": (2, "wasps"),
    "explain run photos --out photos/ants/0_000.jpg": (2, "0_000.jpg"),
    "compare run": (2, "two runs"),
    "compare nowhere run": (2, "nowhere"),
    "compare photos void": (3, "photos"),
    "compare nowhere --backbones vgg16": (3, "nowhere"),
    "compare photos --backbones nowhere": (2, "nowhere"),
    "compare photos --backbones vgg16 --cluster head": (2, "HOST:PORT"),
    "compare run run --workers 2": (2, "--cluster need --backbones"),
    "learning-curve nowhere": (3, "nowhere"),
    "learning-curve photos --backbone nowhere": (2, "nowhere"),
    "learning-curve photos --backbone nowhere.keras": (2, "nowhere.keras"),
    "compare photos --backbones nowhere.keras": (2, "nowhere.keras"),
    "monitor nowhere photos": (2, "nowhere"),
    "monitor photos export": (3, "the model comes first: export photos"),
    "monitor run nowhere": (3, "nowhere"),
    "monitor run void": (3, "void"),
    "monitor run photos --assert foo<=0.2": (2, "foo"),
    "monitor run photos --assert drift<=-1": (2, "can never hold"),
    "monitor run photos --labels nowhere.csv": (2, "nowhere.csv"),
    "monitor run predicted.csv --pixels 3x4": (2, "--pixels has no effect on 'predicted.csv'"),
    "monitor run predicted.csv --trust": (2, "--trust has no effect on 'predicted.csv'"),
    "export nowhere": (2, "nowhere"),
    "export photos": (3, "photos"),
    "export export": (3, "export"),
    "export run --format nowhere": (2, "nowhere"),
    "export run --data nowhere": (3, "nowhere"),
    "export --check nowhere": (2, "nowhere"),
    "export --check void": (3, "void"),
    "serve nowhere": (2, "nowhere"),
    "serve void": (3, "void"),
    "serve photos": (3, "photos"),
    "serve export --canary 10%": (2, "--canary needs --shadow"),
    "serve export --canary 0.1 --shadow export": (2, "--canary '0.1'"),
    "serve export --keep-sample all": (2, "--keep-sample 'all'"),
    "serve export --shadow nowhere": (2, "nowhere"),
    "serve export --sample-folder x": (2, "--sample-folder needs --keep-sample"),
    "promote nowhere --to export": (2, "nowhere"),
    "promote export --to void": (2, "void"),
    "preview nowhere": (3, "nowhere"),
    "preview photos --recipe nowhere": (2, "nowhere"),
    "preview photos --rank --recipe nowhere": (2, "nowhere"),
    "demo --out photos/ants/0_000.jpg": (2, "0_000.jpg"),
    "cluster check --cluster nowhere": (2, "nowhere"),
    "cluster check --workers 1 --folder nowhere": (2, "nowhere"),
    "cluster manifest nowhere": (2, "nowhere"),
    "cluster manifest slurm --command 'finetune x --workers 2'": (2, "leave out --cluster"),
    "data check nowhere": (3, "nowhere"),
    "data check photos --cluster ray://head:10001": (2, "ray job submit"),
    "data apply-corrections photos --corrections nowhere.csv --write x": (2, "nowhere.csv"),
    "data apply-corrections photos --corrections corrections.csv --write run": (2, "not empty"),
    "data apply-corrections photos --corrections corrections.csv --write x --add nowhere": (
        3,
        "nowhere",
    ),
    "data split nowhere": (3, "nowhere"),
    "data split void": (3, "void"),
    "review nowhere": (3, "nowhere"),
    "review photos --data void": (2, "'photos' is no run"),
    "review photos --import nowhere.json": (2, "nowhere.json"),
    "review photos --export corrections.csv": (2, "'corrections.csv' exists"),
    "review photos --export x.json --import corrections.csv": (2, "leave out one of them"),
    "review photos --export x.xml": (2, "'x.xml' is the name of the labelling interface"),
    "review photos --format fiftyone": (2, "--format needs --export"),
    "review photos --import corrections.csv --queue mistakes": (2, "leave out --queue"),
    "review photos --suggestions nowhere.csv": (2, "nowhere.csv"),
    "review photos --suggestions corrections.csv": (3, "no file of suggestions"),
    "suggest photos --run nowhere": (2, "nowhere"),
    "suggest void --run run": (3, "void"),
    "suggest photos --run run --output run/split.csv": (2, "split.csv"),
    "recipes show nowhere": (2, "nowhere"),
    "recipes copy nowhere x.yaml": (2, "nowhere"),
    "recipes validate nowhere": (2, "nowhere"),
    "recipes diff nowhere vgg16": (2, "nowhere"),
    "recipes run vgg16 nowhere": (3, "nowhere"),
    "recipes sweep vgg16 nowhere": (3, "nowhere"),
    "recipes sweep quick photos --workers 2 --cluster auto": (2, "leave out one of them"),
    "runs list nowhere": (2, "nowhere"),
    "runs show nowhere": (2, "nowhere"),
    "runs resume nowhere": (2, "nowhere"),
    "runs resume nowhere --cluster head": (2, "HOST:PORT"),
    "runs reproduce nowhere": (3, "nowhere"),
    "runs reproduce void": (3, "void"),
    "runs reproduce run --weights nowhere.h5": (2, "nowhere.h5"),
    "runs pack nowhere": (2, "nowhere"),
    "runs rm nowhere": (2, "nowhere"),
    "runs prune nowhere": (2, "nowhere"),
    "weights pull nowhere": (2, "nowhere"),
    "weights import photos/ants/0_000.jpg vgg16": (2, "import vgg16 photos/ants/0_000.jpg"),
    "weights import vgg16 nowhere.h5": (2, "nowhere.h5"),
    "backbones show nowhere": (2, "nowhere"),
    "samples digits --out photos": (2, "photos"),
}
WITHOUT_NAMES = {"recipes list", "recipes schema", "weights list", "backbones list"}


@pytest.fixture
def places(make_photos: Any, tmp_path: Path) -> Path:
    """Return a folder with images, and what a run and an export look like from outside."""
    make_photos(tmp_path / "photos", n=2, classes=("ants", "bees"))
    make_photos(tmp_path / "wasps", n=2, classes=("wasps", "flies"))
    decision = Decision("0" * 64, "1.jpg", "relabel", "ants", "wasps")
    CorrectionsFile(tmp_path / "corrections.csv").append([decision])
    (tmp_path / "predicted.csv").write_text("predicted_by,class_1,probability_1\n")
    (tmp_path / "void").mkdir()
    (tmp_path / "run").mkdir()
    description = {"format_version": 1, "class_names": ["ants", "bees"]}
    (tmp_path / "run" / "artifact.json").write_text(json.dumps(description))
    (tmp_path / "run" / "model.keras").touch()
    (tmp_path / "run" / "split.csv").write_text("path,label,split,sha256,group\n")
    assets = tmp_path / "export" / "1" / "assets"
    assets.mkdir(parents=True)
    (assets / "class_names.json").write_text('["ants", "bees"]')
    (assets.parent / "saved_model.pb").touch()
    return tmp_path


def test_wrong_arguments_are_refused_before_tensorflow_is_imported(places):
    arguments = [shlex.split(case) for case in CASES]
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=places,
        env={**os.environ, "TLTOOL_OFFLINE": "1"},
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(process.stdout)
    wrong = [
        (case, *result)
        for (case, (code, named)), result in zip(CASES.items(), results, strict=False)
        if result[0] != code or named not in result[1] or result[2]
    ]
    assert not wrong
    assert len(results) == len(CASES)


def test_every_command_has_a_wrong_argument_above():
    def names(group: Any, prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, command in group.commands.items():
            inner = hasattr(command, "commands")
            found |= names(command, f"{name} ") if inner else {prefix + name}
        return found

    covered = {
        name
        for name in names(get_command(app))
        if any(f"{case} ".startswith(f"{name} ") for case in CASES)
    }
    assert names(get_command(app)) - covered == WITHOUT_NAMES
