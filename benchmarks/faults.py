"""Faults while commands write: kill -9, a full disk, failing disks, images that change, signals.

python -m benchmarks.faults [--scale 1] [--seed 0] [--only FAULT] [--command COMMAND]

After each fault every artefact must be whole or absent, and the next try must finish with the
result of an undisturbed command. Every command runs in a fork of this process, which has imported
TensorFlow and has not used it; the full disk is a tmpfs, so that this part needs root. Prints
Markdown; the exit status is 1 if anything was not held.
"""

import argparse
import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from benchmarks.fault_jobs import SETTINGS, Given, jobs, train, write_images
from benchmarks.fault_trials import (
    PATIENCE,
    Row,
    Trials,
    code_of,
    ended,
    fork,
    start,
    try_again,
    undisturbed,
    wait_until,
)
from tltool.cli.main import run as run_command_line
from tltool.events import Observer, SilentObserver

KILLS = {
    "runs pack": 20, "weights import": 20, "data split --out": 20, "predict --append": 4,
    "export": 3, "finetune": 6,
}  # fmt: skip
FULL = {
    "runs pack": 8, "weights import": 8, "data split --out": 8, "predict --append": 2,
    "export": 1, "finetune": 3,
}  # fmt: skip
DISK = 512 * 2**20  # bytes of the disk that is filled
TRAIN = ("--recipe", "vgg16", "--offline", "--quiet", "--no-tensorboard")


def chosen(counts: dict[str, int], trials: Trials) -> list[tuple[str, int]]:
    return [(command, count) for command, count in counts.items() if command in trials.jobs]


def kill(trials: Trials, scale: float) -> None:
    for command, count in chosen(KILLS, trials):
        row = trials.row("kill -9", command)
        for _ in range(round(count * scale)):
            folder = trials.home / "killed"
            child = start(trials, command, folder)
            wait_until(lambda child=child: ended(child), trials.moment(command))
            os.kill(child, signal.SIGKILL)
            try_again(trials, command, folder, row, {code_of(child)})


def fill_disk(trials: Trials, scale: float) -> None:
    disk = trials.home / "disk"
    with mounted(disk) as possible:
        for command, count in chosen(FULL, trials) if possible else ():
            row = trials.row("full disk", command)
            for _ in range(round(count * scale)):
                child = start(trials, command, disk / "x")
                wait_until(lambda child=child: ended(child), trials.moment(command))
                take_all_space(disk / "ballast")
                codes = {code_of(child)}
                (disk / "ballast").unlink()
                try_again(trials, command, disk / "x", row, codes)


@contextmanager
def mounted(disk: Path) -> Iterator[bool]:
    """Mount a small disk; yield whether that is possible here."""
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", disk], capture_output=True
    )
    try:
        yield made.returncode == 0
    finally:
        if made.returncode == 0:
            subprocess.run(["umount", disk], check=True)


def take_all_space(file: Path) -> None:
    with file.open("wb") as ballast:
        for size in (2**24, 2**20, 2**12):
            try:
                while True:
                    os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, size)
            except OSError:
                continue


def poor_disk(trials: Trials, _: float) -> None:
    """Run every command on a disk without locks, hard links, reserved blocks, fsync of folders."""
    for command, job in trials.jobs.items():
        row, folder = trials.row("a poor disk", command), trials.home / "poor"
        folder.mkdir()

        def act(job=job, folder=folder) -> None:
            refuse(fcntl, "flock", errno.ENOLCK)
            refuse(os, "fsync", errno.EINVAL, only_folders=True)
            refuse(os, "link", errno.EPERM)
            refuse(os, "posix_fallocate", errno.EOPNOTSUPP)
            job.act(folder, SilentObserver())

        code = code_of(fork(act, trials.home / "log.txt"))
        if code or not job.complete(folder):
            row.problems.append(f"exit code {code}")
        try_again(trials, command, folder, row, {code})


def refuse(module: object, name: str, code: int, *, only_folders: bool = False) -> None:
    real = getattr(module, name)

    def refused(*arguments: object, **options: object) -> object:
        if only_folders and not Path(f"/proc/self/fd/{arguments[0]}").is_dir():
            return real(*arguments, **options)
        raise OSError(code, os.strerror(code))

    setattr(module, name, refused)


class AtPhase(SilentObserver):
    """Does something when a phase begins for the first time."""

    def __init__(self, phase: str, action: Callable[[], object]) -> None:
        self.phase, self.action = phase, action

    def on_phase(self, name: str, detail: str = "") -> None:
        if name == self.phase:
            self.phase = ""
            self.action()


