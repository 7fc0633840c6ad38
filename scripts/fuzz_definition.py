"""Fuzz the reader of model definitions: whatever the text, only ModelError may come out.

    pip install atheris numpy              (in an environment of its own; not a dependency)
    python scripts/fuzz_definition.py -max_total_time=300

Options are those of libFuzzer. It begins with the definitions that the tests know; what it finds
besides is kept in a temporary folder, and an input that breaks the reader as `crash-*` in the
current one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

with atheris.instrument_imports(include=["attachtrans"]):
    from attachtrans.errors import ModelError
    from attachtrans.models.definition import ModelDefinition, canonical_json
    from tests.models.definitions import DEFINITIONS, DIFFUSION, NASTY, text_of


def one_input(data: bytes) -> None:
    """Read `data` as the text of a definition."""
    text = "{" + data.decode("utf-8", "surrogateescape")
    try:
        definition = ModelDefinition.read(text)
    except ModelError:
        return
    canonical_json(definition.raw)


def write_words(path: Path) -> None:
    """A libFuzzer dictionary: keys and small values of definitions."""
    keys = {key for known in DEFINITIONS for key in known} | set(DIFFUSION)
    words = sorted(f'"{key}": ' for key in keys)
    words += [text for value in NASTY if len(text := text_of({"": value})[5:-1]) < 40]
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    path.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")


def main() -> None:
    """Run until the options say stop."""
    with tempfile.TemporaryDirectory(prefix="fuzz_definition_") as made:
        corpus, words = Path(made, "corpus"), Path(made, "words")
        corpus.mkdir()
        for number, definition in enumerate(DEFINITIONS):
            # A file that exists, whatever it holds: without one the reader stops there.
            text = text_of({**definition, "ModelFile": __file__})
            Path(corpus, str(number)).write_text(text[1:], encoding="utf-8")
        write_words(words)
        options = [*sys.argv, f"-dict={words}", "-max_len=4096", str(corpus)]
        atheris.Setup(options, one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
