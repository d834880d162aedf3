"""A program of a release that fails, hangs or does not exist ends the release with its reason."""

from __future__ import annotations

from pathlib import Path

import programs
import pytest
from programs import ReleaseError


def test_a_program_that_fails_is_quoted_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"ended with 3:\nno room"):
        programs.output_of(["sh", "-c", "echo no room >&2; exit 3"], cwd=tmp_path)
    with pytest.raises(ReleaseError, match="no-such-program is not installed"):
        programs.output_of(["no-such-program"])
    with pytest.raises(ReleaseError, match=r"did not end within 0\.1 s"):
        programs.output_of(["sleep", "60"], timeout_s=0.1)
