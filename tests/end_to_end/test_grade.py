"""`ipclab grade`: what it takes, what it ends with, what it writes, and what it keeps to itself."""

import concurrent.futures
import contextlib
import gzip
import hashlib
import io
import json
import os
import pathlib
import pty
import re
import shutil
import stat
import subprocess
import tarfile
import threading
import unittest
import xml.etree.ElementTree as ElementTree
import zipfile

import ipclab
from ipclab import (BELOW, BUILD, FEEDBACK_SCHEMA, GRADED, GRADER, IPCLAB, MANIFEST, QUICK, REFERENCE,
                    REJECTED, RESULTS_SCHEMA, STARTER, USAGE, check_clean, copy_course,
                    edit_manifest, environment, folder, grade, load, objects, run, source)

FORMS = ("table", "json", "junit", "markdown")
WHOLE = {}  # gradings with all tests, made once


def setUpModule():
    with folder() as into:
        case = unittest.TestCase()
        WHOLE["reference"] = grade(case, REFERENCE)
        WHOLE["starter"] = grade(case, STARTER)
        # Some pass, some fail; once in turn, once four at a time.
        naive = source("naive", into)
        WHOLE["naive j4"] = grade(case, naive, "-j", "4")
        WHOLE["naive j1"] = grade(case, naive, "-j", "1", timeout=240)


class Score(unittest.TestCase):
    def test_reference(self):
        done = WHOLE["reference"]
        self.assertEqual((done.status, done.results["score"], done.results["max"]),
                         (GRADED, 100, 100), done)
        self.assertEqual(done.results["status"], "graded")
        self.assertIn(b"score: 100 of 100 points", done.out)
        self.assertEqual(len(done.results["runs"]), len(MANIFEST["tests"]))
        self.assertEqual(done.results["not_official"], [])
        self.assertIs(done.results["official"], True)

    def test_starter(self):
        done = WHOLE["starter"]
        self.assertEqual((done.status, done.results["score"], done.results["max"]),
                         (GRADED, 0, 100), done)
        self.assertEqual(done.results["build"]["warnings"], 0)

    def test_reference_leaves_nothing_over(self):
        for test, each in WHOLE["reference"].runs().items():
            left = {kind: count for kind, count in each["leftovers"].items() if count}
            # These tests start processes that outlive pipeline.
            if test in ("status/foreign_child", "coprocess/heir"):
                left.pop("processes", None)
            self.assertEqual(left, {}, test)

    def test_the_same_work_gives_the_same_document(self):
        """But for times, and nothing in it tells where the grader works."""
        def timeless(node):
            if isinstance(node, dict):
                return {k: timeless(v) for k, v in node.items() if k not in
                        ("seconds", "timings", "received_at", "leftovers")}
            return [timeless(each) for each in node] if isinstance(node, list) else node

        first, second = (timeless(WHOLE[f"naive j{jobs}"].feedback) for jobs in (1, 4))
        for one, other in zip(first["runs"], second["runs"]):
            for volatile in "attempts", "transcript", "message":
                one.pop(volatile), other.pop(volatile)
            self.assertEqual(one, other)
        for done in WHOLE.values():
            self.assertNotIn(b"/ipclab-", done.feedback_bytes)

    def test_jobs_change_no_verdict(self):
        self.assertEqual(WHOLE["naive j1"].verdicts(), WHOLE["naive j4"].verdicts())
        self.assertGreater(WHOLE["naive j1"].results["score"], 0)
        self.assertLess(WHOLE["naive j1"].results["score"], 60)

    def test_does_not_compile(self):
        with folder() as into:
            done = grade(self, source("does_not_compile", into))
        self.assertEqual((done.status, done.results["status"], done.results["score"]),
                         (GRADED, "build_failed", 0))
        self.assertEqual(done.results["max"], 100)
        self.assertIn("pipeline.c:3", done.feedback["build"]["log"])
        self.assertIn(b"'undeclared' undeclared", done.out)
        with folder() as into:
            done = grade(self, source("does_not_compile", into), "--min-score", "1")
            self.assertEqual(done.status, BELOW)

    def test_sums(self):
        for name, done in WHOLE.items():
            with self.subTest(name):
                for document in done.results, done.feedback:
                    self.assertEqual(sum(c["points"] for c in document["concepts"]),
                                     document["score"])
                    self.assertEqual(sum(c["max"] for c in document["concepts"]), 100)
                hidden = sum(entry["points"] for entry in done.feedback["hidden"])
                public = sum(r["points"] for r in done.feedback["runs"])
                self.assertEqual(hidden + public, done.results["score"])

    def test_min_score_is_a_percentage_of_the_measured(self):
        with folder() as into:
            naive = source("naive", into)
            # 2 of 3 points: 66.7 percent.
            tests = ("stages/one_stage", "usage/options")
            for percent, status in ("66", GRADED), ("67", BELOW), ("0", GRADED), ("100", BELOW):
                done = grade(self, naive, "--min-score", percent, tests=tests)
                self.assertEqual((done.results["score"], done.results["max"]), (2, 3), done)
                self.assertEqual(done.status, status, f"--min-score {percent}")


