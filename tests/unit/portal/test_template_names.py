"""Templates of the portal: what each of them means by a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jinja2 import Environment, nodes

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATES = sorted((ROOT / "subscriptions/portal/templates").glob("*.html"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_macro_is_called_and_never_taken_for_a_value_of_the_page(template: Path) -> None:
    """A macro that is imported hides a value of the same name: a condition on it would always be true."""
    tree = Environment(autoescape=True).parse(template.read_text())
    imports = (name for each in tree.find_all(nodes.FromImport) for name in each.names)
    macros = {name if isinstance(name, str) else name[1] for name in imports}
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    read = [name for name in tree.find_all(nodes.Name) if name.ctx == "load" and id(name) not in called]
    assert [f"line {name.lineno}: {name.name}" for name in read if name.name in macros] == []
