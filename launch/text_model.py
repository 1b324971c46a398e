"""Save the language model of a multimodal model, to train it: `python launch/text_model.py MODEL FOLDER`.

MODEL is a directory or an id on the hub. FOLDER is then a model for `model=hf model.path=FOLDER`; see docs/models.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from launch.entry import exit_codes
from launch.status import importing, status
from launch.storage.places import check_writable
from tandem.config.schema import ConfigError


def main() -> None:
    """Save the language model; exit with 2 and a message when that cannot be done."""
    parser = argparse.ArgumentParser(prog="launch/text_model.py", description="Save the language model of a multimodal model.")
    parser.add_argument("model", metavar="MODEL", help="a directory or an id on the hub")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the language model's; it is created")
    arguments = parser.parse_args()
    with exit_codes():
        if arguments.folder.exists():
            raise ConfigError(f"FOLDER={arguments.folder} exists already; give another")
        check_writable(arguments.folder, f"FOLDER={arguments.folder}")
        with importing():
            from tandem.models.text_model import save_text_model
            from tandem.models.unusable import UnusableModel

        try:
            with status("Loading the model and saving its language model"):
                model = save_text_model(arguments.model, arguments.folder)
        except UnusableModel as error:
            raise ConfigError(f"MODEL={arguments.model}: {error}") from error
    print(f"{arguments.folder}: {type(model).__name__}, {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
