"""What a new user probably meant: hints for options, arguments and commands that do not exist."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tltool.errors import did_you_mean

# names that other programs use, and what they are called here; the first one that a command has
_OPTIONS = {
    ("lr", "learning-rate", "rate"): ("--learning-rate",),
    ("epoch", "n-epochs", "num-epochs", "max-epochs", "e"): ("--epochs",),
    ("batch", "bs", "b"): ("--batch-size",),
    ("size", "img-size", "imgsz", "input-size", "resolution"): ("--image-size",),
    ("output", "out", "o", "out-dir", "output-dir", "save-dir"): (
        "--out",
        "--output",
        "--export-to",
    ),
    ("model", "arch", "network", "architecture"): ("--backbone", "--recipe"),
    ("config", "cfg", "c"): ("--recipe",),
    ("folds", "cv", "k-fold", "k"): ("--kfold",),
    ("timeout", "max-time", "time"): ("--time-limit",),
    ("random-seed", "random-state"): ("--seed",),
    ("gpu", "cuda"): ("--device gpu",),
    ("cpu", "no-gpu", "no-cuda"): ("--device cpu",),
    ("verbose", "v"): ("--debug",),
    ("param", "override", "option"): ("--set",),
}
_COMMANDS = {
    ("train", "fit", "fine-tune", "finetuning", "learn"): "finetune",
    ("test", "eval", "validate", "score"): "evaluate",
    ("classify", "infer", "inference", "predictions"): "predict",
    ("deploy", "server"): "serve",
    ("models", "networks"): "backbones list",
    ("check", "audit"): "data check",
    ("download",): "weights pull",
    ("explain-prediction", "gradcam", "grad-cam", "saliency"): "explain",
    ("version",): "--version",
    ("help",): "--help",
}
_JOINED = ("--set", "--grid")  # options of the form KEY=VALUE


def explain_usage(error: Any, command: Any, ctx: Any, args: Sequence[str]) -> None:
    """Add to an error about the arguments of a command what was probably meant.

    Args:
        error: as Typer raised it; its message is changed.
        command: the command.
        ctx: its context.
        args: the words after its name.
    """
    if hasattr(error, "possibilities"):
        known = [name for param in command.get_params(ctx) for name in param.opts]
        error.possibilities = None
        error.message += f".{_meant_option(error.option_name, command, ctx, known, args)}"
    elif hasattr(error, "param_type"):
        if command.examples:
            error.message = f"For example: {command.examples[0]}"
    elif error.message.startswith("Got unexpected extra"):
        error.message += _meant_extra(command, ctx, args)


def explain_command(error: Any, group: Any, ctx: Any, word: str) -> None:
    """Add to an error about a command that does not exist which one was probably meant."""
    if "Did you mean" in error.message:
        return
    other = next((name for words, name in _COMMANDS.items() if word.lower() in words), None)
    if other is not None and group.get_command(ctx, other.split()[0]) is None:
        other = None if not other.startswith("--") or ctx.parent else other
    meant = [other] if other is not None else list(_below(group, ctx, word.lower()))
    if meant:
        names = " or ".join(f"'{name}'" for name in meant)
        error.message = f"{error.message.rstrip('.')}. Did you mean {names}?"


def _below(group: Any, ctx: Any, word: str) -> Iterator[str]:
    """Yield the commands of this name in the groups of a group, such as ``data check``."""
    for name in group.list_commands(ctx):
        inner = group.get_command(ctx, name)
        if word in getattr(inner, "commands", {}):
            yield f"{name} {word}"


def _meant_option(
    name: str, command: Any, ctx: Any, known: Sequence[str], args: Sequence[str]
) -> str:
    """Return the option that was probably meant, as a sentence; or nothing."""
    if not name.startswith("--"):  # of -lr, Typer names only -l
        name = next((arg for arg in args if arg.startswith(name)), name)
    word = name.lstrip("-").partition("=")[0].lower().replace("_", "-")
    if word.rstrip("s") in (name.rstrip("s") for name in _arguments(command, ctx)):
        pieces = " ".join(command.collect_usage_pieces(ctx)[1:]).translate({123: None, 125: None})
        return f" It is an argument without a name: {ctx.command_path} {pieces}"
    for words, others in _OPTIONS.items():
        if word in words:
            meant = next((one for one in others if one.split()[0] in known), None)
            return f" Did you mean {meant}?" if meant else ""
    near = did_you_mean(f"--{word}", [one for one in known if one.startswith("--")])
    return near.replace("'", "")


def _meant_extra(command: Any, ctx: Any, args: Sequence[str]) -> str:
    """Return how to give words that are one too many, as a sentence; or nothing."""
    for option, key, value in zip(args, args[1:], args[2:], strict=False):
        if option in _JOINED and "=" not in key and not value.startswith("-"):
            return f". Join key and value by '=': {option} {key}={value}"
        if option in _JOINED and key.endswith("=") and not value.startswith("-"):
            return f". No space after '=': {option} {key}{value}"
    values, extra, _ = command.make_parser(ctx).parse_args(args=list(args))
    words = [*(str(values[name]) for name in _arguments(command, ctx) if name in values), *extra]
    if Path(" ".join(words)).exists():
        return f'. Put a name with spaces in quotation marks: "{" ".join(words)}"'
    known = {name for param in command.get_params(ctx) for name in param.opts}
    for option, names in (("--recipe", _recipes()), ("--backbone", _backbones())):
        named = [word for word in words if word in names]
        if option in known and named:
            rest = " ".join(word for word in words if word not in named)
            return f". Give it by name: {ctx.command_path} {rest} {option} {named[0]}"
    folders = {Path(word).parent for word in words}
    if len(folders) == 1 and all(Path(word).is_dir() for word in words):
        return f". Give one folder, the one that holds these: {folders.pop()}"
    return ""


def _arguments(command: Any, ctx: Any) -> list[str]:
    return [p.name for p in command.get_params(ctx) if p.param_type_name == "argument"]


def _recipes() -> set[str]:
    from tltool.recipe.library import shipped

    return {name for name, _ in shipped()}


def _backbones() -> set[str]:
    from tltool.models.backbone_registry import BACKBONES

    return set(BACKBONES)
