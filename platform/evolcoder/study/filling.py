"""How the templates of reports and cards are filled: how numbers are written, and what keeps a name in its place."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import jinja2

from evolcoder.console import format_seconds
from evolcoder.embedded import EMBEDDED_MODEL_NAME
from evolcoder.settings.section import EMBEDDED
from evolcoder.study.evidence.findings import p_text, points


def filled(template: str, **values: Any) -> str:
    """A template by its name: in HTML all that is filled in is escaped, in markdown it stays within its line."""
    html = template.endswith(".html.j2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evolcoder.study", "templates"),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        finalize=None if html else _in_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": lambda share: f"{100 * share:.1f}",
        "points": points,
        "p_text": p_text,
        "p_cell": lambda p_value: p_text(p_value).removeprefix("p ").removeprefix("= "),
        "count": "{:,}".format,
        "duration": format_seconds,
        "model_name": lambda name: f"{EMBEDDED_MODEL_NAME} (embedded)" if name == EMBEDDED else name,
        "path": lambda text: quote(text, safe="/"),
    }
    return environment.get_template(template).render(**values, version=version("evolcoder"))


def _in_markdown(value: Any) -> Any:
    """Names that others chose end no line and no cell, and open no tag."""
    if not isinstance(value, str):
        return value
    return " ".join(value.splitlines()).replace("|", "\\|").replace("<", "&lt;")