class Usage(unittest.TestCase):
    """Wrong usage ends with 2, a sentence, and no result."""

    def refused(self, *arguments, says=None):
        with folder() as into:
            done = run(IPCLAB, "grade", *arguments, cwd=into, temporary=into)
            self.assertEqual(done.returncode, USAGE, (arguments, done))
            self.assertEqual(os.listdir(into), [], f"{arguments}: a result was written")
            self.assertEqual(done.stdout, b"")
            # getopt speaks for itself, as "grade"; intake may have had its line before.
            self.assertRegex(done.stderr.decode(), r"(?m)^(ipclab grade|grade): .*[^.]$")
            if says:
                self.assertIn(says, done.stderr.decode())

    def test_unknown_lab(self):
        for lab in "nolab", "", ".", "..", "../pipe", "pipe/", "pipe/../pipe":
            with self.subTest(lab):
                self.refused(lab, REFERENCE, says="there is no lab")

    def test_missing_path(self):
        for path in "/nonexistent", "nothing@HEAD", "", "@", "x@", "@x", "/etc/passwd/x":
            with self.subTest(path):
                self.refused("pipe", path)

    def test_options(self):
        good = ("pipe", REFERENCE)
        for options in (("--format", "html"), ("--format",), ("-j", "0"), ("-j", "65"),
                        ("-j", "two"), ("-j", "-1"), ("--seed", "x"), ("--seed", "-1"),
                        ("--seed", "18446744073709551616"), ("--seed", ""), ("--min-score", "101"),
                        ("--min-score", "-5"), ("--min-score", "5.5"), ("--min-score", " 5"),
                        ("--test", "stages/none"), ("--test", ""), ("--test", "stages"),
                        ("--test", "stages/arguments", "--public-only"), ("--nonsense",), ("-z",),
                        ("-o", "missing/results.json"), ("-o", "feedback.json"), ("-o", "."),
                        ("-o", ""), ("more",)):
            with self.subTest(options):
                self.refused(*good, *options)
        self.refused()
        self.refused("pipe")

    def test_nothing_is_graded_before_options_are_right(self):
        with folder() as into:
            (into / "results.json").write_text("old")
            done = run(IPCLAB, "grade", "pipe", REFERENCE, "--test", "stages/none", cwd=into,
                       temporary=into)
            self.assertEqual(done.returncode, USAGE)
            self.assertEqual((into / "results.json").read_text(), "old")


