"""What the container does to its own folders before its services start, on real mounts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FORGET = """
import sys
from pathlib import Path
from hyper_image.container import forget_last_run
forget_last_run(Path(sys.argv[1]))
"""
ROOT = Path(__file__).resolve().parents[2]


def test_what_the_last_run_left_goes_and_mounts_stay(tmp_path: Path) -> None:
    run, source = tmp_path / "run", tmp_path / "source"
    for folder in (run / "old" / "deep", run / "a secret", run / "below" / "inside", source):
        folder.mkdir(parents=True)
    for file in (run / "libvirtd.pid", run / "old" / "deep" / "state", run / "file"):
        file.write_text("of the last run")
    (run / "dangling").symlink_to("/nowhere")
    (source / "password").write_text("keep")
    script = """
    mount --bind "$2" "$1/a secret" && mount --bind "$2" "$1/below/inside" &&
    mount --bind "$2/password" "$1/file" && cd "$3" && exec "$4" -c "$5" "$1"
    """
    own = ["unshare", "--mount", "sh", "-c", script, "forget", str(run), str(source), str(ROOT)]
    subprocess.run([*own, sys.executable, FORGET], check=True, timeout=60)
    assert (source / "password").read_text() == "keep"
    assert sorted(path.name for path in run.iterdir()) == ["a secret", "below", "file"]
