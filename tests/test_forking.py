"""The tests' own way to run commands."""

import textwrap

from forking import run_module


def test_an_exit_code_is_known_where_the_fork_server_is_gone(tmp_path):
    """The server is the command's parent; the next command starts another."""
    (tmp_path / "orphaned.py").write_text(
        textwrap.dedent("""
            import os, signal, sys, time
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.5)
            print("still here", flush=True)
            sys.exit(2)
        """)
    )
    (tmp_path / "child.py").write_text("raise SystemExit(3)")
    ended = run_module("orphaned", [], tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "still here\n")
    assert run_module("child", [], tmp_path).returncode == 3
