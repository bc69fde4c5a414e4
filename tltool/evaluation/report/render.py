"""Loads the Jinja templates of the HTML reports."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jinja2


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
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)