class Sources(unittest.TestCase):
    """Every way to hand in: one submission has one hash, however it comes."""

    def right(self, path, *options, ignored=None):
        done = grade(self, path, *options, tests=QUICK[:1])
        self.assertEqual((done.status, done.results["score"]), (GRADED, 2), done)
        self.assertEqual(done.results["submission"]["sha256"],
                         WHOLE["reference"].results["submission"]["sha256"])
        self.assertEqual(done.results["submission"]["files"], ["pipeline.c"])
        if ignored is not None:
            self.assertEqual(done.results["submission"]["ignored"], ignored)
        return done

    def test_folders(self):
        with folder() as into:
            shutil.copytree(REFERENCE, into / "top")
            self.right(into / "top")
            self.right(str(into / "top") + "//")
            shutil.copytree(REFERENCE, into / "below/pipe")
            self.right(into / "below")
            os.symlink("top", into / "link")
            self.right(into / "link")

    def test_other_files_are_left_alone_and_listed(self):
        with folder() as into:
            path = shutil.copytree(REFERENCE, into / "s")
            os.mkfifo(path / "fifo")
            os.symlink("/etc/shadow", path / "link")
            (path / "Makefile").write_text("all:\n\ttouch /tmp/e2e-owned\n")
            (path / "folder").mkdir()
            done = self.right(path)
            ignored = done.feedback["submission"]["ignored"]
            self.assertEqual(sorted(ignored), ["Makefile", "fifo", "folder/", "link"])
            self.assertFalse(os.path.exists("/tmp/e2e-owned"))

    def archives(self, into, prefix, extra=()):
        members = [(f"{prefix}pipeline.c", (REFERENCE / "pipeline.c").read_bytes()), *extra]
        for name, mode in ("s.tar", "w"), ("s.tar.gz", "w:gz"):
            with tarfile.open(into / name, mode) as archive:
                for member, data in members:
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
            yield into / name
        with zipfile.ZipFile(into / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in members:
                archive.writestr(member, data)
        yield into / "s.zip"

    def test_archives(self):
        for prefix in "", "pipe/", "alice-17/", "./", "alice-17/pipe/":
            with folder() as into:
                for path in self.archives(into, prefix):
                    with self.subTest(f"{path.name} {prefix}"):
                        self.right(path)

    def test_archive_with_more(self):
        with folder() as into:
            for path in self.archives(into, "pipe/", [("pipe/notes.txt", b"hello")]):
                self.right(path, ignored=["pipe/notes.txt"])

    def git(self, repository, *words):
        done = run("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", repository,
                   *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().strip()

    def test_commits(self):
        with folder() as into:
            # A path with an @ in it: the last one splits.
            repository = into / "class@2026" / "alice"
            repository.mkdir(parents=True)
            self.git(repository, "init", "-q", "-b", "main")
            shutil.copy(STARTER / "pipeline.c", repository)
            self.git(repository, "add", ".")
            self.git(repository, "commit", "-q", "-m", "one")
            first = self.git(repository, "rev-parse", "HEAD")
            shutil.copy(REFERENCE / "pipeline.c", repository)
            self.git(repository, "commit", "-q", "-a", "-m", "two")
            second = self.git(repository, "rev-parse", "HEAD")
            (repository / "pipeline.c").write_text("not committed")
            for commit in "HEAD", "main", second, second[:10]:
                done = self.right(f"{repository}@{commit}")
                self.assertEqual(done.feedback["submission"]["commit"], second)
            done = grade(self, f"{repository}@{first}", tests=QUICK[:1])
            self.assertEqual(done.results["score"], 0)
            for commit in "nothing", "HEAD~9", "--help", "-x":
                done = grade(self, f"{repository}@{commit}", tests=QUICK[:1])
                self.assertEqual((done.status, done.results["status"]), (REJECTED, "rejected"))
                self.assertIn(commit, done.feedback["reason"])
            # A folder that exists wins.
            shutil.copytree(REFERENCE, f"{repository}@{first}")
            self.right(f"{repository}@{first}")


class Rejected(unittest.TestCase):
    """Refused: exit 4, a result, a sentence that a student understands."""

    def rejected(self, path, says):
        done = grade(self, path)
        self.assertEqual((done.status, done.results["status"], done.results["score"]),
                         (REJECTED, "rejected", 0), done)
        self.assertRegex(done.feedback["reason"], says)
        self.assertIn(b"The submission was refused", done.out)
        for form in FORMS:
            done = grade(self, path, "--format", form, "-q")
            self.assertEqual(done.status, REJECTED)
            if form == "junit":
                ElementTree.fromstring(done.out)

    def test_required_file_missing(self):
        with folder() as into:
            (into / "s").mkdir()
            self.rejected(into / "s", "'pipeline.c' is missing")

    def test_not_a_regular_file(self):
        for kind, make in (("a link", lambda p: os.symlink(REFERENCE / "pipeline.c", p)),
                           ("a FIFO", os.mkfifo), ("a folder", os.mkdir)):
            with self.subTest(kind), folder() as into:
                (into / "s").mkdir()
                make(into / "s/pipeline.c")
                self.rejected(into / "s", f"'pipeline.c' is {kind}, not a regular file")

    def test_too_large(self):
        with folder() as into:
            (into / "pipeline.c").write_bytes(b"/" * (257 * 1024))
            self.rejected(into, "'pipeline.c' is larger than the 256 KiB")

    def test_broken_archives(self):
        with folder() as into:
            with tarfile.open(into / "s.tar.gz", "w:gz") as archive:
                archive.add(REFERENCE / "pipeline.c", "pipeline.c")
            whole = (into / "s.tar.gz").read_bytes()
            for name, data in (("empty.tar", b""), ("cut.tar.gz", whole[:200]),
                               ("words.zip", b"no archive at all\n" * 40),
                               ("gzip.tar.gz", gzip.compress(b"no tar")), ("half.zip", b"PK\3\4")):
                with self.subTest(name):
                    (into / name).write_bytes(data)
                    self.rejected(into / name, "archive")
            with tarfile.open(into / "out.tar", "w") as archive:
                archive.add(REFERENCE / "pipeline.c", "../pipeline.c")
            self.rejected(into / "out.tar", r"contains '\.\.'")

    def test_no_file(self):
        self.rejected("/dev/null", "neither a folder nor an archive")


class Output(unittest.TestCase):
    def grade_to(self, output, cwd, **more):
        return subprocess.run([str(IPCLAB), "grade", "pipe", str(REFERENCE), "-o", str(output),
                               "--test", QUICK[0], "-q"], cwd=cwd, env=environment(),
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
                              timeout=ipclab.SECONDS, **more)

    def test_default_is_here(self):
        with folder() as into:
            done = run(IPCLAB, "grade", "pipe", REFERENCE, "--test", QUICK[0], cwd=into)
            self.assertEqual(done.returncode, GRADED)
            self.assertEqual(sorted(os.listdir(into)), ["feedback.json", "results.json"])
            self.assertEqual(stat.S_IMODE(os.stat(into / "results.json").st_mode), 0o600)

    def test_named(self):
        with folder() as into:
            (into / "sub").mkdir()
            self.assertEqual(self.grade_to("sub/alice.json", into,
                                           stdout=subprocess.DEVNULL).returncode, GRADED)
            self.assertEqual(sorted(os.listdir(into / "sub")), ["alice.json", "feedback.json"])
            self.assertEqual(stat.S_IMODE(os.stat(into / "sub/alice.json").st_mode), 0o600)

    def test_replaces_a_file_whole(self):
        with folder() as into:
            # Read by all, and linked elsewhere: neither survives in the new result.
            (into / "r.json").write_text("old")
            (into / "r.json").chmod(0o666)
            os.link(into / "r.json", into / "other")
            self.grade_to("r.json", into, stdout=subprocess.DEVNULL)
            self.assertEqual((into / "other").read_text(), "old")
            self.assertEqual(stat.S_IMODE(os.stat(into / "r.json").st_mode), 0o600)
            self.assertEqual(load((into / "r.json").read_bytes())["status"], "graded")
            self.assertEqual(sorted(os.listdir(into)), ["feedback.json", "other", "r.json"])

    def test_fifo_is_written_to(self):
        with folder() as into:
            os.mkfifo(into / "fifo")
            got = []

            def read():
                got.append((into / "fifo").read_bytes())

            reader = threading.Thread(target=read)
            reader.start()
            done = self.grade_to("fifo", into, stdout=subprocess.DEVNULL)
            reader.join(ipclab.SECONDS)
            self.assertEqual(done.returncode, GRADED, done)
            self.assertEqual(load(got[0])["score"], 2)
            self.assertTrue(stat.S_ISFIFO(os.lstat(into / "fifo").st_mode))
            self.assertEqual(os.listdir(into), ["fifo"])

    def test_fifo_without_reader(self):
        with folder() as into:
            os.mkfifo(into / "fifo")
            done = self.grade_to("fifo", into, stdout=subprocess.DEVNULL)
            self.assertEqual(done.returncode, GRADER)
            self.assertIn(b"nobody reads it", done.stderr)

    def test_devices_are_written_to(self):
        with folder() as into:
            done = self.grade_to("/dev/stdout", into, stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, GRADED)
            results, end = json.JSONDecoder().raw_decode(done.stdout.decode())
            self.assertEqual(results["score"], 2)
            self.assertIn("score: 2 of 2", done.stdout.decode()[end:])
            self.assertEqual(self.grade_to("/dev/null", into,
                                           stdout=subprocess.DEVNULL).returncode, GRADED)
            self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))
            self.assertTrue(os.path.lexists("/dev/stdout"))
            self.assertFalse(os.path.exists("/dev/feedback.json"))
            self.assertEqual(os.listdir(into), [])

    def test_full_device(self):
        with folder() as into, open("/dev/full", "wb") as full:
            self.assertEqual(self.grade_to("r.json", into, stdout=full).returncode, GRADER)
            done = self.grade_to("/dev/full", into, stdout=subprocess.DEVNULL)
            self.assertEqual(done.returncode, GRADER)
            self.assertIn(b"the result is lost", done.stderr)

    def test_nobody_reads_stdout(self):
        with folder() as into:
            end, out = os.pipe()
            os.close(end)
            done = self.grade_to("r.json", into, stdout=out)
            os.close(out)
            self.assertEqual(done.returncode, GRADER)
            self.assertEqual(load((into / "r.json").read_bytes())["status"], "graded")

    def test_closed_descriptors(self):
        with folder() as into:
            for closed in "0<&-", ">&-", "2>&-", "0<&- >&- 2>&-":
                with self.subTest(closed):
                    done = run("sh", "-c", f'"$0" "$@" {closed}', IPCLAB, "grade", "pipe",
                               REFERENCE, "-o", into / "r.json", "--test", QUICK[0])
                    self.assertIn(done.returncode, (GRADED, GRADER))
                    self.assertEqual(load((into / "r.json").read_bytes())["score"], 2)


