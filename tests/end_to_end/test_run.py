"""The run stage: which slot runs what, and what becomes of the tests of a suite that goes wrong.

Most of it is graded by a suite that does what a plan says and keeps a log: scripted_suite.py.
"""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import signal
import unittest

import ipclab
from ipclab import (BUILD, GRADED, GRADER, MANIFEST, REFERENCE, ROOT, check_clean, copy_course,
                    edit_manifest, folder, grade, run, source, strays, wait_for)
from test_faults import ROOT_ONLY, Started

HERE = ROOT / "tests/end_to_end"
PUBLIC, HIDDEN = ([t["id"] for t in MANIFEST["tests"] if (t["visibility"] == "public") == public
                   and not t["id"].startswith("memcheck/")] for public in (True, False))
MEMCHECK = [t["id"] for t in MANIFEST["tests"] if t["id"].startswith("memcheck/")]


def namespaces():
    """Whether slots have namespaces of their own here."""
    layers = json.loads(run(ipclab.IPCLAB, "doctor", "--json").stdout)["layers"]
    return any(each["layer"] == "own namespaces" and each["active"] for each in layers)


class Log:
    """What the scripted suites did, in the order of time."""

    def __init__(self, path):
        self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    def tests(self, what="run"):
        return [line["test"] for line in self.lines if line["what"] == what]

    def suites(self):
        return sorted(line["suite"] for line in self.lines if line["what"] == "suite")

    def run_by(self):
        """What each suite process ran: a list of lists."""
        found = collections.defaultdict(list)
        for line in self.lines:
            if line["what"] == "run":
                found[line["pid"]].append(line["test"])
        return list(found.values())


class Scripted(unittest.TestCase):
    def grade(self, tests, plan, *options, seconds=1, alone=(), env=None):
        """Grades with scripted suites; returns the grading and the log."""
        with folder() as into:
            course = copy_course(into / "course")
            for name in "pipe-public", "pipe-hidden":
                path = course / "build/suites" / name
                path.unlink()
                shutil.copyfile(HERE / "scripted_suite.py", path)
                path.chmod(0o755)
            (course / "plan.json").write_text(json.dumps({**plan, "all": tests}))
            edit_manifest(course, lambda m: m["limits"].update(test_seconds=seconds))
            edit_manifest(course, lambda m: [test.update(alone=test["id"] in alone)
                                             for test in m["tests"]])
            done = grade(self, REFERENCE, *options, engine=course / "build/ipclab", tests=tests,
                         env=env)
            return done, Log(course / "log")

    def passed(self, done, attempts=None):
        """All have passed, at the first attempt but for those of `attempts`."""
        self.assertEqual((done.status, done.results["status"]), (GRADED, "graded"), done)
        for test, each in done.runs().items():
            self.assertEqual((each["status"], each["attempts"]),
                             ("passed", (attempts or {}).get(test, 1)), test)