def flip_bits(trials: Trials, scale: float) -> None:
    """Change bits of cached activations before they are trained on."""
    row = trials.row("flipped bits in the feature cache", "finetune")
    for _ in range(round(3 * scale)):
        folder, seed = trials.home / "flipped", trials.dice.random()
        folder.mkdir()

        def damage(folder=folder, seed=seed) -> None:
            dice = random.Random(seed)
            for column in (folder / "run" / "cache").rglob("*.bin"):
                with column.open("r+b") as file:
                    position = dice.randrange(column.stat().st_size)
                    (value,) = os.pread(file.fileno(), 1, position)
                    os.pwrite(file.fileno(), bytes([value ^ 1 << dice.randrange(8)]), position)

        code = observed(trials, folder, AtPhase(trials.dice.choice(["head", "finetune"]), damage))
        if code:
            row.problems.append(f"exit code {code}")
        try_again(trials, "finetune", folder, row, {code})


def observed(trials: Trials, folder: Path, observer: Observer) -> int:
    job = trials.jobs["finetune"]
    return code_of(fork(lambda: job.act(folder, observer), trials.home / "log.txt"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "vanishes": lambda path: None,
    "becomes a pipe": os.mkfifo,
    "becomes a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "becomes another image": lambda path: shutil.copy(path.parent / "7.png", path),
    "is cut off": lambda path: path.write_bytes((path.parent / "7.png").read_bytes()[:200]),
}


def change_images(trials: Trials, _: float) -> None:
    """Change an image between audit and training: exit code 3, and the run can go on."""
    for change, make in CHANGES.items():
        row, folder = (
            trials.row(f"an image {change} after the audit", "finetune"),
            trials.home / "c",
        )
        folder.mkdir()
        image, kept = trials.given.images / "elm" / "0.png", folder / "kept.png"

        def damage(image=image, kept=kept, make=make) -> None:
            image.rename(kept)
            make(image)

        code = observed(trials, folder, AtPhase("features", damage))
        if code != 3:
            row.problems.append(f"exit code {code}, not 3")
        kept.replace(image)
        try_again(trials, "finetune", folder, row, {code})


def send_signals(trials: Trials, scale: float) -> None:
    """End a training by a signal at a random moment after its start."""
    arguments = ["tltool", "finetune", str(trials.given.images), *TRAIN]
    for setting in (*SETTINGS, "export.enabled=false"):
        arguments += ["--set", setting]
    for sent in (signal.SIGTERM, signal.SIGHUP):
        row = trials.row(sent.name, "finetune")
        for _ in range(round(2 * scale)):
            folder = trials.home / "signal"
            folder.mkdir()

            def act(folder=folder) -> None:
                sys.argv = [*arguments, "--out", str(folder / "run")]
                run_command_line()

            child = fork(act, trials.home / "log.txt")
            wait_until((folder / "run" / "recipe.yaml").is_file, PATIENCE)
            wait_until(lambda child=child: ended(child), trials.moment("finetune") * 0.8)
            os.kill(child, sent)
            code = code_of(child)
            if code not in (0, 128 + sent):
                row.problems.append(f"exit code {code}, not {128 + sent}")
            try_again(trials, "finetune", folder, row, {code})


FAULTS: dict[str, Callable[[Trials, float], None]] = {
    "kill": kill,
    "full": fill_disk,
    "poor": poor_disk,
    "flip": flip_bits,
    "change": change_images,
    "signal": send_signals,
}


def show(rows: list[Row]) -> None:
    print("| fault | command | tried | held |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.fault} | {row.command} | {row.tried} | {row.tried - len(row.problems)} |")
    total, problems = sum(row.tried for row in rows), [p for row in rows for p in row.problems]
    print(f"| all | | {total} | {total - len(problems)} |")
    for problem in problems:
        print(f"- {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, action="append")
    parser.add_argument("--command", choices=KILLS, action="append")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="tltool-faults-"))
    given = Given(home / "images", home / "given" / "run")
    write_images(given.images)
    if code := code_of(fork(lambda: train(given.images, home / "given"), home / "log.txt")):
        sys.exit(f"the first training fails with exit code {code}: {home / 'log.txt'}")
    commands = options.command or KILLS
    wanted = {name: job for name, job in jobs(given).items() if name in commands}
    trials = Trials(wanted, given, home, random.Random(options.seed))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        undisturbed(trials)
        for name in options.only or FAULTS:
            FAULTS[name](trials, options.scale)
    finally:  # also what was tried before an interrupt
        show(trials.rows)
    failed = any(row.problems for row in trials.rows)
    if not failed:
        shutil.rmtree(home)
    sys.exit(failed)


if __name__ == "__main__":
    main()
