"""Labels in the forms of other programs: Label Studio's tasks, and FiftyOne's labels.

Label Studio: https://labelstud.io/guide/tasks and https://labelstud.io/guide/export. FiftyOne: the
type FiftyOneImageClassificationDataset, https://docs.voxel51.com/user_guide/import_datasets.html.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from tltool.errors import DataError
from tltool.review.queues import QueueEntry, ReviewData, ReviewImage

Form = Literal["label-studio", "fiftyone"]
CONTROL = "choice"
"""Name of the tag Choices in Label Studio's configuration."""
_LOCAL_FILES = "/data/local-files/?d="


@dataclass(frozen=True)
class ImportedLabel:
    """A label that somebody gave to an image in another program.

    Attributes:
        image: position of the image; None if no image fits.
        shown: how the file names it.
        label: the class.
        who: the person; empty if the file does not say.
    """

    image: int | None
    shown: str
    label: str
    who: str = ""


def label_studio_tasks(data: ReviewData, entries: Sequence[QueueEntry]) -> list[dict[str, Any]]:
    """Return the tasks of images, with the suggested class or else the label as a prediction.

    Args:
        data: with the images.
        entries: the images to write.
    """
    return [_task(data.images[one.image], one) for one in entries]


def label_studio_config(class_names: Sequence[str]) -> str:
    """Return the labelling configuration of a project for such tasks, XML."""
    choices = "".join(f"\n    <Choice value={quoteattr(name)}/>" for name in class_names)
    return (
        f'<View>\n  <Image name="image" value="$image"/>\n  <Choices name="{CONTROL}"'
        f' toName="image" choice="single" showInLine="true">{choices}\n  </Choices>\n</View>\n'
    )


def fiftyone_labels(data: ReviewData, entries: Sequence[QueueEntry]) -> dict[str, Any]:
    """Return the content of ``labels.json``; the keys are file names without their extension.

    Raises:
        DataError: two images differ only in their extension.
    """
    number = {name: position for position, name in enumerate(data.class_names)}
    images = [data.images[one.image] for one in entries]
    _check_stems(data, images)
    labels = {_stem(image.file): number.get(image.label) for image in images}  # None: no label
    return {"classes": list(data.class_names), "labels": labels}


def _check_stems(data: ReviewData, images: Sequence[ReviewImage]) -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for one in data.images:
        files[_stem(one.file)].append(one.file)
    for image in images:
        same = files[_stem(image.file)]
        if len(same) > 1:
            raise DataError(
                f"'{same[0]}' and '{same[1]}' have the same name without their extensions, by "
                "which FiftyOne finds images",
                hint="write the file for Label Studio, or rename a copy of the images",
            )


def labels_of(data: ReviewData, document: Any) -> Iterator[ImportedLabel]:
    """Yield the labels in a file of Label Studio (JSON or JSON-MIN) or of FiftyOne.

    Labels of FiftyOne that are those of the images already are left out: it writes all, also those
    that nobody has looked at.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(document, list) and all(isinstance(task, dict) for task in document):
        yield from _of_label_studio(data, document)
    elif isinstance(document, dict) and isinstance(document.get("labels"), dict):
        yield from _of_fiftyone(data, document)
    else:
        raise ValueError("it is neither a list of tasks nor a document with 'labels'")


def _task(image: ReviewImage, entry: QueueEntry) -> dict[str, Any]:
    result = {
        "from_name": CONTROL,
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [entry.suggested or image.label]},
    }
    return {
        "data": {
            "image": _LOCAL_FILES + quote(image.file),
            "file": image.file,
            "sha256": image.sha256,
            "label": image.label,
            "reason": entry.reason,
        },
        "predictions": [{"model_version": "tltool", "result": [result]}],
    }


def _of_label_studio(
    data: ReviewData, tasks: Sequence[Mapping[str, Any]]
) -> Iterator[ImportedLabel]:
    by_digest = {image.sha256: number for number, image in enumerate(data.images)}
    by_file = {image.file: number for number, image in enumerate(data.images)}
    for task in tasks:
        fields = task.get("data", task)
        shown = unquote(str(fields.get("file") or fields.get("image", "")))
        digest = str(fields.get("sha256") or "")
        if digest:  # the file of this name may be another image by now
            position = by_digest.get(digest)
        else:
            position = _by_end(by_file, _path_in(str(fields.get("image", ""))))
        for label, who in _answers(task):
            yield ImportedLabel(position, shown, label, who)


def _answers(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the class and the person of each annotation of a task."""
    if "annotations" not in task:  # JSON-MIN
        if task.get(CONTROL):
            yield _single([task[CONTROL]]), _person(task.get("annotator"))
        return
    for annotation in task["annotations"]:
        results = [] if annotation.get("was_cancelled") else annotation["result"]
        choices = [one["value"]["choices"] for one in results if one.get("type") == "choices"]
        if choices:
            yield (
                _single([name for each in choices for name in each]),
                _person(annotation.get("completed_by")),
            )


def _single(choices: Sequence[Any]) -> str:
    names = choices[0]["choices"] if isinstance(choices[0], dict) else choices
    if len(names) != 1 or not isinstance(names[0], str):
        raise ValueError("an image has several classes, which is another task")
    return str(names[0])


def _person(who: Any) -> str:
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return "" if who is None else str(who)


def _of_fiftyone(data: ReviewData, document: Mapping[str, Any]) -> Iterator[ImportedLabel]:
    names = document.get("classes")
    by_stem: dict[str, int | None] = {}
    for number, image in enumerate(data.images):
        stem = _stem(image.file)
        by_stem[stem] = None if stem in by_stem else number
    for shown, target in document["labels"].items():
        value = target.get("label") if isinstance(target, dict) else target
        if value is None:
            continue
        label = str(names[value]) if isinstance(value, int) and names else str(value)
        position = _by_end(by_stem, shown)
        if position is None or data.images[position].label != label:
            yield ImportedLabel(position, shown, label)


def _path_in(address: str) -> str:
    """Return the path in the address of an image: of Label Studio's local files, or of a server."""
    parts = urlsplit(address)
    inside = parse_qs(parts.query).get("d")
    return inside[0] if inside else unquote(parts.path)


def _by_end(positions: Mapping[str, int] | Mapping[str, int | None], path: str) -> int | None:
    """Return the image whose path is the longest end of ``path``.

    None without one, or if two images have this path.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((positions[end] for end in ends if end in positions), None)


def _stem(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix()
