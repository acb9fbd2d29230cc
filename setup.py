"""Compiles what is busy for every delivery with mypyc, where HOOKSTREAM_COMPILE=1 asks for it.

Everything else stands in pyproject.toml. The same source runs interpreted: an installation without a compiler builds a
wheel of pure Python, and `hookstream --version` says which one is installed.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
PACKAGES = ("schemas", "producers", "subscriptions", "processors")
DELIVERY = Path("processors/delivery")
# What is called for every delivery, below DELIVERY; the engine whole. Relative to the root, in an order that does not
# depend on the file system.
BUSY = (
    "attempts/budget", "attempts/bytes", "attempts/producer", "http/answer_reader", "http/client", "http/connection",
    "http/exchange", "http/pool", "http/signing", "partitions/owned_partition", "worker/request_builder",
    "worker/requests_in_flight",
)  # fmt: skip
COMPILED = [
    *sorted(str(path) for path in (DELIVERY / "engine").glob("*.py") if path.name != "__init__.py"),
    *(str(DELIVERY / f"{module}.py") for module in BUSY),
    "processors/histogram.py",
    "schemas/codecs/avro_bytes.py",
    "schemas/codecs/deliveries.py",
    "schemas/codecs/delivery_bytes.py",
    "schemas/codecs/event_bytes.py",
    "schemas/delivery.py",
]


def extensions() -> list[Extension]:
    """The extension modules, none where nothing asks for them."""
    if os.environ.get("HOOKSTREAM_COMPILE") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - needed by this build alone

    # The packages as mypy has to see them: below `hookstream`.
    tree = Path("build/types/hookstream")
    (ROOT / tree).mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        link = ROOT / tree / package
        link.unlink(missing_ok=True)
        link.symlink_to(Path("../../..") / package)
    os.environ["MYPYPATH"] = str(tree.parent)
    options = [
        "--config-file=",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        "--namespace-packages",
        "--explicit-package-bases",
    ]
    made = mypycify(
        [*options, *(str(tree / path) for path in COMPILED)],
        opt_level="3",
        group_name="hookstream_compiled",
        target_dir="build/mypyc",
    )
    for extension in made:
        # Nothing but the modules' start is for others: so its functions call each other, and are inlined, directly.
        extension.extra_compile_args.append("-fvisibility=hidden")
    return made


setup(ext_modules=extensions())
