"""The two halves of a client-server lab are graded each on its own."""

import json
import shutil
import unittest

from ipclab import GRADED, ROOT, folder, grade

# What a student writes of each half.
HALVES = {
    "fifo": {"server": "server.c", "client": "client.c"},
    "chat": {"chatd": "chatd.c", "chat": "chat.c"},
    "rpc": {"calcd": "calcd.c", "calc": "calc.c"},
}
DOES_NOT_COMPILE = "int main(void) { return undeclared; }\n"
DOES_NOTHING = "int main(void) { return 0; }\n"
TOGETHER_MAX = 3  # points, at most, of tests that need both halves


class Halves(unittest.TestCase):
    def test_a_half_that_does_not_compile_or_nothing_costs_the_other_nothing(self):
        for lab, halves in HALVES.items():
            with self.subTest(lab):
                self.check(lab, halves)

    def test_a_half_that_was_not_handed_in(self):
        for lab, halves in HALVES.items():
            manifest = json.loads((ROOT / "assignments" / lab / "lab.json").read_text())
            program, file = next(iter(halves.items()))
            test = next(each["id"] for each in manifest["tests"] if each["id"].startswith("memcheck/"))
            with self.subTest(lab), folder() as into:
                work = shutil.copytree(ROOT / "reference" / lab, into / lab)
                (work / file).unlink()
                done = grade(self, work, lab=lab, tests=[test])
                message = done.results["runs"][0]["message"]
                self.assertEqual((message["expected"], message["got"]),
                                 (f"{program} compiles",
                                  f"there is no {file} in what was handed in"))

    def points(self, lab):
        manifest = json.loads((ROOT / "assignments" / lab / "lab.json").read_text())
        return {test["id"]: test["points"] for test in manifest["tests"]}

    def failed(self, lab, file, text, tests):
        """What fails of the reference with `text` in place of `file`: {test: message}."""
        with folder() as into:
            work = shutil.copytree(ROOT / "reference" / lab, into / lab)
            (work / file).write_text(text)
            self.done = grade(self, work, lab=lab, tests=tests)
        self.assertEqual((self.done.status, self.done.results["status"]), (GRADED, "graded"),
                         self.done)
        return {run["test"]: run["message"] for run in self.done.results["runs"]
                if run["status"] != "passed"}

    def check(self, lab, halves):
        points = self.points(lab)
        # valgrind takes the longest, and is no matter of halves.
        tests = [test for test in points if not test.startswith("memcheck/")]
        failed = {}
        for program, file in halves.items():
            failed[program] = self.failed(lab, file, DOES_NOT_COMPILE, tests)
            self.assertFalse(self.done.results["build"]["ok"])
            self.assertIn(f"{file}:1", self.done.feedback["build"]["log"])
            self.assertIn(b"Not every program compiles", self.done.out)
            for test, message in failed[program].items():
                self.assertEqual(message["expected"], f"{program} compiles", test)
            # Compiled, it fails its own tests, but for some about what it must not do.
            of_nothing = self.failed(lab, file, DOES_NOTHING, tests)
            self.assertLessEqual(set(of_nothing), set(failed[program]))
            self.assertGreater(len(of_nothing), len(failed[program]) * 2 / 3)
        one, other = failed.values()
        self.assertEqual(set(one) | set(other), set(tests), "each test is of a half")
        both = set(one) & set(other)
        self.assertLessEqual(sum(points[test] for test in both), TOGETHER_MAX, both)


if __name__ == "__main__":
    unittest.main()
