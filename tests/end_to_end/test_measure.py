"""`make measure` of all labs: right numbers or a sentence, and nothing left over."""

import filecmp
import functools
import glob
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

# Where each mechanism comes from, in the order of the table; and the starters that can measure.
LABS = {"ring": "shm", "queue": "message", "pipe": "pipe", "fifo": "fifo", "chat": "chat",
        "rpc": "rpc"}
MEASURING = "shm", "message", "rpc"
QUICK = "-n", "500", "-r", "1"
ROW = re.compile(r"^(ring|queue|pipe|bare pipe|fifo|chat|rpc) +(\d+)"
                 r" +(\d+) +(\d+\.\d+) +(\d+\.\d+)$", re.M)
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

# A calcd that has right answers to six calls, and then goes wrong.
CALCD = """#!/usr/bin/python3
import signal, socket, struct, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("127.0.0.1", 0))
print("listening on", listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
stream = connection.makefile("rb")
for number in range(1, 500):
    call = stream.read(48)
    if len(call) < 48:
        signal.pause()  # the caller has gone: wait for SIGTERM
    mark, xid, *_, count = struct.unpack(">12I", call)
    total = sum(struct.unpack(f">{count}q", stream.read(8 * count)))
    if number == 7:
        WRONG
    connection.sendall(struct.pack(">8Iq", 0x80000024, xid, 1, 0, 0, 0, 0, 0, total))
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
        for source in (ROOT / "reference" / lab).glob("*.[ch]"):
            shutil.copy(source, work)
        if ring is not None:
            (work / "ring.c").rename(work / "right.c")
            (work / "ring.c").write_text(ring)
        measure = [work / "measure.bin"] if lab in MEASURING else []
        if measure and "measure.bin" in BUILT:
            shutil.copy(BUILT["measure.bin"], work)  # the same in each lab: test_makefile makes all
        done = run("make", "-s", *(["pipeline"] if lab == "pipe" else ["all"]),
                   *(path.name for path in measure), cwd=work)
        if done.returncode != 0:
            raise AssertionError(f"{lab} does not build: {done.stderr.decode()}")
        for path in measure:
            BUILT.setdefault("measure.bin", path)
        BUILT[lab, ring] = work
    return BUILT[lab, ring]


def kit(into, *labs, ring=None):
    for lab in labs:
        shutil.copytree(built(lab, ring if lab == "shm" else None), pathlib.Path(into) / lab)
    return pathlib.Path(into)


def wrap(program, script):
    """Puts a script in the place of a program, which is right-NAME from then on."""
    right = program.with_name(f"right-{program.name}")
    if not right.exists():
        program.rename(right)
    program.write_text(script)
    program.chmod(0o755)


@functools.cache
def network():
    """What stands before a command that gets a network of its own: chatd and calcd listen at all
    addresses, and are nobody's business. Nothing where the machine does not allow it."""
    ip = shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    for options in ["-n"], ["-U", "-r", "-n"]:
        words = [shutil.which("unshare"), *options,
                 "/bin/sh", "-c", f'{ip} link set lo up && exec "$@"', "sh"]
        if ip and words[0] and run(*words, "true").returncode == 0:
            return words
    return []


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

    def __init__(self, case, work, *options, env=None, stop=None, interrupt=signal.SIG_DFL,
                 left=False):
        self.process = subprocess.Popen(
            [*network(), "./measure.bin", *options], cwd=work, env=environment(env),
            start_new_session=True,
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
        if left:  # it could not clean up
            wait_for(lambda: not inside(work.parent), "the end of all programs")
            return
        case.assertEqual(inside(work.parent), [], self)
        name = f"measure-{self.process.pid}"
        case.assertEqual(glob.glob(f"/tmp/{name}.*"), [], self)
        case.assertFalse(pathlib.Path("/dev/shm", name).exists(), self)
        mailboxes = work.parent / "message/mbox"
        if mailboxes.exists():
            done = run(mailboxes, "destroy", name)
            case.assertEqual((done.returncode, b"no such mailbox" in done.stderr), (1, True), self)

    def __str__(self):
        return f"{self.status}\n{self.out}\n{self.err}"


def ends_when_seen(name, number=signal.SIGINT):
    """For Measured: sends measure a signal as soon as a program of that name runs."""
    def stop(pid):
        wait_for(lambda: [p for p in descendants(pid) if p.name == name], f"a {name}")
        os.kill(pid, number)
    return stop


class Measure(unittest.TestCase):
    def check_rows(self, done, *names):
        self.assertEqual(set(done.rows), {(name, size) for name in names for size in SIZES}, done)
        for numbers in done.rows.values():
            self.assertTrue(all(number > 0 for number in numbers), done)

    def test_the_copies_are_one_folder(self):
        first = ROOT / "starter/shm/measure"
        names = os.listdir(first)
        for lab in MEASURING:
            copy = ROOT / "starter" / lab / "measure"
            self.assertEqual(sorted(os.listdir(copy)), sorted(names))
            self.assertEqual(filecmp.cmpfiles(first, copy, names, shallow=False)[1:], ([], []))

    def test_everything_is_there(self):
        with folder() as into:
            kit(into, *LABS.values())
            work = into / "rpc"
            before = set(os.listdir(work))
            done = Measured(self, work, *QUICK)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, *LABS)
            # What moved in a second is the lines' own bytes.
            for (_, size), (lines, megabytes, _) in done.rows.items():
                self.assertAlmostEqual(lines * size / 1e6, megabytes, delta=0.006)
            self.assertEqual(len(done.err.splitlines()), 12, "a line for each measurement")
            self.assertEqual(set(os.listdir(work)) - before, {"measure.dat", "measure.svg"})
            self.check_files(work, done)
            for title in "latency of one line of 16 bytes", "throughput of lines of 256 bytes":
                self.assertRegex(done.out,
                                 rf"(?s){title}, in .* ring +queue +pipe +fifo +chat +rpc *\n")
            self.assertIn("With a server in the middle", done.out)
            # The numbers on the bars.
            self.assertIn(f" {done.rows['ring', 16][2]:.1f} ", done.out.partition("latency of")[2])

    def test_the_first_labs(self):
        with folder() as into:
            kit(into, "shm", "message", "pipe")
            for lab in "shm", "message":
                with self.subTest(lab):
                    done = Measured(self, into / lab, *QUICK)
                    self.assertEqual(done.status, 0, done)
                    self.check_rows(done, "ring", "queue", "pipe")
                    self.check_files(into / lab, done)
                    self.assertRegex(done.out, r" ring +queue +pipe *\n")
                    self.assertNotIn("With a server in the middle", done.out)
                    for name in "fifo", "chat", "rpc":
                        self.assertRegex(done.out, f"\n{name}: there is no .* in . or ../{name}: "
                                         f"'make' in its folder, or say {name.upper()}=path\n")

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
        for word in ("Latency of one line of 16 bytes", "microseconds", "MB a second",
                     "Throughput of lines of 256 bytes", *(name for name, _ in done.rows)):
            self.assertIn(word, words)

    def test_makefile(self):
        with folder() as into:
            kit(into / "elsewhere", "fifo")
            for lab in MEASURING:
                kit(into, lab)
                work = into / lab
                (work / "measure.bin").unlink()
                with self.subTest(lab):
                    done = run(*network(), "make", "-s", "measure", "MEASURE=-n 50 -r 1",
                               f"FIFO={into}/elsewhere/fifo", "CHAT=/nowhere", cwd=work)
                    self.assertEqual(done.returncode, 0, done)
                    self.assertRegex(done.stdout.decode(), r"(?m)^fifo +16 +\d")
                    self.assertIn(b"chat: there is no chatd in /nowhere: ", done.stdout)
                    self.assertIn(b"make measure", run("make", "-s", "help", cwd=work).stdout)
                    run("make", "-s", "clean", cwd=work)
                    self.assertEqual(sorted(os.listdir(work)),
                                     sorted(os.listdir(ROOT / "starter" / lab)))

    def test_an_item_is_lost(self):
        with folder() as into:
            done = Measured(self, kit(into, "shm", ring=LOSES) / "shm", *QUICK)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "bare pipe")
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
            self.check_rows(done, "bare pipe")
            self.assertEqual(done.out.count("after 1 s 0 of 500 lines had come out, no more: run "
                                            "make check"), 2, done)

    def test_what_a_program_has_started_hangs(self):
        with folder() as into:
            work = kit(into, "shm", "pipe") / "shm"
            (into / "bin").mkdir()
            (into / "bin/dd").write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
            (into / "bin/dd").chmod(0o755)
            (into / "bin/cat").symlink_to(shutil.which("cat"))
            done = Measured(self, work, *QUICK, "-t", "1", env={"PATH": str(into / "bin")})
            self.check_rows(done, "ring")
            self.assertRegex(done.out, "(?m)^pipe +16 +after 1 s 0 of 500 lines had come out")

    def test_a_program_dies(self):
        with folder() as into:
            done = Measured(self, kit(into, "shm", ring=CRASHES) / "shm", *QUICK)
            self.check_rows(done, "bare pipe")
            self.assertEqual(done.out.count("./consumer died of signal 11"), 2, done)

    def test_interrupted(self):
        with folder() as into:
            kit(into, "message")
            work = kit(into, "shm", ring=HANGS) / "shm"
            for number in signal.SIGINT, signal.SIGTERM:
                with self.subTest(number):
                    stop = ends_when_seen("consumer", number)
                    self.assertEqual(Measured(self, work, *QUICK, stop=stop).status, -number)
            # In the middle of a queue, too.
            (work / "consumer").unlink()
            done = Measured(self, work, "-n", "1000000", stop=ends_when_seen("mrecv"))
            self.assertEqual(done.status, -signal.SIGINT, done)

    def test_interrupted_in_the_background(self):
        with folder() as into:
            work = kit(into, "shm") / "shm"
            done = Measured(self, work, "-n", "20000", "-r", "1", stop=ends_when_seen("consumer"),
                            interrupt=signal.SIG_IGN)
            self.assertEqual(done.status, 0, done)
            self.check_rows(done, "ring", "bare pipe")

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
            self.check_rows(done, "ring", "queue", "bare pipe")
            # A wrong path is not passed over.
            done = Measured(self, work, *QUICK, env={"MESSAGE": "/nowhere"})
            self.check_rows(done, "bare pipe")
            self.assertIn("there is no mbox in /nowhere", done.out)

    def test_a_lab_is_not_written(self):
        with folder() as into:
            work = shutil.copytree(ROOT / "starter/shm", into / "shm")
            self.assertEqual(run("make", "-s", "all", "measure.bin", cwd=work).returncode, 0)
            done = Measured(self, work, *QUICK)
            self.check_rows(done, "bare pipe")
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
            self.check_rows(done, "ring", "bare pipe")
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


