"""YAML as recipes use it: no duplicate keys, no tags, and only true and false are booleans."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from tltool.errors import UsageError

# YAML 1.1 also reads on, off, yes and no as booleans and 2026-01-31 as a date. In a recipe they are
# texts; the schema converts `no` where it expects a boolean.
_SURPRISES = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
_LONGEST_NUMBER = 100  # characters
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")


class _Loader(yaml.SafeLoader):
    """SafeLoader that rejects duplicate keys, which PyYAML would silently overwrite."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and kind
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _SURPRISES]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(
                problem="a key is not a plain word", problem_mark=key_node.start_mark
            )
        if key in seen:
            problem = f"duplicate key '{key}'"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > _LONGEST_NUMBER:  # 5000 hexadecimal digits can be parsed, but not printed
        raise yaml.MarkedYAMLError(problem="number too long", problem_mark=node.start_mark)
    return int(loader.construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that escapes Unicode line breaks, which PyYAML writes but reads as blanks."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if _LINE_BREAKS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def read_yaml(text: str, *, origin: str) -> Any:
    """Return the content of a YAML text.

    Args:
        text: the text.
        origin: where it comes from, for messages.

    Raises:
        UsageError: it is not valid YAML, or has duplicate keys.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"{origin} is not valid YAML: {_one_line(error)}") from None
    except RecursionError:
        raise UsageError(f"{origin} is not valid YAML: it is nested too deeply") from None
    except ValueError as error:  # such as an integer of 5000 digits
        raise UsageError(f"{origin} is not valid YAML: {error}") from None


def write_yaml(document: Any) -> str:
    """Return a document as YAML text; the order of keys is kept."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def one_line(value: Any) -> str:
    """Return a value as YAML on one line, usable after ``--set KEY=``."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=2**31,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    if "'\\t'" in problem:
        problem = "tabs are not allowed for indentation, use spaces"
    return f"{problem}{where}"