class Pools(Scripted):
    def test_slots_share_one_pool(self):
        # The first test ends when all others have: only the other slot can have run them.
        tests = PUBLIC[:7]
        done, log = self.grade(tests, {tests[0]: ["hold"]}, "-j", "2", seconds=60)
        self.passed(done)
        self.assertEqual(sorted(log.tests()), sorted(tests))
        self.assertEqual(log.suites(), ["pipe-public"] * 2)
        self.assertEqual(sorted(log.run_by()), sorted([tests[:1], tests[1:]]))

    def test_a_slot_without_work_helps_the_other_suite(self):
        tests = PUBLIC[:2] + HIDDEN[:6]
        done, log = self.grade(tests, {HIDDEN[0]: ["hold"]}, "-j", "2", seconds=60)
        self.passed(done)
        self.assertEqual(sorted(log.tests()), sorted(tests))
        self.assertEqual(log.suites(), ["pipe-hidden"] * 2 + ["pipe-public"])

    def test_one_slot_starts_each_suite_once(self):
        tests = HIDDEN[:4] + PUBLIC[:4]
        done, log = self.grade(tests, {}, "-j", "1")
        self.passed(done)
        self.assertEqual(sorted(log.tests()), sorted(tests))
        self.assertEqual(log.suites(), ["pipe-hidden", "pipe-public"])

    def test_memory_tests_come_first(self):
        tests = PUBLIC[:2] + MEMCHECK[:2]
        done, log = self.grade(tests, {}, "-j", "1")
        self.passed(done)
        self.assertEqual(log.tests(), MEMCHECK[:2] + PUBLIC[:2])

    def test_alone_where_slots_share_objects(self):
        tests = PUBLIC[:4]
        for off, order in ("own namespaces", tests[1:] + tests[:1]), ("", tests):
            if not off and not namespaces():
                self.skipTest("this machine gives no namespaces")
            with self.subTest(off=off):
                done, log = self.grade(tests, {}, "-j", "1", alone=tests[:1],
                                       env={"IPCLAB_LAYERS_OFF": off} if off else None)
                self.passed(done)
                self.assertEqual(log.tests(), order)
                self.assertEqual(len(log.suites()), 2 if off else 1)

    def test_what_a_failure_is_about(self):
        tests = PUBLIC[:3]
        says = {"expected": "e", "got": "g"}
        plan = {tests[0]: ["fail " + json.dumps(says)],
                tests[1]: ["fail " + json.dumps({**says, "see": "Another", "hint": "Think."})],
                tests[2]: ["fail " + json.dumps({**says, "hint": ""})]}
        done, _ = self.grade(tests, plan, "-j", "1")
        manifest = {test["id"]: (test["see"], test["hint"]) for test in MANIFEST["tests"]}
        for document in done.results, done.feedback:
            self.assertEqual([(run["message"]["see"], run["hint"]) for run in document["runs"]],
                             [manifest[tests[0]], ("Another", "Think."),
                              (manifest[tests[2]][0], None)])

    def test_more_slots_than_tests(self):
        tests = PUBLIC[:2] + HIDDEN[:1]
        done, log = self.grade(tests, {}, "-j", "64")
        self.passed(done)
        self.assertEqual(sorted(log.tests()), sorted(tests))
        self.assertLessEqual(len(log.suites()), 3)

    def test_whole_lab_has_few_starts(self):
        # The true suites, each behind a script that counts its starts; Criterion's workers are
        # executed by the suite itself and not counted.
        with folder() as into:
            course = copy_course(into / "course")
            suites = course / "build/suites"
            for name in "pipe-public", "pipe-hidden":
                (suites / name).rename(suites / f"{name}.true")
                (suites / name).write_text(f"#!/bin/sh\necho {name} >>{into}/starts\n"
                                           f"exec {suites}/{name}.true\n")
                (suites / name).chmod(0o755)
            done = grade(self, REFERENCE, "-j", "2", engine=course / "build/ipclab")
            starts = (into / "starts").read_text().split()
        self.assertEqual((done.status, done.results["score"]), (GRADED, 100), done)
        self.assertEqual(sum(each["attempts"] for each in done.results["runs"]),
                         len(MANIFEST["tests"]) + done.results["reruns"])
        # One slot for each suite, and whoever has none left helps the other; lone ones besides.
        lone = sum(test.get("alone", False) for test in MANIFEST["tests"])
        self.assertLessEqual(len(starts), 3 + lone + done.results["reruns"], starts)


class Faults(Scripted):
    def test_a_test_that_hangs(self):
        tests = PUBLIC[:5]
        for jobs in "1", "2":
            with self.subTest(jobs=jobs):
                done, log = self.grade(tests, {tests[1]: ["hang", "pass"]}, "-j", jobs)
                self.passed(done, {tests[1]: 2})
                self.assertEqual(done.results["reruns"], 1)
                # Those behind it once, and it again at the end, alone.
                self.assertEqual(sorted(log.tests()), sorted(tests + tests[1:2]))
                self.assertEqual(log.tests()[-1], tests[1])
                self.assertEqual(log.run_by()[-1], [tests[1]])
                self.assertEqual(len(log.suites()), int(jobs) + (2 if jobs == "1" else 1))

    def test_a_test_that_always_hangs(self):
        tests = PUBLIC[:3]
        done, log = self.grade(tests, {tests[0]: ["hang", "hang"]}, "-j", "1")
        self.assertEqual({test: (each["status"], each["attempts"])
                          for test, each in done.runs().items()},
                         {tests[0]: ("timeout", 2), tests[1]: ("passed", 1),
                          tests[2]: ("passed", 1)})
        self.assertEqual(sorted(log.tests()), sorted(tests + tests[:1]))

    def test_suite_dies_in_a_test(self):
        tests = PUBLIC[:4]
        done, log = self.grade(tests, {tests[1]: ["die", "pass"]}, "-j", "1")
        self.passed(done, {tests[1]: 2})
        self.assertEqual(log.tests(), tests + tests[1:2])

    def test_suite_dies_twice_in_a_test(self):
        tests = PUBLIC[:4]
        done, _ = self.grade(tests, {tests[1]: ["die", "die"]}, "-j", "1")
        self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"), done)
        self.assertIsNone(done.results["score"])
        self.assertIn(f"the suite failed twice in test '{tests[1]}'", done.results["reason"])
        # What had passed stays in the result.
        statuses = {test: each["status"] for test, each in done.runs().items()}
        self.assertEqual([statuses.get(test) for test in (tests[0], *tests[2:])], ["passed"] * 3)

    def test_suite_ends_between_tests(self):
        tests = PUBLIC[:5]
        done, log = self.grade(tests, {tests[1]: ["leave"]}, "-j", "1")
        self.passed(done)
        self.assertEqual(log.run_by(), [tests[:2], tests[2:]])

    def test_suite_dies_before_it_starts_a_test(self):
        # It is nobody's fault yet, and the test is run by the next suite.
        tests = PUBLIC[:5]
        done, log = self.grade(tests, {tests[2]: ["refuse"]}, "-j", "1")
        self.passed(done)
        self.assertEqual(log.run_by(), [tests[:3], tests[2:]])
        done, log = self.grade(tests, {tests[2]: ["refuse", "refuse"]}, "-j", "1")
        self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"), done)
        self.assertIn("the suite could not start", done.results["reason"])

    def test_suite_runs_what_it_was_not_given(self):
        tests = PUBLIC[:3]
        for plan, says in ((f"take {tests[2]}", "told of a test that it was not given"),
                           (f"ask {tests[2]}", f"'{tests[2]}' before the end of '{tests[0]}'"),
                           (f"ask {HIDDEN[0]}", "told of a test that it was not given")):
            with self.subTest(plan):
                done, _ = self.grade(tests, {tests[0]: [plan]}, "-j", "1")
                self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"),
                                 done)
                self.assertIn(says, done.results["reason"])


