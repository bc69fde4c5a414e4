"""The templates of the HTML pages that tltool writes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jinja2


@functools.cache
def page_template(name: str, **filters: Callable[..., str]) -> jinja2.Template:
    """Return a template of the ``templates`` folder: values are escaped, missing ones an error.

    Args:
        name: of the file.
        filters: that the template uses beside those of Jinja.
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
