"""``python -m onelayer``."""

import sys

from onelayer.cli import main

sys.exit(main())
