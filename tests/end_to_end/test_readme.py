"""The README's examples do what it says.

A fenced block ```console that follows a comment <!-- test: NAME --> is typed, line by line, in a
fresh copy of the tree; all blocks in one copy, in their order. Lines that begin with "$ " are
commands for bash; what follows must be their output: `...` in a line stands for any text, a line
`...` alone for any lines. Runs of blanks count as one, so that a column may move.
"""

import re
import shutil
import subprocess
import unittest

import ipclab
from ipclab import ROOT, environment, folder

README = ROOT / "README.md"
SECONDS = 300
MARK = re.compile(r"<!-- test: ([\w-]+) -->\n```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(text):
    """[(name, [(command, [expected line])])]"""
    found = []
    for name, block in MARK.findall(text):
        steps = []
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
        found.append((name, steps))
    return found


def _line_pattern(line):
    words = [re.escape(re.sub(r"\s+", " ", part)) for part in line.split("...")]
    return ".*".join(words)


def matches(expected, output):
    """Whether the lines of `output` are what `expected` says."""
    pattern = ""
    for line in expected:
        pattern += "(?:[^\n]*\n)*?" if line.strip() == "..." else _line_pattern(line.strip()) + "\n"
    lines = [re.sub(r"\s+", " ", line).strip() for line in output.splitlines()]
    return re.fullmatch(pattern, "".join(line + "\n" for line in lines)) is not None


def fresh_copy(into):
    """The tree as a clone would have it: what git knows, and what it would be told of."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(ipclab.BUILD.name + "/"):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name, follow_symlinks=False)


class Readme(unittest.TestCase):
    def test_matching(self):
        self.assertTrue(matches(["a ... c", "...", "end"], "a b c\nx\ny\nend\n"))
        self.assertTrue(matches(["..."], ""))
        self.assertTrue(matches(["a  b"], "a b\n"))
        self.assertTrue(matches(["x", "..."], "x\n"))
        self.assertFalse(matches(["a", "b"], "a\nx\nb\n"))
        self.assertFalse(matches(["a"], "a\nb\n"))
        self.assertFalse(matches(["a.c"], "abc\n"))
        self.assertFalse(matches([], "something\n"))
        self.assertFalse(matches(["...", "end"], "a\nend of it\n"))

    def test_reading(self):
        text = "<!-- test: x -->\n```console\n$ one\nout\n$ two\n```\n```console\n$ not this\n```\n"
        self.assertEqual(examples(text), [("x", [("one", ["out"]), ("two", [])])])

    def test_examples(self):
        found = examples(README.read_text())
        self.assertTrue(found, "README.md has no tested example")
        # Every mark begins an example: none is lost to a typing mistake.
        self.assertEqual(README.read_text().count("<!-- test:"), len(found))
        env = environment()
        env.pop("MAKEFLAGS", None)
        env.pop("MAKELEVEL", None)
        with folder() as into:
            into.chmod(0o755)
            fresh_copy(into)
            for name, steps in found:
                for command, expected in steps:
                    with self.subTest(f"{name}: {command}"):
                        done = subprocess.run(["bash", "-c", command], cwd=into, env=env,
                                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                              stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
                        output = done.stdout.decode(errors="replace")
                        self.assertTrue(matches(expected, output),
                                        f"expected:\n" + "\n".join(expected) + f"\ngot:\n{output}")


if __name__ == "__main__":
    unittest.main()