class Forms(unittest.TestCase):
    def printed(self, form, *options):
        """The form of a grading that was made with it, and that grading."""
        with folder() as into:
            done = grade(self, source("naive", into), "--format", form, "-q", *options,
                         tests=(*QUICK, "meter/counts", "meter/any_bytes", "memcheck/plain"))
            self.assertEqual(done.err, b"")
            return done

    def test_json(self):
        done = self.printed("json")
        self.assertEqual(load(done.out), done.feedback)
        done = self.printed("json", "--full")
        self.assertEqual(load(done.out), done.results)

    def test_junit(self):
        for options in (), ("--full",):
            done = self.printed("junit", *options)
            tree = ElementTree.fromstring(done.out)
            cases = list(tree.iter("testcase"))
            failed = [r for r in done.results["runs"] if r["status"] != "passed"]
            self.assertEqual(len(cases), 6)
            self.assertEqual(len(list(tree.iter("failure"))) + len(list(tree.iter("error"))),
                             len(failed))

    def test_table_has_what_a_student_needs(self):
        out = self.printed("table").out.decode()
        block = out[out.index("usage/options: failed"):]
        lines = [line.split()[0] for line in block.splitlines()[1:] if line.startswith("  ")]
        for word in "expected", "got", "see", "repeat":
            self.assertIn(word, lines)
        self.assertLess(out.index("score: "), out.index("usage/options: failed"))
        self.assertRegex(out, r"repeat +ipclab grade pipe \S+ --test usage/options --seed \d+")

    def test_repeat_repeats(self):
        with folder() as into:
            done = grade(self, source("naive", into), tests=("usage/options",))
            command = done.feedback["runs"][0]["repeat"].split()
            self.assertEqual(command[0], "ipclab")
            again = run(IPCLAB, *command[1:], cwd=into)
            self.assertEqual(again.returncode, GRADED)
            results = load((into / "results.json").read_bytes())
            self.assertEqual(results["runs"][0]["seed"], done.results["runs"][0]["seed"])
            self.assertEqual(results["runs"][0]["message"], done.results["runs"][0]["message"])

    def test_markdown(self):
        out = self.printed("markdown").out.decode()
        self.assertRegex(out, r"(?m)^#+ ")
        self.assertIn("usage/options", out)


