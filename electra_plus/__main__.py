"""`python -m electra_plus` is `electra-plus`."""

import sys

from electra_plus.cli.main import main

sys.exit(main())
