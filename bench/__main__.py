"""`python -m bench COMMAND`: what orthogonalisation costs on this machine, beside its peers."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from bench import compare, limits, muon, step, training, window

# Each module has HELP, DESCRIPTION, EPILOG, add_arguments(parser) and run(arguments) -> exit code.
COMMANDS = {
    "compare": compare,
    "limits": limits,
    "muon": muon,
    "step": step,
    "training": training,
    "window": window,
}


def parser() -> ArgumentParser:
    whole = ArgumentParser("python -m bench", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return whole


def main(words: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    return int(COMMANDS[arguments.command].run(arguments))


if __name__ == "__main__":
    sys.exit(main())
