"""Side-by-side runs against peers: `make bench`."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")  # peers' progress bars, which they read when they are imported
