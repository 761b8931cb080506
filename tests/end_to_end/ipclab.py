"""What the end-to-end tests share: gradings, their documents, and what a grading may not leave.

Every grading made with grade() is checked against the two schemas, and for what must hold whatever
was graded. IPCLAB_BUILD names the build folder (default: build).
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("IPCLAB_BUILD", "build")).resolve()
IPCLAB = BUILD / "ipclab"
PROGRAMS = ROOT / "tests/end_to_end/programs"
REFERENCE = ROOT / "reference/pipe"
STARTER = ROOT / "starter/pipe"
LABS = sorted(path.parent.name for path in ROOT.glob("assignments/*/lab.json"))
MANIFEST = json.loads((ROOT / "assignments/pipe/lab.json").read_text())

GRADED, BELOW, USAGE, GRADER, REJECTED = 0, 1, 2, 3, 4
# Quick tests that say whether a grading works; one of them hidden.
QUICK = ("stages/one_stage", "usage/options", "stages/arguments")
SLOT_UIDS = range(60000, 61000)
# No grading takes longer, whatever was handed in: 2 minutes, and what the run stage waits for others'
# gradings before it takes a lone test's time-out for true (run/machine.h).
SECONDS = 120 + 300


def _no_constant(word):
    raise ValueError(f"{word} is no JSON number")


def load(data):
    """JSON as its readers want it: valid UTF-8, no NaN."""
    return json.loads(data.decode("utf-8", "strict"), parse_constant=_no_constant)


def _validator(name):
    schema = json.loads((ROOT / "grader" / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


RESULTS_SCHEMA = _validator("results.schema.json")
FEEDBACK_SCHEMA = _validator("feedback.schema.json")


@contextlib.contextmanager
def folder():
    """A folder of the test's own, which the uids of slots may pass through."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="e2e-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def source(name, into):
    """A submission made of programs/NAME.c: the folder that holds it as pipeline.c."""
    path = pathlib.Path(into) / name
    path.mkdir(exist_ok=True)
    shutil.copyfile(PROGRAMS / f"{name}.c", path / "pipeline.c")
    return path


class Grading:
    """One run of `ipclab grade`: exit status, what it printed, and its two documents or None."""

    def __init__(self, command, done, output, seconds):
        self.command = command
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        self.seconds = seconds
        self.path = output
        feedback = output.parent / "feedback.json"
        self.results_bytes = output.read_bytes() if output.is_file() else None
        self.feedback_bytes = feedback.read_bytes() if feedback.is_file() else None
        self.results = load(self.results_bytes) if self.results_bytes is not None else None
        self.feedback = load(self.feedback_bytes) if self.feedback_bytes is not None else None

    def runs(self):
        return {run["test"]: run for run in self.results["runs"]}

    def verdicts(self):
        return {run["test"]: (run["status"], run["points"]) for run in self.results["runs"]}

    def __str__(self):
        out, err = (text.decode(errors="replace")[-3000:] for text in (self.out, self.err))
        return f"{' '.join(map(str, self.command))}: {self.status}\n{out}\n{err}"


def check_documents(case, grading):
    """Both documents are valid, and agree with each other and with the exit status."""
    results, feedback = grading.results, grading.feedback
    case.assertIsNotNone(results, f"no result: {grading}")
    case.assertIsNotNone(feedback, f"no feedback: {grading}")
    for validator, document in (RESULTS_SCHEMA, results), (FEEDBACK_SCHEMA, feedback):
        faults = [f"{list(e.absolute_path)}: {e.message[:300]}"
                  for e in validator.iter_errors(document)]
        case.assertEqual(faults, [], str(grading))
    case.assertEqual(grading.path.stat().st_mode & 0o7777, 0o600)
    for member in "status", "score", "max", "official", "lab", "hidden_points":
        case.assertEqual(results[member], feedback[member])
    expected = {"graded": (GRADED, BELOW), "build_failed": (GRADED, BELOW),
                "rejected": (REJECTED,), "grader_error": (GRADER,)}[results["status"]]
    case.assertIn(grading.status, expected, str(grading))
    if results["status"] == "grader_error":
        case.assertIsNone(results["score"])
    else:
        points = sum(run["points"] for run in results["runs"] if not run["bonus"])
        case.assertEqual(results["score"], points)
    if results["status"] != "graded":
        case.assertTrue(results["reason"], "a grading that stopped says why")
    case.assertLess(len(grading.results_bytes), 32 << 20)


def environment(extra=None, temporary=None):
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("IPCLAB_") and key not in ("NO_COLOR", "TMPDIR")}
    if temporary is not None:
        env["TMPDIR"] = str(temporary)
    env.update(extra or {})
    return {key: value for key, value in env.items() if value is not None}


def run(*command, env=None, cwd=None, timeout=SECONDS, temporary=None, **more):
    """Runs a command with nothing to read; its outputs are bytes."""
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, check=False,
                          env=environment(env, temporary), timeout=timeout, **more)


def grade(case, submission, *options, lab="pipe", into=None, env=None, tests=(), engine=IPCLAB,
          timeout=SECONDS, valid=True, temporary=None):
    """Grades into the folder `into` (default: one of its own) and checks the documents."""
    with contextlib.ExitStack() as stack:
        into = pathlib.Path(into or stack.enter_context(folder()))
        # A work folder of our own shows what is left in it; and in no other one, by others.
        if temporary is None:
            temporary = pathlib.Path(tempfile.mkdtemp(prefix="tmp-", dir=into))
            temporary.chmod(0o711)
        output = into / "results.json"
        command = [engine, "grade", lab, submission, "-o", output, *options]
        for test in tests:
            command += ["--test", test]
        before = objects()
        started = time.monotonic()
        done = run(*command, env=env, timeout=timeout, temporary=temporary)
        grading = Grading(command, done, output, time.monotonic() - started)
        if valid:
            check_documents(case, grading)
        check_clean(case, before, temporary, str(grading))
        return grading


