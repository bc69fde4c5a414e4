"""tltool data check: data sets with every kind of problem, and a clean one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ONLY_PROBE, PhotoMaker
from tests.data.samples import SAMPLES, animation, encode, good_files, other_formats, tiles
from tests.data.test_duplicates import COPIES, scene

pytestmark = pytest.mark.usefixtures("no_weights")


TWELVE_BITS = np.arange(80 * 80, dtype=np.uint16).reshape(80, 80) % 4096


def found(result: Any) -> dict[str, set[str]]:
    """Return the kinds of findings by file name, from the JSON document."""
    kinds: dict[str, set[str]] = {}
    for finding in json.loads(result.stdout)["findings"]:
        for path in (finding["path"], *finding["related"]):
            kinds.setdefault(Path(path).name if path else "", set()).add(finding["kind"])
    return kinds


def write(root: Path, label: str, files: dict[str, bytes]) -> None:
    (root / label).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (root / label / name).write_bytes(data)


def test_every_bad_file_is_found_and_no_good_file_is_rejected(
    tltool: Callable[..., Any], tmp_path: Path, untouched: Callable[[Path], Path]
) -> None:
    root = tmp_path / "photos"
    good = good_files() | other_formats()
    write(root, "a", {name: data for n, (name, data) in enumerate(good.items()) if n % 2})
    write(root, "b", {name: data for n, (name, data) in enumerate(good.items()) if not n % 2})
    bad = {"zero.jpg": b"", "text.png": b"no image at all " * 9}
    cut = {
        f"cut {tenth} {name}": data[: len(data) * tenth // 10]
        for name, data in good.items()
        for tenth in range(10)
    }
    bad |= cut
    write(root, "a", bad)
    result = tltool("data", "check", untouched(root), "--json", "--out", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    serious = {
        Path(finding["path"]).name
        for finding in document["findings"]
        if finding["severity"] == "serious" and finding["path"] and not finding["related"]
    }
    assert serious == set(bad)
    assert document["usable"] == len(good)
    kinds = found(result)
    assert {name: kinds[name] for name in cut} == {
        name: {"damaged" if data else "empty"} for name, data in cut.items()
    }
    assert kinds["zero.jpg"] == {"empty"}
    assert kinds["text.png"] == {"not an image"}
    for name in ("jpeg cmyk.jpg", "jpeg ycck.jpg", "CMYK.tif"):
        assert "CMYK" in kinds[name]
    for name in ("grey 16.png", "grey 16.tif", "colour 16.png"):
        assert "16 bit" in kinds[name]
    for name in ("png alpha.png", "LA.tif", "pa.tif", "webp alpha.webp", "gif transparent.gif"):
        assert "transparent" in kinds[name]
    assert {"EXIF orientation" in kinds.get(f"turned {n}.jpg", set()) for n in range(2, 9)} == {
        True
    }
    assert "EXIF orientation" not in kinds.get("turned 1.jpg", set())
    assert "animated" in kinds["gif animated.gif"]


def test_unusual_files_are_reported(tltool: Callable[..., Any], make_photos: PhotoMaker) -> None:
    root = make_photos(n=3, size=80)
    files = {
        "png.jpg": (SAMPLES["png"](), "wrong extension"),
        "wide.png": (encode(tiles(400, 60, seed=1), "PNG"), "extreme aspect"),
        "icon.png": (encode(tiles(40, 40, seed=2), "PNG"), "tiny"),
        "large.png": (encode(Image.new("L", (5000, 4100)), "PNG"), "huge"),
        "ct.png": (encode(Image.fromarray(TWELVE_BITS), "PNG"), "almost black"),
        "stack.tif": (animation(tiles(seed=3), "TIFF"), "several pages"),
        "bomb.png": (encode(Image.new("1", (20_000, 20_000)), "PNG"), "too many pixels"),
    }
    write(root, "cat", {name: data for name, (data, _) in files.items()})
    kinds = found(tltool("data", "check", root, "--json"))
    for name, (_, kind) in files.items():
        assert kind in kinds[name]
    assert set(kinds) <= {*files, ""}


def planted(root: Path) -> dict[str, str]:
    """Write 60 scenes with a copy each: in its class, in another, and in another split."""
    places = {"near": "train/a", "conflict": "train/b", "leak": "val/a"}
    images, expected = {}, {}
    kinds = [kind for kind in COPIES if kind != "exact"] + ["exact"]
    for n in range(60):
        what = list(places)[n % 3]
        kind = kinds[n // 3 % len(kinds)]
        images[f"train/a/{n}.jpg"] = scene(n)
        images[f"{places[what]}/{n} {kind}.jpg"] = COPIES[kind](scene(n))
        expected[f"{n} {kind}.jpg"] = what
    images["val/b/x.jpg"], images["train/b/y.jpg"] = scene(1000), scene(1001)
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name, quality=90)
    return expected


def test_planted_duplicates_conflicts_and_leakage_are_found(
    tltool: Callable[..., Any], tmp_path: Path
) -> None:
    expected = planted(tmp_path / "photos")
    result = tltool("data", "check", tmp_path / "photos", "--json", "--strict")
    assert result.exit_code == 3
    kinds = found(result)
    expected_kinds = {
        "near": {"near duplicate", "exact duplicate"},
        "conflict": {"label conflict"},
        "leak": {"data leakage"},
    }
    right = [
        name for name, what in expected.items() if kinds.get(name, set()) & expected_kinds[what]
    ]
    assert len(right) >= 0.95 * len(expected), sorted(set(expected) - set(right))
    for cluster in json.loads(result.stdout)["duplicates"]:
        assert len({Path(name).stem.split()[0] for name in cluster["files"]}) == 1


def differing(root: Path, *, quality: int, n: int = 40) -> Path:
    """Write two classes of the same scenes that differ in the JPEG quality of their files."""
    for seed in range(2 * n):
        label, chosen = ("cat", 95) if seed % 2 else ("dog", quality)
        path = root / label / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(seed, (96, 96)).save(path, quality=chosen)
    return root


def test_a_property_that_predicts_the_class_is_reported(
    tltool: Callable[..., Any], tmp_path: Path
) -> None:
    root = differing(tmp_path / "photos", quality=50)
    result = tltool("data", "check", root, "--json")
    document = json.loads(result.stdout)
    named = {each["name"]: each for each in document["shortcuts"]}
    assert named["JPEG quality"]["is_shortcut"]
    assert named["JPEG quality"]["accuracy"] == 1
    assert named["JPEG quality"]["p_value"] == 0.01
    assert not named["mean colour"]["is_shortcut"]
    assert "width" not in named
    (shortcut,) = [f for f in document["findings"] if f["kind"].startswith("shortcut")]
    assert shortcut["kind"] == "shortcut: file size, JPEG quality"
    assert "the model may learn the file size instead of the object" in shortcut["detail"]
    assert shortcut["detail"].endswith("; also JPEG quality 100%")


def test_equal_properties_in_all_classes_are_no_shortcut(
    tltool: Callable[..., Any], tmp_path: Path
) -> None:
    root = differing(tmp_path / "photos", quality=95)
    result = tltool("data", "check", root, "--strict")
    assert result.exit_code == 0, result.stdout
    assert "shortcuts        ok" in result.stdout


def test_problems_of_classes_are_reported(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(classes=("red deer", "Red_Deer", "fox"), n=24)
    make_photos(root, classes=("owl",), n=2, seed=1)
    make_photos(root, classes=("bat",), n=8, seed=2)
    (root / "elk").mkdir()
    (root / "elk" / "x.jpg").write_bytes(b"")
    document = json.loads(tltool("data", "check", root, "--json").stdout)
    details = {finding["kind"]: finding["detail"] for finding in document["findings"]}
    assert details["similar class names"].startswith("the class names 'Red_Deer' and 'red deer'")
    assert "'owl' has 2 different images" in details["class too small"]
    assert "'bat' has only 8" in details["small class"]
    assert "a ratio of 12.0" in details["class imbalance"]
    assert "'elk'" in details["class without images"]
    assert document["classes"]["counts"] == {
        "Red_Deer": 24,
        "fox": 24,
        "red deer": 24,
        "bat": 8,
        "owl": 2,
    }


@pytest.mark.parametrize(
    ("size", "recommended"), [((64, 64), "squash"), ((96, 72), "crop"), ((144, 60), "pad")]
)
def test_the_aspect_ratio_decides_the_recommendation(
    size: tuple[int, int], recommended: str, tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(n=3, size=size)
    result = tltool("data", "check", root)
    assert f"--set data.resize={recommended}" in result.stdout


def test_the_report_is_one_file_and_the_table_has_a_row_for_each_finding(
    tltool: Callable[..., Any], tmp_path: Path, make_photos: PhotoMaker
) -> None:
    root = make_photos(n=24, size=80)
    (root / "cat" / "<b>evil, one.jpg").write_bytes(b"")
    (root / "dog" / "copy.jpg").write_bytes((root / "cat" / "0_000.jpg").read_bytes())
    result = tltool("data", "check", root)
    assert result.exit_code == 0
    page = Path("data_check/photos/data_report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;evil" in page
    assert "<b>evil" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg;base64,") >= 2
    with Path("data_check/photos/data_issues.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["path"]).name, row["kind"]) for row in rows[:2]] == [
        ("<b>evil, one.jpg", "empty"),
        ("0_000.jpg", "label conflict"),
    ]
    assert all(row["detail"] and row["suggestion"] for row in rows)


def test_a_folder_without_a_readable_image_gets_a_report(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(n=2)
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"")
    result = tltool("data", "check", root, "--strict")
    assert result.exit_code == 3
    assert "4 empty" in result.stdout
    assert "no usable image" in result.stdout


def test_a_missing_source_is_one_sentence(
    tltool: Callable[..., Any], tmp_path: Path, the_error: Callable[[Any], str]
) -> None:
    result = tltool("data", "check", tmp_path / "nowhere", "--json")
    assert result.exit_code == 3
    assert "there is no folder" in the_error(result)


@pytest.mark.thorough
@pytest.mark.photos
@pytest.mark.pretrained
@pytest.mark.slow
def test_features_find_rotated_copies_and_are_cached(
    tltool: Callable[..., Any],
    photos_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TLTOOL_DATA_DIR", str(tmp_path / "cache"))
    for n, path in enumerate(sorted((photos_dir / "hymenoptera").rglob("*.jpg"))[:8]):
        photo = Image.open(path).convert("RGB")
        edge = photo.width // 32
        turned = photo.rotate(2, Image.Resampling.BICUBIC)
        cut = turned.crop((edge, edge, photo.width - edge, photo.height - edge))
        for label, image in (("a", photo), ("b", cut)):
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "photos" / label / f"{n}.jpg", quality=90)
    for _ in range(2):
        document = json.loads(tltool("data", "check", tmp_path / "photos", "--json").stdout)
        assert document["network"] == "vgg16"
        clusters = [{Path(name).name for name in c["files"]} for c in document["duplicates"]]
        assert all(len(names) == 1 for names in clusters)
        assert len(clusters) >= 6
        monkeypatch.setattr("tltool.models.build.build_model", None)  # the features are cached now


def test_unusual_folders_are_one_line_of_the_summary(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(n=3)
    for path in (root / "cat").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.jpg"))
        Image.new("RGB", (64, 64)).save(path)
    result = tltool("data", "check", root, "--offline")
    assert "folders          warning  1 masks" in result.stdout
    assert "3 segmentation masks such as this one are not used" in result.stderr


def test_a_single_class_is_serious(tltool: Callable[..., Any], make_photos: PhotoMaker) -> None:
    result = tltool("data", "check", make_photos(classes=("cat",), n=3, size=80), "--strict")
    assert result.exit_code == 3
    assert "1 class of 3 images; only one class" in result.stdout


def test_tiny_images_are_only_compared_by_their_bytes(
    tltool: Callable[..., Any], tmp_path: Path
) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    columns = ["label", *(f"pixel{n}" for n in range(64))]
    rows = [
        [label, *map(int, 255 * pixels / 16)]
        for pixels, label in zip(digits.data[:200], digits.target[:200], strict=True)
    ]
    text = "\n".join(",".join(map(str, row)) for row in [columns, *rows])
    (tmp_path / "digits.csv").write_text(text)
    result = tltool("data", "check", tmp_path / "digits.csv", "--json")
    assert json.loads(result.stdout)["duplicates"] == []


def test_a_missing_folder_is_reported_before_tensorflow_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom tltool.cli.main import app\n"
        "try: app(['data', 'check', 'nowhere'])\nexcept SystemExit as end: print(end.code)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"3\n"), done.stderr


def test_a_check_works_with_damaged_weights(
    tltool: Callable[..., Any], tmp_path: Path, make_photos: PhotoMaker
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16.json").write_text("{}")
    result = tltool("data", "check", make_photos(n=2), "--json")
    assert result.exit_code == 0
    assert "near duplicates are searched without its features" in result.stderr
    assert json.loads(result.stdout)["network"] is None


@pytest.mark.thorough
@pytest.mark.photos
def test_real_photos_have_no_shortcut_and_only_the_known_duplicates(
    tltool: Callable[..., Any], photos_dir: Path
) -> None:
    bees = json.loads(tltool("data", "check", photos_dir / "hymenoptera", "--json").stdout)
    assert bees["counts"]["serious"] == 0
    assert not bees["duplicates"]
    flowers = json.loads(tltool("data", "check", photos_dir / "flowers128", "--json").stdout)
    assert not any(each["is_shortcut"] for each in flowers["shortcuts"])
    # looked at one by one: all 35 clusters are copies, edits or second shots of one picture
    assert len(flowers["duplicates"]) == 35
    assert sum(cluster["exact"] for cluster in flowers["duplicates"]) == 6
    assert {f["kind"] for f in flowers["findings"] if f["severity"] == "serious"} == {
        "label conflict"
    }


def test_ood_images_are_checked(tltool: Callable[..., Any], make_photos: PhotoMaker) -> None:
    root = make_photos(n=4, size=80)
    make_photos(root, classes=("other things",), n=3, size=80, seed=7)
    clean = tltool("data", "check", root, "--ood-images", "other things", "--strict")
    assert clean.exit_code == 0, clean.stdout
    assert "OOD images       ok       3 in 'other things'" in clean.stdout
    (root / "other things" / "empty.jpg").write_bytes(b"")
    copy = (root / "cat" / "0_000.jpg").read_bytes()
    (root / "other things" / "a cat.jpg").write_bytes(copy)
    (root / "other things" / "twice.jpg").write_bytes(
        next((root / "other things").glob("[0-9]*.jpg")).read_bytes()
    )
    result = tltool("data", "check", root, "--ood-images", "other things", "--json", "--strict")
    assert result.exit_code == 3
    document, kinds = json.loads(result.stdout), found(result)
    assert kinds["a cat.jpg"] == {"label conflict"}
    assert kinds["empty.jpg"] == {"empty"}
    assert "twice.jpg" not in kinds
    assert document["ood_images"] == {"images": 6, "usable": 5}
    assert document["classes"]["counts"] == document["classes"]["different"]
    lines = {line["check"]: (line["verdict"], line["message"]) for line in document["summary"]}
    assert lines["OOD images"] == (
        "serious",
        "6 in 'other things', 1 unusable, 1 image is also in a class",
    )
    page = Path(document["report"]).read_text(encoding="utf-8")
    assert "other things/a cat.jpg" in page
    assert "6 in &#39;other things&#39;" in page


def test_duplicates_are_counted_consistently(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    """A label conflict is not counted as a duplicate again; every copy is named in full."""
    root = make_photos(n=4, size=80)
    for number in range(5):
        copy = (root / "cat" / "0_000.jpg").read_bytes()
        (root / "cat" / f"copy {number}.jpg").write_bytes(copy)
    (root / "dog" / "cat.jpg").write_bytes((root / "cat" / "0_001.jpg").read_bytes())
    document = json.loads(tltool("data", "check", root, "--json").stdout)
    messages = {line["check"]: line["message"] for line in document["summary"]}
    assert messages["label conflicts"] == "1 image is in more than one class"
    assert messages["duplicates"] == "2 images with duplicates: 1 exact, 0 near, 1 counted above"
    assert len(document["duplicates"]) == 2
    with Path(document["issues"]).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "exact duplicate"]
    assert len(rows) == 1
    named = rows[0]["detail"].removeprefix("same file as ").split(", ")
    assert sorted([rows[0]["path"], *named]) == sorted(
        str(root / "cat" / name) for name in ("0_000.jpg", *(f"copy {n}.jpg" for n in range(5)))
    )


def test_shortcuts_that_were_not_checked_are_unknown(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    result = tltool("data", "check", make_photos(n=3, size=80))
    assert "shortcuts        unknown  not checked: fewer than two classes have 5" in result.stdout
    assert "2 classes of 3 images; 2 small" in result.stdout
    page = Path("data_check/photos/data_report.html").read_text(encoding="utf-8")
    assert "90% of the images have the aspect ratio (width / height) 1.00." in page
    assert page.count('<div class="card shape">') == 3
    make_photos(root=Path("two"), n=1, size=80)
    tltool("data", "check", "two")
    page = Path("data_check/two/data_report.html").read_text(encoding="utf-8")
    assert page.count('<div class="card shape">') == 2


@pytest.mark.thorough
@pytest.mark.slow
def test_too_many_unusable_files_are_reported_with_a_setting(
    tltool: Callable[..., Any], finetune_tiny: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(n=7, size=80)
    for number in range(6):
        (root / "cat" / f"bad {number}.jpg").write_bytes(b"no image")
    result = tltool("data", "check", root)
    assert "6 not an image; too many for training" in result.stdout
    assert "6 of 20 images (30%) cannot be used; training stops above 10%" in result.stdout
    setting = "data.max_bad_fraction=0.3"
    assert f"train without them: --set {setting}." in result.stdout
    assert "data.max_bad_fraction=0.3" in Path("data_check/photos/data_issues.csv").read_text()
    failed = finetune_tiny(root)
    assert failed.exit_code == 3
    assert f"train without them: --set {setting}" in failed.stderr
    trained = finetune_tiny(root, settings=(setting, *ONLY_PROBE))
    assert trained.exit_code == 0, trained.stderr
    assert "30% of the images are skipped" in trained.stderr


def test_without_splits_leakage_is_not_checked(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    output = tltool("data", "check", make_photos(n=3, size=80)).stdout
    assert "data leakage     unknown  not checked: the source defines no splits" in output


def test_broken_links_and_pipes_get_a_suggestion(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(n=3, size=80)
    (root / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "cat" / "round.jpg").symlink_to("round.jpg")
    (root / "cat" / "up").symlink_to("..")
    os.mkfifo(root / "cat" / "pipe.jpg")
    document = json.loads(tltool("data", "check", root, "--json").stdout)
    reported = {
        Path(finding["path"]).name: (finding["severity"], finding["detail"], finding["suggestion"])
        for finding in document["findings"]
        if finding["path"] and finding["kind"] in ("unreadable", "link to another class")
    }
    fix = "fix the link, or remove it"
    assert reported.pop("gone.jpg") == ("serious", "broken symbolic link", fix)
    loop = "symbolic link that points to itself (a loop)"
    assert reported.pop("round.jpg") == ("serious", loop, fix)
    assert reported.pop("pipe.jpg")[2] == "remove it"
    severity, detail, suggestion = reported.pop("up")
    assert (severity, suggestion) == ("serious", "remove the link")
    assert "the folder of all images" in detail
    assert not reported


def test_a_report_that_cannot_be_finished_leaves_the_earlier_one(tltool, make_photos, monkeypatch):
    from tltool.workflows import check_data

    root, out = make_photos(n=3), make_photos(n=3).parent / "report"
    assert tltool("data", "check", root, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(path, *_, **__):
        path.write_text("half of a page")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(check_data, "write_data_report", full)
    failed = tltool("data", "check", root, "--out", out)
    assert failed.exit_code == 5
    assert "the report cannot be written" in failed.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
