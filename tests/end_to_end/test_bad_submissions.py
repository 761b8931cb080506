"""Submissions that misbehave: each is graded to the end, honestly, in time, and leaves nothing.

The programs are tests/end_to_end/programs/NAME.c. Those that use the processor up to their limit
come first, one by one: each is run again with the machine to itself. Then three gradings at a time:
what hangs asleep costs nothing, and gradings must not disturb each other.
"""

import concurrent.futures
import contextlib
import os
import re
import unittest

import ipclab
from ipclab import (GRADED, QUICK, REFERENCE, check_clean, copy_course, edit_manifest, folder, grade,
                    objects, run, source)

ONE = ("stages/one_stage",)
WAITS = "all processes wait, and nothing is left that could wake them"
SLEEPS = "all processes wait, some for a time of their own, and nobody else will wake them"
SLOW = r"\d+ s were not enough|had not ended after \d+ seconds|signal (9|24)"
SLOW_SECONDS = 3  # their time limit here; hang_spin has the lab's own

# name: the tests, and a sentence that the student must get. Where nothing is said of points: none.
PROGRAMS = {
    "crash": (QUICK, r"killed by signal 11 \(SIGSEGV"),
    "exit_at_once": (QUICK, "exit status 0"),
    "hang_sleep": (QUICK, SLEEPS + r"[^A-Z]*pipeline waits for time to pass"),
    "hang_wait": (QUICK, WAITS + r"[^A-Z]*pipeline waits for a child to end"),
    "hang_spin": (ONE, SLOW),
    "print_stdout": (ONE, SLOW),
    "print_stderr": (ONE, SLOW),
    "ignore_signals": (QUICK, WAITS),
    "fork_bomb": (ONE, SLOW),
    "daemon": (QUICK, "exit status 0"),
    "hold_pipes": (QUICK, f"exit status 0|{WAITS}"),
    "stop_itself": (QUICK, WAITS + r"[^A-Z]*pipeline is stopped by a signal"),
    "eat_memory": (ONE, SLOW),
    "fill_folder": (QUICK, "exit status 0"),
    "kill_all": (QUICK, "exit status 0"),
    "imitate": (QUICK, "exit status 0"),
    "spy": (QUICK, "exit status 0"),
    "rewrite": (QUICK, "exit status 0"),
    "litter": (ONE, "exit status 0|" + SLOW),
    "objects": (QUICK, "exit status 0"),
}

# What the compiler is attacked with, and what the student reads in the build's log.
SOURCES = {
    "does_not_compile": "'undeclared' undeclared",
    "include_endless": "the compiler was stopped|was not compiled within",
    "include_secret": "/etc/shadow: Permission denied",
    "compile_long": "the compiler was stopped|was not compiled within",
}


class Place:
    """A folder for one grading, which goes away with what the grading left."""

    def __init__(self, case, name):
        # 20,000 folders in a folder are the disk's work, and not what is tested here.
        self.path = stack.enter_context(folder())
        self.temporary = self.path / "tmp"
        self.temporary.mkdir()
        if name == "litter" and os.geteuid() == 0:
            mount = run("mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", self.temporary)
            if mount.returncode == 0:
                stack.callback(run, "umount", "-l", self.temporary)
        self.temporary.chmod(0o711)
        self.case = case

    def grade(self, submission, *options, **more):
        return grade(self.case, submission, *options, into=self.path, temporary=self.temporary,
                     **more)


stack = contextlib.ExitStack()
pool = None
graded = {}


def job(case, name, tests, engine):
    """The bad submission, then the reference in the same place; each with its checks."""
    place = Place(case, name)
    bad = place.grade(source(name, place.path), "--full", tests=tests, engine=engine)
    good = place.grade(REFERENCE, tests=tests)
    return bad, good


def setUpModule():
    global pool
    unittest.addModuleCleanup(stack.close)
    case = unittest.TestCase()
    course = copy_course(stack.enter_context(folder()) / "course")
    edit_manifest(course, lambda m: m["limits"].update(test_seconds=SLOW_SECONDS))
    slow = [name for name in PROGRAMS if PROGRAMS[name][0] is ONE]
    with concurrent.futures.ThreadPoolExecutor(1) as turns:
        for name in slow:
            engine = ipclab.IPCLAB if name == "hang_spin" else course / "build/ipclab"
            graded[name] = turns.submit(job, case, name, ONE, engine)
    pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(3))
    for name in [*SOURCES, *(name for name in PROGRAMS if name not in slow)]:
        tests = PROGRAMS[name][0] if name in PROGRAMS else ONE
        graded[name] = pool.submit(job, case, name, tests, ipclab.IPCLAB)
    stack.callback(lambda: [future.cancel() for future in graded.values()])


def told(document):
    """All that a student reads of how the tests ended."""
    words = [document["reason"] or "", document["build"]["log"]]
    for each in document["runs"]:
        message = each["message"] or {}
        words += [message.get("got") or "", each["transcript"] or ""]
    return "\n".join(words)


