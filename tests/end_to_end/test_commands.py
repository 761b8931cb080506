"""The other commands: labs, lint, doctor, manifest, help, the man page."""

import json
import os
import re
import shutil
import unittest

import ipclab
from ipclab import (BELOW, GRADED, IPCLAB, MANIFEST, ROOT, USAGE, copy_course, edit_manifest, folder,
                    run)

COMMANDS = ("grade", "labs", "lint", "doctor", "manifest")


def ipclab_says(case, *arguments, status=0, engine=IPCLAB):
    done = run(engine, *arguments)
    case.assertEqual(done.returncode, status, (arguments, done))
    return done.stdout.decode()


class Help(unittest.TestCase):
    def test_version(self):
        self.assertRegex(ipclab_says(self, "--version"), r"^ipclab \d+\.\d+(\.\d+)?\n$")

    def test_help(self):
        out = ipclab_says(self, "--help")
        for command in COMMANDS:
            self.assertRegex(out, rf"(?m)^  {command} ")
            self.assertTrue(ipclab_says(self, command, "--help").startswith(f"usage: ipclab {command}"))

    def test_wrong_usage(self):
        for arguments in ((), ("nothing",), ("labs", "--x"), ("labs", "a", "b"), ("lint", "-x"),
                          ("lint", "a", "b"), ("doctor", "x"), ("manifest",), ("manifest", "-x"),
                          ("labs", "nolab"), ("lint", "nolab"), ("manifest", "nolab"),
                          ("labs", "../pipe"), ("manifest", "../assignments/pipe")):
            with self.subTest(arguments):
                done = run(IPCLAB, *arguments)
                self.assertEqual(done.returncode, USAGE, done)
                self.assertEqual(done.stdout, b"")
                self.assertTrue(done.stderr)

    def test_full_device(self):
        with open("/dev/full", "wb") as full:
            for arguments in ("--version",), ("--help",), ("labs",), ("manifest", "pipe"), ("doctor",):
                import subprocess
                done = subprocess.run([str(IPCLAB), *arguments], stdout=full, check=False,
                                      stderr=subprocess.DEVNULL)
                self.assertNotEqual(done.returncode, 0, arguments)

    def test_man_page_names_every_option(self):
        page = run("man", "-l", ROOT / "grader/ipclab.1", env={"MANWIDTH": "80"})
        if page.returncode or not page.stdout:
            page = run("mandoc", ROOT / "grader/ipclab.1")
        text = re.sub(".\b", "", page.stdout.decode()).replace("‐", "-")
        self.assertIn("EXIT STATUS", text)
        for command in COMMANDS:
            self.assertIn(command, text)
            for option in re.findall(r"(?m)^ +(-\w)?,? ?(--[a-z-]+)?", ipclab_says(self, command, "--help")):
                for word in filter(None, option):
                    self.assertRegex(text, re.escape(word) + r"\b", f"{command} {word}")
        # And names none that is not there.
        helps = "".join(ipclab_says(self, command, "--help") for command in COMMANDS)
        helps += "--version --help"
        for word in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)):
            self.assertIn(word, helps)


