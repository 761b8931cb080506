"""The grader's own faults: never a score, always a sentence, nothing left over.

Interrupts, a killed engine, a broken course, no room, no rights; and a grader that is not root.
"""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time
import unittest

import ipclab
from ipclab import (BUILD, GRADED, GRADER, IPCLAB, LABS, MANIFEST, QUICK, REFERENCE, ROOT, SLOT_UIDS,
                    STARTER, USAGE, Grading, check_clean, check_documents, copy_course,
                    descendants, edit_manifest, environment, folder, grade, kill_group, objects,
                    run, source, strays, wait_for)

ROOT_ONLY = unittest.skipUnless(os.geteuid() == 0, "needs root")


class Started:
    """A grading that is under way, in a process group of its own as a shell makes it."""

    def __init__(self, submission, into, *options, engine=IPCLAB):
        self.into = pathlib.Path(into)
        self.temporary = self.into / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o711)
        self.before = objects()
        self.command = [str(engine), "grade", "pipe", str(submission), "-o",
                        str(self.into / "results.json"), *options]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment(temporary=self.temporary),
                                        start_new_session=True)

    def wait_until_runs(self, name):
        def there():
            if self.process.poll() is not None:
                raise AssertionError(f"it ended before: {self.process.communicate()}")
            return [p for p in descendants(self.process.pid) if p.name == name and
                    (p.uid in SLOT_UIDS or os.geteuid() != 0)]
        return wait_for(there, f"a process '{name}'")

    def end(self):
        out, err = self.process.communicate(timeout=ipclab.SECONDS)
        done = subprocess.CompletedProcess(self.command, self.process.returncode, out, err)
        return Grading(self.command, done, self.into / "results.json", 0)


class Interrupt(unittest.TestCase):
    """^C reaches the whole process group; a job scheduler's SIGTERM the engine alone."""

    def interrupted(self, program, name, send):
        with folder() as into:
            grading = Started(source(program, into), into)
            self.addCleanup(kill_group, grading.process)
            grading.wait_until_runs(name)
            sent = time.monotonic()
            send(grading.process)
            done = grading.end()
            # Not when the compiler is done, or out of time (30 s).
            self.assertLess(time.monotonic() - sent, 20)
            check_documents(self, done)
            self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"))
            self.assertRegex(done.results["reason"], "interrupted")
            self.assertIsNone(done.feedback["score"])
            self.assertFalse(done.results["official"])
            self.assertIn(b"The grader failed", done.out)
            check_clean(self, grading.before, grading.temporary, str(done))

    def test_in_the_run(self):
        self.interrupted("hang_sleep", "pipeline", lambda p: os.killpg(p.pid, signal.SIGINT))

    def test_in_the_build(self):
        self.interrupted("compile_long", "cc1", lambda p: os.killpg(p.pid, signal.SIGINT))

    def test_terminate_in_the_run(self):
        self.interrupted("ignore_signals", "pipeline", lambda p: p.send_signal(signal.SIGTERM))

    def test_terminate_in_the_build(self):
        self.interrupted("compile_long", "cc1", lambda p: p.send_signal(signal.SIGTERM))

    def test_hang_up(self):
        self.interrupted("hang_wait", "pipeline", lambda p: p.send_signal(signal.SIGHUP))

    def test_twice(self):
        def twice(process):
            os.killpg(process.pid, signal.SIGINT)
            os.killpg(process.pid, signal.SIGINT)
        self.interrupted("hang_sleep", "pipeline", twice)


class Killed(unittest.TestCase):
    """kill -9: nobody can write a result any more, but the keepers clean up."""

    def killed(self, program, name):
        with folder() as into:
            grading = Started(source(program, into), into)
            self.addCleanup(kill_group, grading.process)
            uids = {p.uid for p in grading.wait_until_runs(name)}
            grading.process.kill()
            grading.process.communicate(timeout=60)
            wait_for(lambda: not strays(), "the keepers end what the slots ran", 20)
            wait_for(lambda: not [p for p in ipclab.processes().values()
                                  if p.uid in uids and p.state not in "ZX"],
                     "no process of the slots is left", 20)
            check_clean(self, grading.before, grading.temporary, program, work_folder=True)
            self.assertFalse((into / "results.json").exists())
            done = grade(self, REFERENCE, tests=QUICK, into=into)
            self.assertEqual(done.results["score"], done.results["max"])

    def test_in_the_run(self):
        self.killed("ignore_signals", "pipeline")

    @ROOT_ONLY
    def test_in_the_build(self):
        self.killed("compile_long", "cc1")


