"""How much of the chaos tests to run, and their seed.

CHAOS=full runs all of it (make chaos), otherwise a small part; CHAOS_SEED=… replays.
"""

import os

import pytest

FULL = os.environ.get("CHAOS") == "full"
thorough = pytest.mark.skipif(not FULL, reason="left to `make chaos`")
SEED = int(os.environ["CHAOS_SEED"])
