"""When this process began, on `time.monotonic`: `--minutes` counts from here, imports included."""

import time

STARTED = time.monotonic() - time.process_time()
