"""`make measure` of the labs shm and message: right numbers or a sentence, and nothing left over."""

import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree

from ipclab import ROOT, descendants, environment, folder, run, wait_for

WRITTEN = {"shm": "ring.c", "message": "mailbox.c", "pipe": "pipeline.c"}
QUICK = "-n", "500", "-r", "1"
ROW = re.compile(r"^(ring|queue|pipe|pipe \(bare\)) +(\d+) +(\d+) +(\d+\.\d+) +(\d+\.\d+)$", re.M)
SIZES = 16, 256

# A right ring.c, right.c, with one function in front of it.
BROKEN = """
#define {name} right_{name}
#include "right.c"
#undef {name}
"""
LOSES = BROKEN.format(name="ring_put") + """
enum ring_status ring_put(struct ring_view *view, const char *data, size_t len)
{
    static int count;
    return ++count == 7 ? RING_OK : right_ring_put(view, data, len);
}
"""
HANGS = BROKEN.format(name="ring_take") + """
enum ring_status ring_take(struct ring_view *view, struct ring_item *item)
{
    for (;;)
        pause();
    return right_ring_take(view, item);
}
"""
CRASHES = BROKEN.format(name="ring_take") + """
#include <signal.h>
enum ring_status ring_take(struct ring_view *view, struct ring_item *item)
{
    raise(SIGSEGV);
    return right_ring_take(view, item);
}
"""


BUILT = {}


def setUpModule():
    BUILT["folder"] = tempfile.TemporaryDirectory(prefix="measure-kit-")


def tearDownModule():
    BUILT.pop("folder").cleanup()


def built(lab, ring=None):
    """A lab's folder of a student who has written it and built everything; made once."""
    if (lab, ring) not in BUILT:
        work = pathlib.Path(BUILT["folder"].name, f"{len(BUILT)}-{lab}")
        shutil.copytree(ROOT / "starter" / lab, work)
        shutil.copy(ROOT / "reference" / lab / WRITTEN[lab], work)
        if ring is not None:
            (work / "ring.c").rename(work / "right.c")
            (work / "ring.c").write_text(ring)
        words = ["pipeline"] if lab == "pipe" else ["all", "measure.bin"]
        done = run("make", "-s", *words, cwd=work)
        if done.returncode != 0:
            raise AssertionError(f"{lab} does not build: {done.stderr.decode()}")
        BUILT[lab, ring] = work
    return BUILT[lab, ring]


def kit(into, *labs, ring=None):
    for lab in labs:
        shutil.copytree(built(lab, ring if lab == "shm" else None), pathlib.Path(into) / lab)
    return pathlib.Path(into)


