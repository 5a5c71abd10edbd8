"""The choice by the contract's words stands beside the unit tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