class Servers(unittest.TestCase):
    """What can go wrong where a server stands between: one lab beside the folder of shm."""

    def setUp(self):
        self.into = self.enterContext(folder())

    def measured(self, lab, *options, wrapped=None, **more):
        work = kit(self.into, "shm") / "shm"
        kit(self.into, lab)
        for program, script in (wrapped or {}).items():
            wrap(self.into / lab / program, "#!/bin/sh\n" + script)
        try:
            return Measured(self, work, *QUICK, *options, env={"SHM": "/nowhere"}, **more)
        finally:
            shutil.rmtree(work)
            shutil.rmtree(self.into / lab)

    def check_trouble(self, lab, trouble, *options, **more):
        done = self.measured(lab, *options, **more)
        self.assertEqual((done.status, {name for name, _ in done.rows}), (0, {"bare pipe"}), done)
        self.assertEqual(re.findall(rf"(?m)^{lab} +(?:16|256)  (.*)$", done.out), [trouble] * 2,
                         done)

    def test_does_not_start(self):
        self.check_trouble("fifo", "./server ended with 1 and said: broken",
                           wrapped={"server": "echo broken >&2; exit 1\n"})
        self.check_trouble("fifo", "./server has ended, though nobody had asked it to",
                           wrapped={"server": "exit 0\n"})
        for lab, server in ("fifo", "server"), ("rpc", "calcd"):
            self.check_trouble(lab, f"./{server} was not ready within 1 s: run make check",
                               "-t", "1", wrapped={server: "echo hello; exec sleep 1000\n"})

    def test_dies_in_the_middle(self):
        """It is the server that is blamed, not its client."""
        note = "echo $$ > ../pid\nexec ./right-{} \"$@\"\n"
        kill = "kill -SEGV $(cat ../pid)\nexec ./right-{} \"$@\"\n"
        for lab, server, client in ("fifo", "server", "client"), ("chat", "chatd", "chat"):
            self.check_trouble(lab, f"./{server} died of signal 11 and said: nothing",
                               wrapped={server: note.format(server), client: kill.format(client)})

    def test_does_not_end(self):
        self.check_trouble("fifo", "./server did not end within 1 s after SIGTERM", "-t", "1",
                           wrapped={"server": "trap '' TERM; ./right-server \"$@\"; sleep 1000\n"})

    def test_does_not_clean_up(self):
        """That is not what is measured."""
        done = self.measured("fifo", wrapped={"server": "./right-server \"$@\"\n"})
        self.assertEqual(set(done.rows), {(name, size) for name in ("bare pipe", "fifo")
                                          for size in SIZES}, done)

    def test_a_line_is_lost_or_changed(self):
        for command in "/00000006/d", "s/00000006/00000060/":
            self.check_trouble("chat", "what came out differs from line 7 on: run make check",
                               wrapped={"chat": f"./right-chat \"$@\" | sed -u {command}\n"})
        self.check_trouble("fifo", "what came out differs from line 7 on: run make check",
                           wrapped={"client": "./right-client \"$@\" | sed -u /00000006/d\n"})

    def test_nobody_is_heard(self):
        self.check_trouble("chat", "after 1 s 0 of 500 lines had come out, no more: run make check",
                           "-t", "1", wrapped={"chat": "exec sleep 1000\n"})
        self.check_trouble("chat",
                           "./chat has ended, and has not told of another one on its channel",
                           wrapped={"chat": "exit 0\n"})

    def test_wrong_sums(self):
        said = "measure's client ended with 1 and said: line 7: "
        for wrong, trouble in (("total += 1", said + "the reply is not the sum"),
                               ("connection.sendall(struct.pack('>7I', 0x80000018, xid, 1, 0, 0, "
                                "0, 3)); signal.pause()", said + "the reply is not the sum"),
                               ("connection.shutdown(2); signal.pause()",
                                said + "calcd has closed the connection"),
                               ("signal.signal(signal.SIGTERM, signal.SIG_IGN); "
                                "sys.exit('no more')", "./calcd ended with 1 and said: no more")):
            with self.subTest(wrong):
                (self.into / "calcd.py").write_text(CALCD.replace("WRONG", wrong))
                self.check_trouble("rpc", trouble,
                                   wrapped={"calcd": "exec /usr/bin/python3 ../calcd.py\n"})

    # Programs that let measure wait for ever, at each place where it waits for one.
    WAITS = {"ready": ("chat", "sleep", {"chatd": "exec sleep 1000\n"}),
             "fifo": ("fifo", "sleep", {"client": "exec sleep 1000\n"}),
             "join": ("chat", "sleep", {"chat": "exec sleep 1000\n"}),
             "line": ("chat", "sed", {"chat": './right-chat "$@" | sed -u "/00000006/,$ d"\n'}),
             "call": ("rpc", "python3", {"calcd": "exec python3 ../calcd.py\n"})}

    def test_interrupted(self):
        (self.into / "calcd.py").write_text(CALCD.replace("WRONG", "signal.pause()"))
        for place, (lab, name, wrapped) in self.WAITS.items():
            with self.subTest(place):
                done = self.measured(lab, wrapped=wrapped, stop=ends_when_seen(name))
                self.assertEqual(done.status, -signal.SIGINT, done)

    def test_killed(self):
        """What nobody can clean up after: at least its programs end."""
        for place in "fifo", "join":
            lab, name, wrapped = self.WAITS[place]
            with self.subTest(place):
                process = self.measured(lab, wrapped=wrapped, left=True,
                                        stop=ends_when_seen(name, signal.SIGKILL)).process
                self.assertEqual(process.returncode, -signal.SIGKILL)
                for left in glob.glob(f"/tmp/measure-{process.pid}.*"):
                    shutil.rmtree(left)


if __name__ == "__main__":
    unittest.main()