class Secrets(unittest.TestCase):
    """No byte of what a student may see tells of a hidden test more than its concept."""

    def test_there_are_secrets(self):
        found = ipclab.secrets()
        self.assertGreater(len(found), 100)
        self.assertIn("meter/backpressure", found)

    def search(self, data, where):
        text = data.decode(errors="replace")
        bare = ipclab.letters(text)
        told = sorted(s for s in ipclab.secrets() if ipclab.letters(s) in bare)
        self.assertEqual(told, [], where)

    def test_feedback(self):
        for name, done in WHOLE.items():
            with self.subTest(name):
                self.search(done.feedback_bytes, "feedback.json")
                self.search(done.out, "the table")
                self.search(done.err, "the progress")
                self.assertIn("meter/backpressure", done.results_bytes.decode())

    def test_forms(self):
        with folder() as into:
            naive = source("naive", into)
            hidden = [t["id"] for t in ipclab.hidden_tests()][:6]
            for form in FORMS:
                with self.subTest(form):
                    done = grade(self, naive, "--format", form, tests=hidden)
                    self.search(done.out, form)
                    self.search(done.err, "the progress")

    def test_no_time_and_no_seed_of_hidden_tests(self):
        for entry in WHOLE["naive j1"].feedback["hidden"]:
            for each in entry["runs"]:
                self.assertEqual(set(each), {"status", "points", "max", "bonus", "message", "hint",
                                             "transcript"})
                self.assertIn(each["status"], ("passed", "failed", "not_measured"))
                self.assertIsNone(each["message"])

    def test_full_tells(self):
        done = grade(self, STARTER, "--full", tests=("stages/arguments",))
        self.assertIn(b"stages/arguments", done.out)
        self.assertIn(b"stages/arguments", done.err)


