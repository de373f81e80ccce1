"""How the code hangs together: what imports what, and what is installed as a package."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Who may import what of this repository, from the page down to the library.
MAY = {
    "pipeline": {"pipeline"},
    "webapp": {"webapp", "pipeline"},
    "families": {"families", "pipeline"},
    "benchmarks": {"benchmarks", "families", "webapp", "pipeline"},
}


def modules():
    """Name -> file of every module."""
    paths = [path for top in MAY for path in (ROOT / top).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return dict(zip(names, paths, strict=True))


def imported(path, known):
    """The modules of this repository that a file imports anywhere, also for type checkers alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: {to for to in imported(path, known) if to in known} - {name} for name, path in known.items()}


def test_imports_go_one_way(graph):
    wrong = [(a, b) for a, those in graph.items() for b in those if b.split(".")[0] not in MAY[a.split(".")[0]]]
    assert wrong == []


def test_no_imports_go_round_in_a_circle(graph):
    done, path = set(), []

    def visit(name):
        if name in path:
            pytest.fail(" -> ".join([*path[path.index(name) :], name]))
        if name not in done:
            path.append(name)
            for to in sorted(graph[name]):
                visit(to)
            done.add(path.pop())

    for name in graph:
        visit(name)


def test_it_installs_as_a_package_with_its_models_and_its_command(tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / "source" / name)
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    pip = [sys.executable, "-m", "pip", "install", *options, "."]
    subprocess.run(pip, cwd=tmp_path / "source", check=True)
    elsewhere.mkdir()
    installed = {"cwd": elsewhere, "env": os.environ | {"PYTHONPATH": str(site)}, "capture_output": True, "text": True}
    command = [sys.executable, str(site / "bin" / "styleclip")]
    told = subprocess.run([*command, "models", "list"], **installed)
    assert told.stdout.startswith("demo ") and "here" in told.stdout.splitlines()[0], told.stderr
    told = subprocess.run([*command, "train"], **installed)
    assert told.returncode == 1 and "what to train" in told.stderr
    code = "from pipeline import StyleCLIP; s = StyleCLIP.from_pretrained('demo'); print(s.image(s.sample(1)).size)"
    told = subprocess.run([sys.executable, "-c", code], **installed)
    assert told.stdout == "(256, 256)\n", told.stderr
