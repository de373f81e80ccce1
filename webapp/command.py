"""The command `styleclip`, which `pip install .` brings.

styleclip [--model NAME ...]                        the page, as python app.py
styleclip models list | fetch | verify | where      the files of the model families
styleclip train mapper | style | relevance | csla | looks ...   what takes minutes to hours
styleclip batch PHOTOS --out FOLDER ...             many photos at once
"""

import runpy
import sys

MODULES = {
    ("models",): "pipeline.models",
    ("batch",): "pipeline.batch",
    ("train", "mapper"): "pipeline.training.mapper",
    ("train", "style"): "pipeline.training.style",
    ("train", "relevance"): "pipeline.training.relevance",
    ("train", "csla"): "pipeline.training.csla",
    ("train", "looks"): "pipeline.training.looks",
}


def main() -> None:
    """Run the module of the command's first words with the rest of them; the page where they name none."""
    for words, module in MODULES.items():
        if tuple(sys.argv[1 : 1 + len(words)]) == words:
            sys.argv = [" ".join(["styleclip", *words]), *sys.argv[1 + len(words) :]]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return
    if sys.argv[1:2] == ["train"]:
        sys.exit("Please say what to train: styleclip train mapper, style, relevance, csla or looks.")
    runpy.run_module("app", run_name="__main__", alter_sys=True)