def inside(path):
    """Processes that work in a folder."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if pathlib.Path(os.readlink(f"/proc/{name}/cwd")).is_relative_to(path):
                    found.append(name)
            except OSError:
                pass
    return found


class Measured:
    """One run of measure in a lab's folder, without make: its end, and what is left of it."""

    def __init__(self, case, work, *options, env=None, stop=None, interrupt=signal.SIG_DFL):
        self.process = subprocess.Popen(
            ["./measure.bin", *options], cwd=work, env=environment(env), start_new_session=True,
            # Not as we were started: a shell ignores ^C for what runs in its background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if stop is not None:
                stop(self.process.pid)
            self.out, self.err = self.process.communicate(timeout=120)
        finally:
            # Of one that a test gave up: it takes its programs along.
            self.process.terminate()
            self.process.wait(timeout=30)
        self.status = self.process.returncode
        self.rows = {(name, int(size)): [float(n) for n in numbers]
                     for name, size, *numbers in ROW.findall(self.out)}
        case.assertEqual(inside(work.parent), [], self)
        name = f"measure-{self.process.pid}"
        case.assertFalse(pathlib.Path("/dev/shm", name).exists(), self)
        mailboxes = work.parent / "message/mbox"
        if mailboxes.exists():
            done = run(mailboxes, "destroy", name)
            case.assertEqual((done.returncode, b"no such mailbox" in done.stderr), (1, True), self)

    def __str__(self):
        return f"{self.status}\n{self.out}\n{self.err}"


class Measure(unittest.TestCase):
    def check_rows(self, done, *names):
        self.assertEqual(set(done.rows), {(name, size) for name in names for size in SIZES}, done)
        for numbers in done.rows.values():
            self.assertTrue(all(number > 0 for number in numbers), done)

    def test_the_copies_are_one_file(self):
        self.assertEqual((ROOT / "starter/shm/measure.c").read_bytes(),
                         (ROOT / "starter/message/measure.c").read_bytes())

    def test_everything_is_there(self):
        with folder() as into:
            kit(into, "shm", "message", "pipe")
            for lab in "shm", "message":
                with self.subTest(lab):
                    work = into / lab
                    before = set(os.listdir(work))
                    done = Measured(self, work, *QUICK)
                    self.assertEqual(done.status, 0, done)
                    self.check_rows(done, "ring", "queue", "pipe")
                    # What moved in a second is the lines' own bytes.
                    for (_, size), (lines, megabytes, _) in done.rows.items():
                        self.assertAlmostEqual(lines * size / 1e6, megabytes, delta=0.006)
                    self.assertEqual(len(done.err.splitlines()), 6, "a line for each measurement")
                    self.assertEqual(set(os.listdir(work)) - before,
                                     {"measure.dat", "measure.svg"})
                    self.check_files(work, done)
                    self.assertRegex(done.out, r"(?s)lines a second.*ring +queue +pipe")

    def check_files(self, work, done):
        lines = (work / "measure.dat").read_text().splitlines()
        data = [line.split("\t") for line in lines if not line.startswith("#")]
        self.assertEqual(len(lines) - len(data), 2)
        self.assertEqual([(row[0], int(row[1])) for row in data], list(done.rows))
        for row in data:
            self.assertAlmostEqual(float(row[2]), done.rows[row[0], int(row[1])][0], delta=1)
        svg = xml.etree.ElementTree.parse(work / "measure.svg").getroot()
        self.assertEqual(svg.tag, "{http://www.w3.org/2000/svg}svg")
        words = " ".join(svg.itertext())
        for word in ("Throughput", "lines a second", "Latency", "microseconds", "16 bytes",
                     "256 bytes", "ring", "queue", "pipe"):
            self.assertIn(word, words)

    def test_makefile(self):
        with folder() as into:
            kit(into, "shm")
            work = into / "shm"
            done = run("make", "-s", "measure", "MEASURE=-n 50 -r 1", cwd=work)
            self.assertEqual(done.returncode, 0, done)
            self.assertIn(b"make measure", run("make", "-s", "help", cwd=work).stdout)
            run("make", "-s", "clean", cwd=work)
            self.assertEqual(sorted(os.listdir(work)),
                             sorted(os.listdir(ROOT / "starter/shm")))

    def test_an_item_is_lost(self):
        with folder() as into:
            done = Measured(self, kit(into, "shm", ring=LOSES) / "shm", *QUICK)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "pipe (bare)")
            for size in SIZES:
                self.assertRegex(done.out, f"(?m)^ring +{size} +what came out differs from line 7 "
                                           "on: run make check$")
            self.assertIn("ring\t16\t?\t?\t?\n", (into / "shm/measure.dat").read_text())

    def test_a_program_hangs(self):
        with folder() as into:
            work = kit(into, "shm", ring=HANGS) / "shm"
            began = time.monotonic()
            done = Measured(self, work, *QUICK, "-t", "1")
            self.assertLess(time.monotonic() - began, 30)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "pipe (bare)")
            self.assertEqual(done.out.count("did not end within 1 s: make check finds out why"), 2,
                             done)

    def test_what_a_program_has_started_hangs(self):
        with folder() as into:
            work = kit(into, "shm", "pipe") / "shm"
            (into / "bin").mkdir()
            (into / "bin/dd").write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
            (into / "bin/dd").chmod(0o755)
            (into / "bin/cat").symlink_to(shutil.which("cat"))
            done = Measured(self, work, *QUICK, "-t", "1", env={"PATH": str(into / "bin")})
            self.check_rows(done, "ring")
            self.assertRegex(done.out, "(?m)^pipe +16 +did not end within 1 s")

    def test_a_program_dies(self):
        with folder() as into:
            done = Measured(self, kit(into, "shm", ring=CRASHES) / "shm", *QUICK)
            self.check_rows(done, "pipe (bare)")
            self.assertEqual(done.out.count("./consumer died of signal 11"), 2, done)

    def test_interrupted(self):
        with folder() as into:
            kit(into, "message")
            work = kit(into, "shm", ring=HANGS) / "shm"
            for number in signal.SIGINT, signal.SIGTERM:
                with self.subTest(number):
                    def stop(pid, number=number):
                        wait_for(lambda: [p for p in descendants(pid) if p.name == "consumer"],
                                 "a consumer")
                        os.kill(pid, number)
                    self.assertEqual(Measured(self, work, *QUICK, stop=stop).status, -number)
            # In the middle of a queue, too.
            (work / "consumer").unlink()

            def stop(pid):
                wait_for(lambda: [p for p in descendants(pid) if p.name == "mrecv"], "an mrecv")
                os.kill(pid, signal.SIGINT)
            done = Measured(self, work, "-n", "1000000", stop=stop)
            self.assertEqual(done.status, -signal.SIGINT, done)

    def test_interrupted_in_the_background(self):
        with folder() as into:
            work = kit(into, "shm") / "shm"

            def stop(pid):
                wait_for(lambda: [p for p in descendants(pid) if p.name == "consumer"], "a consumer")
                os.kill(pid, signal.SIGINT)
            done = Measured(self, work, "-n", "20000", "-r", "1", stop=stop,
                            interrupt=signal.SIG_IGN)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "ring", "pipe (bare)")

    def test_a_lab_is_not_there(self):
        with folder() as into:
            done = Measured(self, kit(into, "shm", "pipe") / "shm", *QUICK)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "ring", "pipe")
            self.assertIn("queue: there is no mbox in . or ../message: 'make' in its folder, or "
                          "say MESSAGE=path\n", done.out)

    def test_a_lab_is_elsewhere(self):
        with folder() as into:
            kit(into / "elsewhere", "shm")
            work = kit(into, "message") / "message"
            done = Measured(self, work, *QUICK, env={"SHM": str(into / "elsewhere/shm")})
            self.check_rows(done, "ring", "queue", "pipe (bare)")
            # A wrong path is not passed over.
            done = Measured(self, work, *QUICK, env={"MESSAGE": "/nowhere"})
            self.check_rows(done, "pipe (bare)")
            self.assertIn("there is no mbox in /nowhere", done.out)

    def test_a_lab_is_not_written(self):
        with folder() as into:
            work = shutil.copytree(ROOT / "starter/shm", into / "shm")
            self.assertEqual(run("make", "-s", "all", "measure.bin", cwd=work).returncode, 0)
            done = Measured(self, work, *QUICK)
            self.check_rows(done, "pipe (bare)")
            self.assertEqual(done.out.count("Function not implemented"), 2, done)

    def test_no_gnuplot(self):
        with folder() as into:
            work = kit(into, "shm") / "shm"
            (work / "measure.svg").touch()
            (into / "bin").mkdir()
            for name in "dd", "cat":
                (into / "bin" / name).symlink_to(shutil.which(name))
            done = Measured(self, work, *QUICK, env={"PATH": str(into / "bin")})
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "ring", "pipe (bare)")
            self.assertIn("The table is whole", done.out)
            self.assertIn("gnuplot-nox", done.out)
            self.assertTrue((work / "measure.dat").exists())
            self.assertFalse((work / "measure.svg").exists(), "an old plot of other numbers")

    def test_nothing_was_measured(self):
        with folder() as into:
            done = Measured(self, kit(into, "shm", ring=LOSES) / "shm", *QUICK,
                            env={"PATH": str(into)})
            self.assertEqual((done.status, done.rows), (1, {}), done)

    def test_usage(self):
        with folder() as into:
            work = kit(into, "shm") / "shm"
            for words in (["-n"], ["-n", "0"], ["-n", "x"], ["-n", "1x"], ["-n", "-1"], ["-r", ""],
                          ["-n", "99999999999999999999"], ["-z"], ["more"]):
                with self.subTest(words):
                    done = Measured(self, work, *words)
                    self.assertEqual((done.status, done.out), (2, ""), done)
                    self.assertIn("usage: measure [-n LINES] [-r RUNS]", done.err)

    def test_progress_on_a_terminal(self):
        with folder() as into:
            work = kit(into, "shm") / "shm"
            (into / "gnuplot").write_text("#!/bin/sh\nsleep 1; echo PLOT\n")
            (into / "gnuplot").chmod(0o755)
            ours, theirs = pty.openpty()
            with open(ours, "rb", buffering=0) as terminal:
                process = subprocess.Popen(
                    ["./measure.bin", "-n", "2000", "-r", "2"], cwd=work, stdout=theirs,
                    stdin=subprocess.DEVNULL, stderr=theirs,
                    env=environment({"PATH": f"{into}:{os.environ['PATH']}"}))
                os.close(theirs)
                shown = b""
                try:
                    while more := terminal.read(4096):
                        shown += more
                except OSError:
                    pass  # nobody has the terminal open any more
                self.assertEqual(process.wait(), 0)
            text = shown.decode()
            clear = "\r\x1b[K"
            self.assertRegex(text, re.escape(clear) + r"measure: ring, 16 bytes, run 1 of 2, \d s")
            first, *lines = text.split("\r\n")
            self.assertRegex(first, re.escape(clear) + "2000 lines of each size[^\r]*$")
            self.assertEqual([line for line in lines if clear in line],
                             [line for line in lines if line.endswith(clear + "PLOT")], repr(text))
            self.assertIn(clear + "measure: gnuplot, ", text)


if __name__ == "__main__":
    unittest.main()
