"""Says in one line what to install when this Python cannot make an environment.

Called by: ``make setup``, with whatever Python the machine has, so it must parse on old ones too. Must not: install.
"""

import sys


def main() -> int:
    version = sys.version_info[:2]
    if version < (3, 11):
        sys.stderr.write(
            "需要 Python 3.11 或更新的版本（现为 {}.{}）。请先运行（Debian 12、Ubuntu 24.04）：\n"
            "  sudo apt-get install -y python3 python3-venv make\n"
            "Ubuntu 22.04：sudo apt-get install -y python3.11 python3.11-venv make\n".format(*version)
        )
        return 1
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships it apart
        import venv  # noqa: F401, PLC0415
    except ImportError:
        sys.stderr.write(
            "Python 缺少 venv 模块。请先运行：sudo apt-get install -y python{}.{}-venv make\n".format(*version)
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