class BrokenCourse(unittest.TestCase):
    def broken(self, change, says, *options, tests=QUICK, status=GRADER):
        with folder() as into:
            course = copy_course(into / "course")
            change(course)
            done = grade(self, REFERENCE, *options, engine=course / "build/ipclab", tests=tests)
            self.assertEqual((done.status, done.results["status"]), (status, "grader_error"), done)
            self.assertRegex(done.results["reason"], says)
            self.assertIsNone(done.results["score"])
            self.assertIn(b"no fault of the submission", done.out)
            return done

    def script(self, text):
        def change(course):
            for suite in "public", "hidden":
                path = course / f"build/suites/pipe-{suite}"
                path.unlink()
                path.write_text(text)
                path.chmod(0o755)
        return change

    def test_suite_ends_at_once(self):
        for status in 0, 1, 3:
            with self.subTest(status):
                self.broken(self.script(f"#!/bin/sh\nexit {status}\n"),
                            "the suite could not start")

    def test_suite_is_no_program(self):
        self.broken(self.script("\0no program"), "the suite could not start")

    def test_suite_says_why(self):
        done = self.broken(self.script("#!/bin/sh\necho no such library >&2\n"),
                           "no such library", "--full")
        self.assertIn(b"no such library", done.out)

    def test_suite_is_killed(self):
        self.broken(self.script("#!/bin/sh\nkill -9 $$\n"), "the suite could not start")

    def test_suite_talks_nonsense(self):
        self.broken(self.script("#!/bin/sh\necho nonsense >&3\n"), "event")
        self.broken(self.script('#!/bin/sh\necho \'{"event":"end","test":"x/y",'
                                '"status":"passed"}\' >&3\n'), "a test that it was not given")

    def test_suite_without_end(self):
        self.broken(self.script("#!/bin/sh\ntr '\\0' x </dev/zero >&3\n"), "has no end")

    def test_suite_is_missing(self):
        self.broken(lambda course: (course / "build/suites/pipe-public").unlink(), "has no suite")

    def test_manifest_is_broken(self):
        def cut(course):
            path = course / "assignments/pipe/lab.json"
            path.write_text(path.read_text()[:1000])
        self.broken(cut, "lab.json", tests=())
        self.broken(lambda course: edit_manifest(course, lambda m: m["tests"].pop()), "100",
                    tests=())

    def test_test_that_no_suite_holds(self):
        def rename(manifest):
            manifest["tests"][0]["id"] = "stages/nowhere"
        self.broken(lambda course: edit_manifest(course, rename), "suite", tests=("stages/nowhere",))

    def test_given_file_is_missing(self):
        self.broken(lambda course: (course / "starter/pipe/Makefile").unlink(), "Makefile")

    def test_what_had_passed_stays(self):
        # One test breaks: what had been found before is in the result, and there is no score.
        def rename(manifest):
            manifest["tests"][1]["id"] = "stages/nowhere"
        with folder() as into:
            course = copy_course(into / "course")
            edit_manifest(course, rename)
            done = grade(self, REFERENCE, "-j", "1", engine=course / "build/ipclab",
                         tests=("stages/one_stage", "stages/nowhere"))
        self.assertEqual(done.results["status"], "grader_error")
        self.assertIsNone(done.results["score"])


