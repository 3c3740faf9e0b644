"""Builds the compiled code into the wheel, so that no compiler is needed where it is installed.

Without a compiler, or if it fails, the wheel is for every platform, as it was before: the code is
then compiled where it is first used. An editable install compiles nothing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface[Any]):
    """What hatchling calls for a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root, "src")))
        from onelayer.engines.native.prebuilding import build_libraries, platform_tag

        self._folder = tempfile.TemporaryDirectory(prefix="onelayer-wheel-")
        built, failures = build_libraries(Path(self._folder.name))
        if failures:
            self.app.display_warning("left out of the wheel: " + "; ".join(failures))
        if built:
            for name, path in built.items():
                build_data["force_include"][str(path)] = f"onelayer/{name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._folder.cleanup()