class Selection(unittest.TestCase):
    def test_tests(self):
        done = grade(self, REFERENCE, tests=("stages/one_stage", "pipe/usage/options",
                                             "stages/one_stage"))
        self.assertEqual(sorted(done.runs()), ["stages/one_stage", "usage/options"])
        self.assertEqual((done.results["score"], done.results["max"]), (3, 3))
        self.assertFalse(done.results["official"])
        self.assertRegex(done.results["not_official"][0], "--test")

    def test_public_only(self):
        done = grade(self, STARTER, "--public-only", "-j", "8")
        public = [t for t in MANIFEST["tests"] if t["visibility"] == "public"]
        self.assertEqual(sorted(done.runs()), sorted(t["id"] for t in public))
        points = sum(t["points"] for t in public)
        self.assertEqual(done.results["max"], points)
        self.assertEqual(done.results["hidden_points"], 100 - points)
        self.assertFalse(done.results["official"])
        self.assertRegex(done.results["not_official"][0], "--public-only")
        # The hidden suite, which students may not be allowed to read, is not looked at.
        suite = (BUILD / "suites/pipe-public").read_bytes()
        self.assertEqual(done.results["hashes"]["suite"], hashlib.sha256(suite).hexdigest())
        self.assertIn(f"{100 - points} more points are in hidden tests".encode(), done.out)

    def test_seed(self):
        tests = ("random/shells", "random/pipefail", "meter/any_bytes")
        first, second, other = (grade(self, REFERENCE, "--seed", seed, tests=tests)
                                for seed in ("7", "7", "18446744073709551615"))
        self.assertEqual(first.results["seed"], "7")
        self.assertEqual(other.results["seed"], "18446744073709551615")
        seeds = [{t: r["seed"] for t, r in done.runs().items()} for done in (first, second, other)]
        self.assertEqual(seeds[0], seeds[1])
        for test in tests:
            self.assertNotEqual(seeds[0][test], seeds[2][test])
        self.assertEqual(first.verdicts(), second.verdicts())
        # What was typed; what a shell answered may hold pids.
        typed = [[line for line in r["transcript"].splitlines() if line.startswith("$ ")]
                 for done in (first, second, other) for r in done.results["runs"]]
        self.assertEqual(typed[:3], typed[3:6])
        self.assertNotEqual(typed[:3], typed[6:])

    def test_default_seed_is_the_submissions(self):
        done = grade(self, REFERENCE, tests=QUICK[:1])
        self.assertEqual(done.results["seed"], WHOLE["reference"].results["seed"])
        self.assertNotEqual(done.results["seed"], WHOLE["starter"].results["seed"])

    def test_secret_changes_hidden_seeds_only(self):
        with folder() as into:
            (into / "key").write_text("a secret")
            done = grade(self, REFERENCE, env={"IPCLAB_SECRET": str(into / "key")}, tests=QUICK)
        for test, each in done.runs().items():
            same = each["seed"] == WHOLE["reference"].runs()[test]["seed"]
            self.assertEqual(same, each["visibility"] == "public", test)

    def test_a_missing_secret_is_no_zero(self):
        done = grade(self, REFERENCE, env={"IPCLAB_SECRET": "/nonexistent/key"}, tests=QUICK)
        self.assertEqual((done.status, done.results["status"]), (GRADER, "grader_error"))


