"""``python -m onelayer``."""

import sys

from onelayer.cli.main import main

sys.exit(main())
