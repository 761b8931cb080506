#!/usr/bin/python3
"""A suite that does what a plan says, for the tests of the run stage: grader/run/job.h is its manual.

test_run.py copies it over a course's suites. Two folders above it lie plan.json, {TEST: [what to do in
its first run, in its second, ...]}, and the log: a JSON line for what each suite process does. Of what
the plan does not name each test passes. Else:

  hang     the test starts and never ends; nor does the suite, but by being killed
  hold     the test ends once every other test of the plan's "all" has ended
  die      the suite dies in the test
  refuse   the suite dies when it may run the test and has not started it
  leave    the test passes, and the suite ends behind it
  take X   once it may run this test the suite tells of X instead
  ask X    the suite asks for X before this test has ended
  fail X   the test fails, and tells X, a JSON object, besides its status
"""

import json
import os
import pathlib
import signal
import struct
import sys
import time

EVENTS = 3
COURSE = pathlib.Path(sys.argv[0]).resolve().parents[2]
LOG = COURSE / "log"
PLAN = json.loads((COURSE / "plan.json").read_text())
JOB = json.loads(pathlib.Path(os.environ["IPCLAB_JOB"]).read_text())


def note(what, test=None):
    line = {"what": what, "test": test, "pid": os.getpid(), "suite": pathlib.Path(sys.argv[0]).name}
    log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, (json.dumps(line) + "\n").encode())
    os.close(log)


def noted(what):
    return [line["test"] for line in map(json.loads, LOG.read_text().splitlines())
            if line["what"] == what]


def tell(event, test, **more):
    line = {"event": event, "test": test, "at_us": time.monotonic_ns() // 1000, **more}
    os.write(EVENTS, (json.dumps(line) + "\n").encode())


def ask(test):
    tell("ask", test)
    answer = os.read(EVENTS, 1)
    if not answer:
        os._exit(3)
    return answer.decode()


def begin(test):
    """As the harness does when a program has started: the time limit runs from here."""
    board = os.open(JOB["board"], os.O_WRONLY)
    os.pwrite(board, struct.pack("q", time.monotonic_ns()), 0)
    os.close(board)
    tell("start", test)


def run(test):
    before = noted("run").count(test)
    planned = PLAN.get(test, [])
    action, _, other = (planned[before] if before < len(planned) else "").partition(" ")
    note("run", test)
    if action == "refuse":
        os._exit(3)
    begin(other if action == "take" else test)
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "ask":
        ask(other)
    while action == "hang" or (action == "hold" and
                               set(PLAN["all"]) - {test} - set(noted("end"))):
        time.sleep(0.01)
    note("end", test)
    if action == "fail":
        tell("end", test, status="failed", **json.loads(other))
    else:
        tell("end", test, status="passed")
    if action == "leave":
        sys.exit(0)


note("suite")
for each in JOB["tests"]:
    word = ask(each["id"])
    if word == "e":
        break
    if word == "r":
        run(each["id"])