class Lists(unittest.TestCase):
    def test_labs(self):
        self.assertRegex(ipclab_says(self, "labs"), rf"(?m)^pipe +{re.escape(MANIFEST['title'])} +"
                                                    rf"{len(MANIFEST['tests'])} tests$")

    def test_teaching_order(self):
        with folder() as into:
            course = copy_course(into / "course")
            shutil.rmtree(course / "assignments")
            for lab in "rpc", "shm", "pipe", "zoo", "message", "apple":
                path = course / "assignments" / lab
                path.mkdir(parents=True)
                (path / "lab.json").write_text(json.dumps({**MANIFEST, "lab": lab}))
            out = ipclab_says(self, "labs", engine=course / "build/ipclab")
            self.assertEqual([line.split()[0] for line in out.splitlines()],
                             ["shm", "message", "pipe", "rpc", "apple", "zoo"])

    def test_tests_of_a_lab(self):
        out = ipclab_says(self, "labs", "pipe")
        for test in MANIFEST["tests"]:
            self.assertRegex(out, rf"(?m)^  {test['id']} +{test['points']}  {test['visibility']} ")

    def test_manifest_is_cut(self):
        out = ipclab_says(self, "manifest", "pipe")
        self.assertEqual([s for s in ipclab.secrets() if s in out], [])
        cut = json.loads(out)
        self.assertEqual([t["id"] for t in cut["tests"]],
                         [t["id"] for t in MANIFEST["tests"] if t["visibility"] == "public"])
        hidden = {}
        for test in ipclab.hidden_tests():
            hidden[test["concept"]] = hidden.get(test["concept"], 0) + test["points"]
        self.assertEqual({entry["concept"]: entry["points"] for entry in cut["hidden"]}, hidden)

    def test_doctor(self):
        out = ipclab_says(self, "doctor")
        report = json.loads(ipclab_says(self, "doctor", "--json"))
        self.assertTrue(report["possible"])
        self.assertGreaterEqual(len(report["layers"]), 8)
        for layer in report["layers"]:
            self.assertRegex(out, rf"(?m)^  {'yes' if layer['active'] else 'NO'} +{layer['layer']} +\S")
        self.assertEqual(report["official"], os.geteuid() == 0)
        off = run(IPCLAB, "doctor", env={"IPCLAB_LAYERS_OFF": "own uid,seccomp"}).stdout.decode()
        self.assertRegex(off, r"(?m)^  NO +seccomp +left out by IPCLAB_LAYERS_OFF")
        self.assertIn("not official", off)

    def test_doctor_without_root_says_how(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                   "sh", "-c", 'exec "$0" doctor', IPCLAB)
        if done.returncode == 126 or b"ermission denied" in done.stderr:
            self.skipTest("the build folder is closed to other users")
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout.decode(), r"(?m)^  NO +own uid +needs root")

    def test_doctor_looks_for_ipv6_where_the_tests_will_run(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        with folder() as into:
            course = copy_course(into)
            edit_manifest(course, lambda manifest: manifest.update(machine={"ipv6": True}))
            # A network without any address, as a container has it; only a slot's own has one.
            for off, word in ("", "yes"), ("own namespaces", "NO"):
                done = run("unshare", "-n", course / "build/ipclab", "doctor",
                           env={"IPCLAB_LAYERS_OFF": off})
                self.assertRegex(done.stdout.decode(), rf"(?m)^  {word} +pipe ipv6 .*IPv6 on loopback")
            self.assertIn(b"--sysctl net.ipv6.conf.all.disable_ipv6=0", done.stdout)


class Lint(unittest.TestCase):
    def test_no_finding(self):
        self.assertEqual(ipclab_says(self, "lint"), "")
        self.assertEqual(ipclab_says(self, "lint", "pipe"), "")

    def finds(self, says, change=None, course_change=None):
        with folder() as into:
            course = copy_course(into / "course")
            if change:
                edit_manifest(course, change)
            if course_change:
                course_change(course)
            done = run(course / "build/ipclab", "lint", "pipe")
            self.assertEqual(done.returncode, BELOW, done)
            self.assertRegex(done.stdout.decode(), says)

    def test_manifest_that_does_not_load(self):
        def points(manifest):
            manifest["tests"][0]["points"] += 1
        def twice(manifest):
            manifest["tests"][1]["id"] = manifest["tests"][0]["id"]
        def unknown(manifest):
            manifest["tests"][0]["pionts"] = 1
        def kind(manifest):
            manifest["tests"][0]["points"] = "two"
        def visibility(manifest):
            manifest["tests"][0]["visibility"] = "secret"
        def exclusion(manifest):
            manifest["excludes"].append("thoughts")
        def name(manifest):
            manifest["files"][0]["name"] = "../pipeline.c"
        for says, change in (("101", points), ("stages/one_stage", twice), ("pionts", unknown),
                             ("points", kind), ("visibility is public, hidden or", visibility), ("thoughts", exclusion),
                             (r"\.\./pipeline.c", name)):
            with self.subTest(says):
                self.finds(says, change)
        self.finds("lab.json", course_change=lambda course: (
            course / "assignments/pipe/lab.json").write_text("{"))

    def test_suite_and_manifest(self):
        def rename(manifest):
            manifest["tests"][0]["id"] = "stages/nowhere"
        self.finds("'stages/nowhere', which the public suite does not hold", rename)
        self.finds("the public suite holds 'stages/one_stage', which lab.json does not name", rename)

        def hide(manifest):
            manifest["tests"][0]["visibility"] = "hidden"
        self.finds("'stages/one_stage' is hidden in lab.json and stands in the public suite", hide)

    def test_handout(self):
        def heading(manifest):
            manifest["tests"][0]["see"] = "Step 99"
        self.finds("'Step 99', which is no heading", heading)

        def write(replace, by):
            def change(course):
                path = course / "assignments/pipe/README.md"
                path.write_text(path.read_text().replace(replace, by))
            return change
        self.finds("does not name the public test 'stages/one_stage'",
                   course_change=write("stages/one_stage", "stages/one"))
        self.finds("names the hidden test 'meter/backpressure'",
                   course_change=write("stages/one_stage", "stages/one_stage meter/backpressure"))

    def test_starter(self):
        self.finds("lacks the given file 'Makefile'",
                   course_change=lambda course: (course / "starter/pipe/Makefile").unlink())

    def test_name(self):
        self.finds("calls itself 'tube'", lambda manifest: manifest.update(lab="tube"))


if __name__ == "__main__":
    unittest.main()
