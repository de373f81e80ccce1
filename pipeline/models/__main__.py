"""The files of the model families from the command line.

python -m pipeline.models list | fetch FAMILY [--mappers] | verify FAMILY | where [FAMILY]
"""

import argparse
import sys
from collections.abc import Mapping

from pipeline.errors import UserError
from pipeline.models.downloads import fetch, flaw
from pipeline.models.registry import Row, family_row, read_registry


def _list(rows: Mapping[str, Row]) -> None:
    for row in rows.values():
        print(f"{row.name:12} {_status(row):34}  {row.title} · {row.licence}")


def _status(row: Row) -> str:
    if "generator" not in row.files:
        return "needs --generator"
    if not (missing := row.missing()):
        return "here"
    if local := [source for source in missing if source.path]:
        return f"missing: {local[0].path}"
    return f"{sum(s.size or s.about or 0 for s in missing) / 1e6:,.0f} MB to download"


def _verify(row: Row) -> bool:
    """Tell of every file what it is; whether there is one, and all that are here are right. Changes nothing."""
    sources = (*row.sources(), *(source for _, source in row.mappers.values()))
    if not any(source.here() for source in sources):
        print(f"nothing of “{row.name}” is on this machine; fetch it first")
        return False
    right = True
    for source in sources:
        if (path := source.here()) is None:
            does = f"put it at {source.path}" if source.path else "it is fetched when it is needed"
            print(f"missing   {source.name}: {does}")
            continue
        digest, wrong = flaw(source, path)
        right &= not wrong
        does = "put the original there" if source.path else "delete it, and fetch it again"
        print(f"wrong     {path} {wrong}: {does}" if wrong else f"ok        {path}  sha256 {digest}")
    return right


def _where(row: Row) -> None:
    for source in (*row.sources(), *(source for _, source in row.mappers.values())):
        print(f"{row.name:12} {source.name:40} {source.here() or f'not here; from {source.origin}'}")


def main() -> None:
    """The command line; a UserError becomes one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.models", description="The files of the model families.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all families: here or how much to download, and their licences")
    get = commands.add_parser("fetch", help="download a family's files, and check them")
    get.add_argument("family")
    get.add_argument("--mappers", action="store_true", help="its mappers too, which else come when first used")
    commands.add_parser("verify", help="check the files that are here against their checksums").add_argument("family")
    commands.add_parser("where", help="where the files are").add_argument("family", nargs="?")
    options = parser.parse_args()
    try:
        rows = read_registry()
        if options.command == "list":
            return _list(rows)
        chosen = [family_row(options.family)] if options.family else list(rows.values())
        for row in chosen:
            if options.command == "where":
                _where(row)
            elif options.command == "verify":
                if not _verify(row):
                    sys.exit(1)
            else:
                if row.terms:
                    print(row.terms)
                mappers = [source for _, source in row.mappers.values()] if options.mappers else []
                for source in (*row.sources(), *mappers):
                    print(f"{source.name}: {fetch(source)}")
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