class Explained(unittest.TestCase):
    """A grade can be explained later: what it was made with, and whether it counts."""

    def test_hashes(self):
        with folder() as into:
            course = copy_course(into / "course")
            engine = course / "build/ipclab"
            first = grade(self, REFERENCE, engine=engine, tests=QUICK[:1]).results
            for kind in "suite", "manifest", "engine":
                self.assertRegex(first["hashes"][kind], "^[0-9a-f]{64}$")

            def changed(submission=REFERENCE):
                now = grade(self, submission, engine=engine, tests=QUICK[:1]).results
                kinds = {k for k in ("suite", "manifest", "engine")
                         if now["hashes"][k] != first["hashes"][k]}
                if now["submission"]["sha256"] != first["submission"]["sha256"]:
                    kinds.add("submission")
                return kinds

            self.assertEqual(changed(), set())
            self.assertEqual(changed(source("naive", into)), {"submission"})
            edit_manifest(course, lambda m: m.update(title="Another title"))
            self.assertEqual(changed(), {"manifest"})
            with open(course / "build/suites/pipe-hidden", "ab") as suite:
                suite.write(b"\0")  # behind an ELF's end: still the same program
            self.assertEqual(changed(), {"manifest", "suite"})
            with open(engine, "ab") as binary:
                binary.write(b"\0")
            self.assertEqual(changed(), {"manifest", "suite", "engine"})

    def test_official(self):
        self.assertTrue(WHOLE["reference"].results["official"])
        done = grade(self, REFERENCE, env={"IPCLAB_LAYERS_OFF": "own uid"}, tests=QUICK[:1])
        self.assertFalse(done.results["official"])
        self.assertGreater(len(done.results["not_official"]), 1)
        layers = {entry["layer"]: entry["active"] for entry in done.results["isolation"]}
        self.assertFalse(layers["own uid"])
        self.assertTrue(layers["seccomp"])

    def test_layers(self):
        layers = {e["layer"]: e["active"] for e in WHOLE["reference"].results["isolation"]}
        self.assertTrue(all(layers.values()), layers)
        self.assertGreaterEqual(len(layers), 8)

    def test_timings_and_environment(self):
        results = WHOLE["reference"].results
        self.assertEqual(list(results["timings"]), ["intake", "build", "run", "score", "report"])
        self.assertGreater(results["timings"]["run"], 0)
        self.assertEqual(results["submission"]["id"], "pipe")
        self.assertRegex(results["submission"]["received_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Terminal(unittest.TestCase):
    def on_terminal(self, env=None, options=()):
        """What a terminal gets of a grading, stdout and stderr together."""
        master, slave = pty.openpty()
        with folder() as into:
            process = subprocess.Popen(
                [str(IPCLAB), "grade", "pipe", str(STARTER), "-o", f"{into}/r.json", "-j", "2",
                 "--test", "stages/one_stage", "--test", "stages/two_stages", *options],
                stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                env=environment({"TERM": "xterm", **(env or {})}))
            os.close(slave)
            got = b""
            with contextlib.suppress(OSError):  # EIO: the other side is closed
                while True:
                    data = os.read(master, 65536)
                    if not data:
                        break
                    got += data
            self.assertEqual(process.wait(), GRADED)
            os.close(master)
        return got

    COLOR = re.compile(rb"\x1b\[[0-9;]*m")

    def test_one_live_line(self):
        got = self.on_terminal()
        progress = got[:got.index(b"pipe: ")]
        progress = progress[:progress.rindex(b"\n")]
        # Each drawing takes the last one away: what stays is a line for each stage.
        stays = [line.split(b"\r\x1b[K")[-1] for line in progress.split(b"\r\n")]
        self.assertEqual([line.split()[0] for line in stays if line.strip()],
                         [b"intake", b"build", b"run", b"score", b"report"], progress)
        self.assertRegex(progress, rb"run \d+\.\d s +1/2")
        self.assertRegex(progress, rb"stages/(one|two)_stage")

    def test_color(self):
        self.assertRegex(self.on_terminal(), self.COLOR)
        self.assertNotRegex(self.on_terminal({"NO_COLOR": "1"}), self.COLOR)
        self.assertRegex(self.on_terminal({"NO_COLOR": ""}), self.COLOR)

    def test_dumb(self):
        self.assertNotIn(b"\x1b", self.on_terminal({"TERM": "dumb"}))

    def test_quiet(self):
        self.assertNotIn(b"\x1b[K", self.on_terminal(options=("-q",)))

    def test_piped(self):
        for name, done in WHOLE.items():
            with self.subTest(name):
                self.assertNotIn(b"\x1b", done.out + done.err)
                self.assertNotIn(b"\r", done.out + done.err)
        lines = WHOLE["reference"].err.decode().splitlines()
        self.assertEqual(sum(bool(re.match(r"\d+/\d+ ", line)) for line in lines),
                         len(MANIFEST["tests"]))


class Together(unittest.TestCase):
    def test_four_at_once(self):
        submissions = [REFERENCE, STARTER] * 2
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda s: grade(self, s, tests=[t["id"] for t in
                                                                 MANIFEST["tests"][:8]]),
                                 submissions))
        self.assertEqual([d.results["score"] for d in done],
                         [done[0].results["max"], 0] * 2)

    def test_two_in_one_folder(self):
        with folder() as into:
            (into / "tmp").mkdir()
            (into / "tmp").chmod(0o711)
            before = objects()
            command = [str(IPCLAB), "grade", "pipe", str(REFERENCE), "-q", "--test", QUICK[0]]
            both = [subprocess.Popen(command, cwd=into, stdout=subprocess.DEVNULL,
                                     env=environment(temporary=into / "tmp")) for _ in range(2)]
            self.assertEqual([p.wait(ipclab.SECONDS) for p in both], [GRADED, GRADED])
            self.assertEqual(sorted(os.listdir(into)), ["feedback.json", "results.json", "tmp"])
            for name, validator in (("results.json", RESULTS_SCHEMA),
                                    ("feedback.json", FEEDBACK_SCHEMA)):
                validator.validate(load(pathlib.Path(into / name).read_bytes()))
            check_clean(self, before, into / "tmp")


if __name__ == "__main__":
    unittest.main()