class NoRoom(unittest.TestCase):
    """A full disk, a missing folder: never a score that is not the submission's."""

    def mount(self, path, options):
        path.mkdir()
        done = run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
        if done.returncode:
            self.skipTest(f"no tmpfs can be mounted: {done.stderr.decode().strip()}")
        self.addCleanup(run, "umount", "-l", path)

    @ROOT_ONLY
    def test_full_work_folder(self):
        seen = set()
        with folder() as into:
            for kilobytes in 4, 64, 120, 160, 230, 352, 364, 500, 4000:
                with self.subTest(kilobytes):
                    path = into / f"tmpfs{kilobytes}"
                    self.mount(path, f"size={kilobytes}k,mode=711")
                    done = grade(self, REFERENCE, "-j", "2", temporary=path, tests=(
                        *QUICK, "stages/all_at_once", "descriptors/nothing_inherited"))
                    seen.add(done.results["status"])
                    if done.results["status"] == "grader_error":
                        self.assertRegex(done.results["reason"],
                                         "(?i)no (space|room)|disk .*is full")
                    else:
                        self.assertEqual((done.results["status"], done.results["score"]),
                                         ("graded", done.results["max"]), done)
        self.assertEqual(seen, {"grader_error", "graded"})

    @ROOT_ONLY
    def test_full_output_folder(self):
        with folder() as into:
            self.mount(into / "full", "size=4k")
            (into / "full/filler").write_bytes(b"x" * 4096)
            done = run(IPCLAB, "grade", "pipe", REFERENCE, "-o", into / "full/results.json",
                       "--test", QUICK[0], temporary=into)
            self.assertEqual(done.returncode, GRADER)
            self.assertIn(b"the result is lost", done.stderr)
            self.assertEqual(os.listdir(into / "full"), ["filler"])

    @ROOT_ONLY
    def test_read_only_output_folder(self):
        with folder() as into:
            self.mount(into / "closed", "ro")
            done = run(IPCLAB, "grade", "pipe", REFERENCE, "-o", into / "closed/results.json",
                       temporary=into)
            self.assertEqual(done.returncode, USAGE)
            self.assertIn(b"no result can be written", done.stderr)

    def test_no_temporary_folder(self):
        with folder() as into:
            done = run(IPCLAB, "grade", "pipe", REFERENCE, "-o", into / "results.json",
                       temporary=into / "nowhere")
            self.assertEqual(done.returncode, GRADER)
            graded = Grading([], done, into / "results.json", 0)
            check_documents(self, graded)
            self.assertEqual(graded.results["status"], "grader_error")
            self.assertRegex(graded.results["reason"], "cannot make a work folder")

    @ROOT_ONLY
    def test_temporary_folder_where_nothing_can_be_executed(self):
        with folder() as into:
            self.mount(into / "noexec", "noexec,mode=711")
            done = grade(self, REFERENCE, tests=QUICK, temporary=into / "noexec")
            self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"), done)

    @ROOT_ONLY
    def test_temporary_folder_that_is_closed(self):
        # The tests' users cannot pass through it.
        with folder() as into:
            (into / "closed").mkdir(mode=0o700)
            done = grade(self, REFERENCE, tests=QUICK, temporary=into / "closed")
            self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"), done)


