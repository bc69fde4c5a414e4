"""Time from the command to the exported SavedModel: tltool against the usual way, in one run.

python benchmarks/time_to_accuracy.py [--full] [--seeds 0,1,2] [--repeat 1]
                                      [--arms quick,vgg16,fast,auto]

Reads hymenoptera/{train,val} from TLTOOL_TEST_DATA. The usual way (benchmarks/usual_way.py) trains
its head for 10 epochs and block 5 for 5; without --full it is timed for 2 epochs of each stage and
scaled, as stated in the output. The arms are recipes of tltool; auto is the recipe vgg16 with
--backbone auto, whose choice is part of the time. Every run has its own process, one after the
other; wall and CPU seconds and peak memory are measured by the operating system. Prints Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAD_EPOCHS, FINETUNE_EPOCHS = 10, 5
ARMS = ("quick", "vgg16", "fast", "auto")
HERE = Path(__file__).resolve().parent


def measure(command: list[str], folder: Path) -> dict:
    """Run a command; return its JSON with wall and CPU seconds and peak memory in MiB."""
    started = time.perf_counter()
    with (folder / "stdout").open("w+") as output, (folder / "stderr").open("w+") as errors:
        child = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if child.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
        output.seek(0)
        text = output.read()
    document = json.loads(text[text.index("{") :])
    cost = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": usage.ru_maxrss / 1024,
    }
    return {**document, **cost}


def usual(data: Path, weights: str, *, seed: int, full: bool, folder: Path) -> dict:
    epochs = (HEAD_EPOCHS, FINETUNE_EPOCHS) if full else (2, 2)
    command = [sys.executable, str(HERE / "usual_way.py"), str(data / "train"), str(data / "val")]
    command += ["--weights", weights, "--seed", str(seed), "--export", str(folder / "usual")]
    command += ["--head-epochs", str(epochs[0]), "--finetune-epochs", str(epochs[1])]
    result = measure(command, folder)
    if not full:
        # the first epoch also traces the graph: it counts once, the others are scaled
        head, tail = result["head_epochs"], result["finetune_epochs"]
        more = (HEAD_EPOCHS - 2) * head[1] + (FINETUNE_EPOCHS - 2) * tail[1]
        result["cpu"] *= (result["wall"] + more) / result["wall"]
        result["wall"] += more
    return result


def ours(data: Path, arm: str, *, seed: int, folder: Path) -> dict:
    out = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-c", "from tltool.cli.main import run; run()", "finetune"]
    command += [str(data), "--seed", str(seed), "--json", "--quiet"]
    command += ["--backbone", "auto"] if arm == "auto" else ["--recipe", arm]
    command += ["--out", str(out / "run"), "--export-to", str(out / "models"), "--offline"]
    result = measure(command, folder)
    result["accuracy"] = result["metrics"]["accuracy"]["value"]
    result["log_loss"] = result["metrics"]["log_loss"]
    result["n"] = result["metrics"]["n"]
    rows = (Path(result["run"]) / "history.csv").read_text().splitlines()
    columns = rows[0].split(",")
    table = [dict(zip(columns, row.split(","), strict=True)) for row in rows[1:]]
    tail = [float(row["seconds"]) for row in table if row["phase"] == "finetune"]
    result["finetune_epoch"] = statistics.median(tail[1:] or tail) if tail else None
    return result


def median(results: list[dict], key: str) -> float:
    return statistics.median(result[key] for result in results)


def report(ways: dict[str, list[dict]], *, full: bool) -> None:
    base = ways["usual"]
    arms = [name for name in ways if name != "usual"]
    note = "" if full else " (2 + 2 epochs timed, scaled to 10 + 5; its accuracy is after 2 + 2)"
    print(f"\nThe usual way{note} against tltool; medians over {len(base)} usual and")
    print(f"{len(ways[arms[0]])} tltool runs with different seeds, hymenoptera, n = 153.\n")
    print("| way | wall s | CPU s | wall ratio | CPU ratio | accuracy | log-loss | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, results in ways.items():
        wall, cpu = median(results, "wall"), median(results, "cpu")
        accuracies = ", ".join(f"{result['accuracy']:.3f}" for result in results)
        losses = ", ".join(f"{result['log_loss']:.3f}" for result in results)
        print(
            f"| {name} | {wall:.0f} | {cpu:.0f} | {median(base, 'wall') / wall:.1f} | "
            f"{median(base, 'cpu') / cpu:.1f} | {accuracies} | {losses} | "
            f"{median(results, 'rss'):.0f} |"
        )
    if "vgg16" in ways:
        live = statistics.median(result["finetune_epochs"][-1] for result in base)
        cached = median(ways["vgg16"], "finetune_epoch")
        print(f"\nFine-tune epoch with validation: {live:.1f} s live, {cached:.1f} s cached,")
        print(f"{live / cached:.1f} times faster.")
    print("\nPhases in seconds (first seed):\n")
    for name in arms:
        phases = ", ".join(f"{what} {took:.1f}" for what, took in ways[name][0]["seconds"].items())
        print(f"- {name}: {phases}")


def weights_for_keras(folder: Path) -> str:
    """Return the stored VGG16 weights in a file that keras.applications can load."""
    import keras

    from tltool.events import SilentObserver
    from tltool.weights.fetch_weights import obtain
    from tltool.weights.load_weights import load_weights

    stored = obtain("vgg16", offline=False, observer=SilentObserver())
    network = keras.applications.VGG16(include_top=False, weights=None)
    load_weights(network, stored.path, backbone="vgg16")
    file = folder / "vgg16_notop.weights.h5"
    network.save_weights(file)
    return str(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all 15 epochs of the usual way")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--repeat", type=int, default=1, help="runs of the usual way")
    args = parser.parse_args()
    data = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    seeds = [int(seed) for seed in args.seeds.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = weights_for_keras(folder)
        ways: dict[str, list[dict]] = {"usual": []}
        for repeat in range(args.repeat):
            ways["usual"].append(usual(data, weights, seed=repeat, full=args.full, folder=folder))
        for arm in args.arms.split(","):
            ways[arm] = [ours(data, arm, seed=seed, folder=folder) for seed in seeds]
    report(ways, full=args.full)


if __name__ == "__main__":
    main()