class Runner(unittest.TestCase):
    """grader/harness/suite_main.c, in Criterion's runner."""

    def test_worker_dies_outside_its_test(self):
        with folder() as into:
            course = copy_course(into / "course")
            (course / "build/suites/pipe-public").unlink()
            done = run("gcc", "-std=c17", "-D_GNU_SOURCE", f"-I{ROOT}/grader", "-o",
                       course / "build/suites/pipe-public", HERE / "suites/dies_outside.c",
                       BUILD / "grader/harness/suite_main.o", BUILD / "libharness.a",
                       BUILD / "libipclab.a", "-lcriterion", "-lcjson", "-lseccomp", "-lexpat",
                       "-lnettle", "-lpthread", "-lm")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            for test in "stages/one_stage", "stages/two_stages":
                with self.subTest(test):
                    done = grade(self, REFERENCE, "-j", "1", engine=course / "build/ipclab",
                                 tests=(test, "usage/options"))
                    self.assertEqual(done.results["status"], "grader_error")
                    self.assertRegex(done.results["reason"], f"failed twice in test '{test}'")
                    self.assertEqual(done.runs()["usage/options"]["status"], "passed")

    @ROOT_ONLY
    def test_ends_with_the_engine_when_it_waits_for_an_answer(self):
        """The keeper is stopped meanwhile, so that it is not the one who ends the runner."""
        with folder() as into, contextlib.ExitStack() as stack:
            grading = Started(source("hang_sleep", into), into, "-j", "1", "--test", PUBLIC[0],
                              "--test", PUBLIC[1])
            engine = grading.process
            self.addCleanup(ipclab.kill_group, engine)
            grading.wait_until_runs("pipeline")
            below = {p.pid: p for p in ipclab.descendants(engine.pid)}
            keeper, = [p.pid for p in below.values() if p.parent == engine.pid]
            # A worker, the runner's child, is executed from the same file: its name is the same.
            runner, = [p.pid for p in below.values() if p.name.startswith("pipe-") and
                       not below[p.parent].name.startswith("pipe-")]
            engine.send_signal(signal.SIGSTOP)

            def waits():
                # In a system call on the events' socket, asleep: no answer has come.
                call = pathlib.Path(f"/proc/{runner}/syscall").read_text().split()
                return ipclab.processes()[runner].state == "S" and call[1:2] == ["0x3"]
            wait_for(waits, "the runner waits for the engine")
            os.kill(keeper, signal.SIGSTOP)
            stack.callback(lambda: os.kill(keeper, signal.SIGCONT))
            engine.kill()
            engine.wait(timeout=60)

            def ended():
                everybody = ipclab.processes()
                return runner not in everybody or everybody[runner].state in "ZX"
            wait_for(ended, "the runner ends", 20)
            os.kill(keeper, signal.SIGCONT)
            wait_for(lambda: keeper not in ipclab.processes(), "the keeper ends", 20)
            stack.pop_all()
            engine.communicate(timeout=60)
            wait_for(lambda: not strays(), "the keeper ends what the slot ran", 20)
            check_clean(self, grading.before, grading.temporary, work_folder=True)


if __name__ == "__main__":
    unittest.main()
