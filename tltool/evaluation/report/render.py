"""Loads the Jinja templates of the HTML reports."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from tltool.errors import visible


@functools.cache
def page_template(name: str, **filters: Callable[..., str]) -> jinja2.Template:
    """Return a template of the ``templates`` folder: values are escaped, missing ones raise.

    Args:
        name: of the file.
        filters: additional filters for the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tltool.evaluation.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)


def _visible_text(value: Any) -> Any:
    """Return a value for the page: characters that are not visible are escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, keep="\n\t")
    return value
