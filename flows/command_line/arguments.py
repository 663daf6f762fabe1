"""What all command lines of the flows share."""

import argparse

from src.marketing_messaging_service.version import VERSION


def command_line_of(flow: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of `python -m flows.<flow>`; it answers --help and --version."""
    parser = argparse.ArgumentParser(prog=f"python -m flows.{flow}", description=description)
    parser.add_argument(
        "--version",
        action="version",
        version=f"marketing_messaging_service {VERSION}",
        help="show the version and exit",
    )
    return parser
