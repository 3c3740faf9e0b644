"""The names that Python users import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import onelayer


def test_every_public_name_can_be_imported() -> None:
    for name in onelayer.__all__:
        assert getattr(onelayer, name).__name__ == name


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'finetun'"):
        onelayer.finetun  # noqa: B018


@pytest.mark.process
def test_command_line_does_not_import_torch_or_numpy() -> None:
    code = (
        "import sys, onelayer.cli.main; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.process
def test_reading_encoding_and_decoding_do_not_import_torch() -> None:
    modules = (
        "onelayer.tasks.infer_columns, onelayer.prediction.formats, onelayer.prediction.predictor"
    )
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