class BadSubmission(unittest.TestCase):
    maxDiff = 2000

    def graded(self, name):
        bad, good = graded[name].result()
        self.assertEqual(bad.status, GRADED)
        self.assertEqual(bad.results["score"], 0, bad)
        self.assertEqual(good.results["score"], good.results["max"], good)
        self.assertEqual(good.status, GRADED)
        for each in bad.results["runs"]:  # the harness ends a test at its limit, we 5 s later
            self.assertLess(each["seconds"], 10 + 5 + 5, each["test"])
        return bad

    def ran(self, name):
        """Graded, run and without a point, with a sentence for each public test that failed."""
        bad = self.graded(name)
        self.assertEqual(bad.results["status"], "graded")
        self.assertIsNone(re.search("LEAK", bad.results_bytes.decode()), told(bad.results))
        for each in bad.feedback["runs"]:
            self.assertIn(each["status"], ("failed", "crashed", "timeout"))
            self.assertTrue(each["message"]["expected"] and each["message"]["got"], each)
            self.assertTrue(each["message"]["see"] and each["repeat"], each)
            # Of a crash there is nothing to be hinted at.
            self.assertTrue(each["hint"] or each["status"] == "crashed" or
                            "killed by signal" in each["message"]["got"], each)
        self.assertRegex(told(bad.feedback), PROGRAMS[name][1])
        return bad


def add_plain_tests():
    def make(name):
        def test(self):
            self.ran(name)
        return test

    special = {name[len("test_"):] for name in dir(BadSubmission) if name.startswith("test_")}
    for name in PROGRAMS:
        if name not in special:
            setattr(BadSubmission, f"test_{name}", make(name))


class Special(BadSubmission):
    """Where more than the verdict counts."""

    def test_a_daemon_is_counted(self):
        for name in "daemon", "hold_pipes":
            with self.subTest(name):
                bad = self.ran(name)
                self.assertGreaterEqual(bad.feedback["leftovers"]["processes"], 1)
                self.assertIn(b"left over", bad.out)

    def test_spy_looked_at_others(self):
        # Else its silence would prove nothing.
        self.assertIn("LOOKED at others", told(self.ran("spy").results))

    def test_rewriter_tried(self):
        self.assertIn("LOOKED", told(self.ran("rewrite").results))

    def test_refused_calls_are_told(self):
        bad = self.ran("objects")
        self.assertIn("LOOKED", told(bad.results))
        refused = {call["call"].split("(")[0]: call for call in bad.feedback["refused_calls"]}
        for call, rule in {"socket": "sockets", "socketpair": "sockets", "msgget": "System V",
                           "semget": "System V", "shmget": "System V", "mq_open": "queues",
                           "mkfifo": "named pipes"}.items():
            # shm_open is an open of a path: no filter sees it, Landlock refuses it without a word.
            with self.subTest(call):
                name = call if call != "mkfifo" else "mknod"
                found = [c for c in refused if c.startswith(name)]
                self.assertTrue(found, f"{call} is not told: {sorted(refused)}")
                self.assertIn(rule.lower(), refused[found[0]]["rule"].lower())
                self.assertIn(refused[found[0]]["call"].encode(), bad.out)
        self.assertIn("not part of this lab", bad.out.decode())

    def test_output_reaches_no_terminal(self):
        for name in "print_stderr", "imitate", "fill_folder":
            with self.subTest(name):
                bad = self.ran(name)
                for text in bad.out, bad.err, bad.results_bytes, bad.feedback_bytes:
                    self.assertNotIn(b"\x1b", text)
                    self.assertNotIn(b"\x07", text)

    def test_endless_output_is_bounded(self):
        for name in "print_stdout", "print_stderr":
            self.assertLess(len(self.ran(name).results_bytes), 1 << 20)

    def test_imitated_junit_and_markdown(self):
        import xml.etree.ElementTree as ElementTree
        with folder() as into:
            program = source("imitate", into)
            junit = grade(self, program, "--format", "junit", "--full", "-q", tests=QUICK)
            tree = ElementTree.fromstring(junit.out)
            cases = [case.get("name") for case in tree.iter("testcase")]
            self.assertNotIn("x", cases)
            self.assertEqual(len(list(tree.iter("failure"))), len(QUICK))
            markdown = grade(self, program, "--format", "markdown", "--full", "-q", tests=QUICK)
            self.assertNotIn(b"<img src=x", re.sub(rb"(?s)```.*?```|`[^`]*`", b"", markdown.out))


class Compiler(BadSubmission):
    """The compiler runs untrusted input, too."""

    def check(self, name):
        bad = self.graded(name)
        self.assertEqual(bad.results["status"], "build_failed")
        self.assertIn("does not compile", bad.feedback["reason"])
        self.assertRegex(bad.feedback["build"]["log"], SOURCES[name])
        self.assertNotIn("root:", bad.results_bytes.decode())
        self.assertIn(b"does not compile", bad.out)
        # No path of the grader's, and the student's own file by name.
        self.assertNotIn("ipclab-", bad.feedback["build"]["log"])
        self.assertIn("pipeline.c", bad.feedback["build"]["log"])


def add_compiler_tests():
    for name in SOURCES:
        setattr(Compiler, f"test_{name}", lambda self, name=name: self.check(name))


class Whole(unittest.TestCase):
    """All tests of the lab, not a few."""

    def test_whole_gradings(self):
        before = objects()
        with folder() as into:
            for name in "exit_at_once", "crash", "hang_sleep", "kill_all":
                with self.subTest(name):
                    done = grade(self, source(name, into), "-j", "16")
                    self.assertEqual((done.status, done.results["score"]), (GRADED, 0), done)
                    self.assertEqual(done.results["max"], 100)
                    self.assertEqual({r["status"] for r in done.results["runs"]}
                                     - {"failed", "crashed", "timeout"}, set())
            check_clean(self, before, into, work_folder=True)


add_plain_tests()
add_compiler_tests()
for _class in Special, Compiler:
    # They inherit the way to look, not the tests.
    for _name in list(vars(BadSubmission)):
        if _name.startswith("test_") and _name not in vars(_class):
            setattr(_class, _name, None)


if __name__ == "__main__":
    unittest.main()
