"""Builds the engine for this processor, for those who will have no compiler: an image's user."""

import sys

from onelayer.runtime.native.engine import missing

sys.exit(missing())