# ---- processes ----

class Process:
    def __init__(self, pid):
        folder_of = f"/proc/{pid}"
        self.pid = pid
        self.uid = os.stat(folder_of).st_uid
        with open(folder_of + "/stat", "rb") as f:
            text = f.read().decode(errors="replace")
        self.name = text[text.index("(") + 1:text.rindex(")")]
        self.state, parent, self.group = text[text.rindex(")") + 2:].split()[:3]
        self.parent = int(parent)

    def __repr__(self):
        return f"{self.name}({self.pid}, child of {self.parent}, uid {self.uid}, {self.state})"


def processes():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                found[int(name)] = Process(int(name))
    return found


def descendants(pid):
    everybody = processes()
    below, grown = {pid}, True
    while grown:
        more = {p.pid for p in everybody.values() if p.parent in below} - below
        below |= more
        grown = bool(more)
    return [everybody[p] for p in below if p in everybody and p != pid]


def wait_for(condition, what, seconds=60):
    """Waits for what can be observed; returns what the condition gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


# ---- what a grading may not leave ----

def strays():
    """
    Processes of slots that have no grader: whose first ancestor outside the slots' uids is nobody's
    but init's. Gradings that others make at this moment keep theirs below a suite.
    """
    everybody = processes()
    found = []
    for p in everybody.values():
        if p.uid not in SLOT_UIDS or p.state in "ZX":
            continue
        top = p
        while top.parent in everybody and everybody[top.parent].uid in SLOT_UIDS:
            top = everybody[top.parent]
        if top.parent <= 1:
            found.append(p)
    return found


def _dead(name):
    """Whether the process that a name ends with, as in criterion_123.sock, is gone."""
    pid = re.search(r"_(\d+)", name)
    return pid is None or not os.path.exists(f"/proc/{pid.group(1)}")


def _owned(path):
    with contextlib.suppress(OSError):
        return os.lstat(path).st_uid in SLOT_UIDS
    return False


def objects():
    """Names that a submission or a killed suite could leave on the machine; not those in use."""
    found = set()
    for place in "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue":
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                path = f"{place}/{name}"
                if _owned(path):
                    found.add(path)
                elif re.match(r"criterion_|bxfi_", name) and _dead(name):
                    found.add(path)
    for kind in "shm", "sem", "msg":
        with open(f"/proc/sysvipc/{kind}", encoding="ascii") as f:
            head = f.readline().split()
            for line in f:
                fields = dict(zip(head, line.split()))
                if int(fields["uid"]) in SLOT_UIDS or int(fields["cuid"]) in SLOT_UIDS:
                    found.add(f"{kind} {fields[head[1]]}")
    return found


def check_clean(case, before, temporary, what="", work_folder=False):
    """Nothing of a grading is left. What others have for a moment is looked at again."""
    deadline = time.monotonic() + 5
    while True:
        left = [str(p) for p in strays()] + sorted(objects() - before)
        if not work_folder:
            left += [str(p) for p in pathlib.Path(temporary).iterdir()]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    case.assertEqual(left, [], f"left over by {what}")


# ---- courses of a test's own ----

def copy_course(into, engine=IPCLAB):
    """A build tree in `into`: build/ipclab with its suites beside assignments/ and starter/."""
    into = pathlib.Path(into)
    shutil.copytree(ROOT / "assignments", into / "assignments")
    shutil.copytree(ROOT / "starter", into / "starter")
    (into / "build").mkdir()
    shutil.copy2(engine, into / "build/ipclab")
    shutil.copytree(BUILD / "suites", into / "build/suites", symlinks=True)
    return into


def edit_manifest(course, change, lab="pipe"):
    path = pathlib.Path(course) / "assignments" / lab / "lab.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def hidden_tests():
    return [test for test in MANIFEST["tests"] if test["visibility"] != "public"]


def _c_strings(paths):
    found = set()
    for path in paths:
        for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text()):
            found.add(literal)
    return found


def secrets():
    """Texts that only hidden tests have: ids, names, hints, and the strings of their suites."""
    suites = ROOT / "grader/suites/pipe"
    open_text = "\n".join(
        [(ROOT / "assignments/pipe/README.md").read_text()]
        + [json.dumps(t) for t in MANIFEST["tests"] if t["visibility"] == "public"]
        + [p.read_text() for part in ("public", "peer", "tools")
           for p in (suites / part).iterdir()]
        + [p.read_text() for p in (ROOT / "grader/report").glob("*.c")])
    found = set()
    for test in hidden_tests():
        found.add(test["id"])
        found.add(test["hint"])
        name = test["id"].split("/")[1]
        if "_" in name:
            found.add(name)
    for literal in _c_strings((suites / "hidden").glob("*.c")):
        # A piece between conversions, long enough to be nobody's words by chance.
        found.update(piece for piece in re.split(r"%[-0-9.]*[a-z]+|\\.", literal)
                     if len(re.findall(r"[A-Za-z]{2,}", piece)) >= 4)
    known = letters(open_text)
    return {text for text in found if letters(text) not in known}


def letters(text):
    """What remains of a text however a form wraps, escapes or quotes it; without its numbers."""
    return re.sub(r"[^a-z/_]+", " ", re.sub(r"%[-0-9.]*[jlz]*[a-z]", " ", text.lower())).strip()


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
