"""python -m wcodec"""

import sys

from wcodec.cli import main

if __name__ == "__main__":
    sys.exit(main())
