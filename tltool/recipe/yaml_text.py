"""YAML as people write recipes: numbers and booleans as in YAML 1.2, merge keys, no duplicate keys.

PyYAML reads YAML 1.1: `on` is a boolean, `0042` is 34, `1:30` is 90 and `1e-4` is a text. Here
only true and false are booleans (the schema converts `no` where it expects one), a number is
decimal unless it begins with 0x, 0o or 0b, and `1e-4` is a number (https://yaml.org/spec/1.2.2,
section 10.3). Merge keys (`<<: *name`) are those of https://yaml.org/type/merge.html.
"""

import re
from typing import Any

import yaml

from tltool.errors import UsageError
from tltool.recipe.odd_spaces import find_odd_space, has_odd_ends

_INT, _FLOAT, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool"))
_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_REPLACED = {_INT, _FLOAT, _BOOL, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
_RESOLVERS = (
    (_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    (
        _INT,
        re.compile(r"^[-+]?(?:0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)$"),
        "-+0123456789",
    ),
    (
        _FLOAT,
        re.compile(
            r"^[-+]?(?:(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
            r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
        ),
        "-+.0123456789",
    ),
)
_BASES = {"0x": 16, "0o": 8, "0b": 2}
_LONGEST_NUMBER = 100  # characters
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")


class _Loader(yaml.SafeLoader):
    """SafeLoader that rejects duplicate keys, which PyYAML would silently overwrite."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and kind
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flattened: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace merge keys by the keys of the mappings that they name, in place.

        PyYAML calls it before it reads a mapping, and for each mapping that is merged.
        """
        if id(node) in self._flattened:
            return
        self._flattened.add(id(node))
        self._check_keys(node)
        super().flatten_mapping(node)
        # a key of the mapping itself follows the one that it overrides
        pairs = {(key.tag, key.value): (key, value) for key, value in node.value}
        node.value = list(pairs.values())

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Return the text of a scalar; an unquoted one has no odd space at its ends."""
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if plain and has_odd_ends(str(node.value)):
            raise _problem("a no-break or other special space where a plain space belongs", node)
        return super().construct_scalar(node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem("a key is not a plain word", key_node)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                more = "; merge several with <<: [*a, *b]" if key_node.tag == _MERGE else ""
                raise _problem(f"duplicate key '{key}'{more}", key_node)
            seen.add(key)


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > _LONGEST_NUMBER:  # 5000 hexadecimal digits can be parsed, but not printed
        raise _problem("number too long", node)
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return int(text, _BASES.get(text.lstrip("+-")[:2], 10))


_Loader.add_constructor(_INT, _number)


def _merge_sign(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor(_MERGE, _merge_sign)  # a text `<<` that is no key


class _Dumper(yaml.SafeDumper):
    """SafeDumper that escapes Unicode line breaks, which PyYAML writes but reads as blanks."""


for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_tag, _pattern, list(_first))  # texts such as '1e5' are quoted


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if _LINE_BREAKS.search(text) or has_odd_ends(text) else None
    return dumper.represent_scalar(_TEXT, text, style=style)


_Dumper.add_representer(str, _text)


def read_yaml(text: str, *, origin: str) -> Any:
    r"""Return the content of a YAML text.

    Args:
        text: the text.
        origin: where it comes from, for messages.

    Raises:
        UsageError: it is not valid YAML, or has duplicate keys.

    Examples:
        >>> read_yaml("few: &few {epochs: 3}\nmore: {<<: *few, rate: 1e-4}", origin="a recipe")
        {'few': {'epochs': 3}, 'more': {'epochs': 3, 'rate': 0.0001}}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = find_odd_space(text) or _one_line(error)
        raise UsageError(f"{origin} is not valid YAML: {reason}") from None
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
        problem = "tabs are not allowed, use spaces"
    if problem.startswith("could not determine a constructor for the tag"):
        problem = "tags such as !!python/object are not allowed"
    if problem == "but found another document":
        problem = "it has several documents, remove what is behind the line ---"
    return f"{problem}{where}"