class Installed(unittest.TestCase):
    """make install, and how an installed ipclab finds its data."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.into = cls.stack.enter_context(folder())
        cls.into.chmod(0o755)
        cls.student = cls.install("student", "/usr")
        cls.grader = cls.install("grader", "/opt/ipclab", "GRADER=1")

    @classmethod
    def install(cls, name, prefix, *more):
        top = cls.into / name
        done = run("make", "-s", "-C", ROOT, "install", f"BUILD={BUILD}", f"DESTDIR={top}",
                   f"PREFIX={prefix}", *more)
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return pathlib.Path(f"{top}{prefix}")

    def test_what_is_there(self):
        for prefix, hidden in (self.student, False), (self.grader, True):
            with self.subTest(prefix):
                files = {str(p.relative_to(prefix)) for p in prefix.rglob("*") if p.is_file()}
                for path in ("bin/ipclab", "share/man/man1/ipclab.1",
                             "share/ipclab/assignments/pipe/lab.json",
                             "share/ipclab/assignments/pipe/README.md",
                             "share/ipclab/starter/pipe/pipeline.c",
                             "share/ipclab/suites/pipe-public"):
                    self.assertIn(path, files)
                self.assertEqual("share/ipclab/suites/pipe-hidden" in files, hidden)
                self.assertFalse([f for f in files if "reference" in f or "mutant" in f])

    def test_student_installation_holds_no_secret(self):
        for path in self.student.rglob("*"):
            if path.is_file():
                data = path.read_bytes().decode(errors="replace")
                self.assertEqual([s for s in ipclab.secrets() if s in data], [], path)

    def test_hidden_suites_are_their_owners(self):
        for name in "suites/pipe-hidden", "assignments/pipe/lab.json":
            self.assertEqual((self.grader / "share/ipclab" / name).stat().st_mode & 0o077, 0)

    def test_grader_grades(self):
        done = grade(self, REFERENCE, engine=self.grader / "bin/ipclab", tests=QUICK)
        self.assertEqual(done.results["score"], done.results["max"])

    def test_student_grades(self):
        done = grade(self, REFERENCE, engine=self.student / "bin/ipclab", tests=QUICK[:2])
        self.assertEqual((done.results["score"], done.results["max"]), (3, 3))
        self.assertFalse(done.results["official"])
        self.assertIn("only the public tests are installed here", done.results["not_official"])
        hidden = sum(t["points"] for t in ipclab.hidden_tests())
        self.assertEqual(done.results["hidden_points"], hidden)

    def test_home(self):
        with folder() as into:
            shutil.copy2(self.student / "bin/ipclab", into / "ipclab")
            alone = run(into / "ipclab", "grade", "pipe", REFERENCE, cwd=into)
            self.assertEqual(alone.returncode, GRADER)
            self.assertIn(b"IPCLAB_HOME", alone.stderr)
            done = grade(self, REFERENCE, engine=into / "ipclab", tests=QUICK[:2],
                         env={"IPCLAB_HOME": str(self.student / "share/ipclab")})
            self.assertEqual(done.results["score"], 3)
            # What lies beside the command comes first.
            done = grade(self, REFERENCE, engine=self.student / "bin/ipclab", tests=QUICK[:2],
                         env={"IPCLAB_HOME": "/nonexistent"})
            self.assertEqual(done.results["score"], 3)

    @ROOT_ONLY
    def test_an_ordinary_user(self):
        try:
            uid = pwd.getpwnam("nobody").pw_uid
        except KeyError:
            uid = 65534
        with folder() as into:
            into.chmod(0o755)
            home = into / "home"
            shutil.copytree(REFERENCE, home / "work")
            for path in (home, *home.rglob("*")):
                os.chown(path, uid, uid)
            before = {p.pid for p in ipclab.processes().values() if p.uid == uid}
            done = run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                       self.student / "bin/ipclab", "grade", "pipe", "work", cwd=home,
                       temporary=home, env={"HOME": str(home)})
            graded = Grading([], done, home / "results.json", 0)
            check_documents(self, graded)
            public = sum(t["points"] for t in MANIFEST["tests"] if t["visibility"] == "public")
            self.assertEqual((graded.results["score"], graded.results["max"]), (public, public),
                             graded)
            self.assertFalse(graded.results["official"])
            self.assertIn(b"not an official grade", graded.out)
            left = [p for p in ipclab.processes().values()
                    if p.uid == uid and p.pid not in before and p.state not in "ZX"]
            self.assertEqual(left, [])
            self.assertEqual(sorted(os.listdir(home)), ["feedback.json", "results.json", "work"])

    @ROOT_ONLY
    def test_an_ordinary_user_and_bad_programs(self):
        with folder() as into:
            into.chmod(0o755)
            home = into / "home"
            home.mkdir()
            for name in "daemon", "kill_all", "ignore_signals", "litter":
                shutil.copytree(source(name, into), home / name)
            for path in (home, *home.rglob("*")):
                os.chown(path, 65534, 65534)
            before = {p.pid for p in ipclab.processes().values() if p.uid == 65534}
            for name in "daemon", "ignore_signals":
                with self.subTest(name):
                    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                               self.student / "bin/ipclab", "grade", "pipe", name, "--test",
                               QUICK[0], cwd=home, temporary=home, env={"HOME": str(home)})
                    graded = Grading([], done, home / "results.json", 0)
                    check_documents(self, graded)
                    self.assertEqual((graded.status, graded.results["score"]), (GRADED, 0), graded)
                    left = [p for p in ipclab.processes().values()
                            if p.uid == 65534 and p.pid not in before and p.state not in "ZX"]
                    self.assertEqual(left, [])
                    self.assertEqual([f for f in os.listdir(home) if f.startswith("ipclab-")], [])


class RootWithoutItsRights(unittest.TestCase):
    @ROOT_ONLY
    def test_nothing_runs_as_root(self):
        with folder() as into:
            (into / "tmp").mkdir()
            done = run("setpriv", "--bounding-set=-setuid,-setgid", IPCLAB, "grade", "pipe",
                       REFERENCE, "-o", into / "results.json", temporary=into / "tmp")
            graded = Grading([], done, into / "results.json", 0)
            check_documents(self, graded)
            self.assertEqual(graded.status, GRADER)
            self.assertRegex(graded.results["reason"], "CAP_SETUID")
            self.assertEqual(os.listdir(into / "tmp"), [])


class StudentsMakefile(unittest.TestCase):
    def make(self, *words, env=None):
        with folder() as into:
            work = shutil.copytree(STARTER, into / "my-work")
            done = run("make", "-s", *words, cwd=work, env=env)
            return done, sorted(os.listdir(work))

    def test_check(self):
        done, files = self.make("check", f"IPCLAB={IPCLAB}", "TEST=stages/one_stage")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"score: 0 of 2 points", done.stdout)
        self.assertIn(b"repeat    make check TEST=stages/one_stage", done.stdout)
        self.assertIn("feedback.json", files)

    def test_without_ipclab(self):
        done, _ = self.make("check", "IPCLAB=", "IPCLAB_IMAGE=")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"no ipclab here", done.stderr)

    def test_first_hour_of_each_lab(self):
        """The starter compiles without a word, has no point and says so, and can be handed in."""
        for lab in LABS:
            manifest = json.loads((ROOT / "assignments" / lab / "lab.json").read_text())
            first = next(each for each in manifest["tests"] if each["visibility"] == "public")
            with self.subTest(lab), folder() as into:
                work = shutil.copytree(ROOT / "starter" / lab, into / "my-work")
                made = run("make", "-s", cwd=work)
                self.assertEqual((made.returncode, made.stdout, made.stderr), (0, b"", b""))
                checked = run("make", "-s", "check", f"IPCLAB={IPCLAB}", f"TEST={first['id']}",
                              cwd=work)
                self.assertEqual(checked.returncode, 0, checked.stderr)
                self.assertIn(f"score: 0 of {first['points']} point".encode(), checked.stdout)
                self.assertIn(f"repeat    make check TEST={first['id']}".encode(), checked.stdout)
                self.assertEqual(run("make", "-s", "submit", cwd=work).returncode, 0)
                done = grade(self, work / f"{lab}.tar.gz", lab=lab, tests=[first["id"]])
                self.assertEqual((done.results["score"], done.results["submission"]["ignored"]),
                                 (0, []))

    def test_one_of_two_programs_is_handed_in(self):
        for lab, left_out in (("fifo", "client.c"), ("chat", "chat.c"), ("rpc", "calc.c")):
            with self.subTest(lab), folder() as into:
                work = shutil.copytree(ROOT / "starter" / lab, into / "work")
                shutil.copytree(ROOT / "reference" / lab, work, dirs_exist_ok=True)
                (work / left_out).unlink()
                made = run("make", "-s", "submit", cwd=work)
                self.assertEqual(made.returncode, 0, made.stderr)
                self.assertIn(left_out.encode(), made.stderr)
                test = {"fifo": "serve/echo", "chat": "listen/port", "rpc": "call/reply"}[lab]
                done = grade(self, work / f"{lab}.tar.gz", lab=lab, tests=[test])
                self.assertEqual(done.results["score"], done.results["max"])

    def test_submit(self):
        with folder() as into:
            work = shutil.copytree(REFERENCE, into / "work")
            shutil.copy(STARTER / "Makefile", work)
            self.assertEqual(run("make", "-s", "submit", cwd=work).returncode, 0)
            done = grade(self, work / "pipe.tar.gz", tests=QUICK)
            self.assertEqual(done.results["score"], done.results["max"])
            self.assertEqual(done.results["submission"]["ignored"], [])


if __name__ == "__main__":
    unittest.main()
