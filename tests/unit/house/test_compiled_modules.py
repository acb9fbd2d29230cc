"""What compiled code declares it also checks: a declaration that is untrue ends a role where it is compiled."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Where mypy is told to look away, and why no value of another kind comes there.
LOOKED_AWAY = {
    "http/connection.py": [
        "union-attr",  # a method of what is None raises there on both builds
        "assignment",  # mypyc does not check classes that it has not compiled, and asyncio's are none
    ],
    "partitions/owned_partition.py": ["arg-type"],  # a record that was read has its offset
    "worker/request_builder.py": ["arg-type"],  # `Hook` is not compiled, so not checked
}


def test_no_compiled_module_hides_from_mypy_what_it_may_be_given() -> None:
    delivery = ROOT / "processors" / "delivery"
    modules = [*(delivery / "engine").glob("*.py"), *others(delivery)]
    assert len(modules) > 40
    found = {}
    for module in modules:
        ignored = [
            line.split("type: ignore[", 1)[1].split("]", 1)[0]
            for line in module.read_text().splitlines()
            if "type: ignore" in line or "cast(" in line
        ]
        if ignored:
            found[module.relative_to(delivery).as_posix()] = ignored
    assert found == LOOKED_AWAY


def others(delivery: Path) -> list[Path]:
    """The modules beside the engine that setup.py has compiled."""
    named: dict[str, list[str]] = {}
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign):
            texts = [node.value for node in ast.walk(statement.value) if isinstance(node, ast.Constant)]
            named[ast.unparse(statement.targets[0])] = [text for text in texts if isinstance(text, str)]
    whole = [text for text in named["COMPILED"] if text.startswith(("schemas/", "processors/"))]
    return [*(delivery / f"{module}.py" for module in named["BUSY"]), *(ROOT / text for text in whole)]
