"""Where the tests' files are."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
DATA = TESTS / "data"
PROGRAMS = TESTS / "programs"
BENCHMARKS = TESTS / "benchmarks"
EXAMPLES = ROOT / "examples"
