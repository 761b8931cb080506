"""What the tests with real peers share: a lab's reference built as a student builds it, programs
that run beside each other, and hosts of their own.

chatd and calcd listen at all addresses. So each test has a network namespace of its own, as the
slots of a grading have, where the machine allows it: nobody else's programs are in reach.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from ipclab import ROOT, environment, folder, run, wait_for

LOOPBACK = "127.0.0.1"
# What /proc/net/tcp has for that address, and for states.
LOOPBACK_HEX = "0100007F"
SYN_SENT, LISTEN = "02", "0A"


def need(*tools):
    """Skips where a peer is missing, but never where CI=true: packages-test.txt installs them all."""
    missing = [tool for tool in tools if not find(tool)]
    if missing and os.environ.get("CI") == "true":
        raise AssertionError(f"CI has to run these tests: not installed: {', '.join(missing)}")
    if missing:
        raise unittest.SkipTest(f"not installed: {', '.join(missing)}")


def find(tool):
    """ngircd, rpcinfo and ip may lie where only root's PATH leads."""
    return shutil.which(tool, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def build(lab, into):
    """The reference of a lab in the folder `into`, made with the Makefile that students have."""
    into.mkdir()
    for part in "starter", "reference":
        shutil.copytree(ROOT / part / lab, into, dirs_exist_ok=True)
    made = run("make", "-B", "-C", into, "all")
    if made.returncode != 0:
        raise AssertionError(f"{lab}: {made.stdout.decode()}{made.stderr.decode()}")
    return into


def free_port():
    """A port that nobody has at this moment, for servers that can't choose one."""
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        return s.getsockname()[1]


# ---- hosts ----

class Host:
    """The machine itself: where nothing else is allowed, programs run here."""
    enter = ()
    in_user_namespace = False

    def run(self, *command):
        """Runs a command there; returns what it has printed."""
        done = run(*self.enter, *command)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr.decode()}")
        return done.stdout.decode()

    def has_ipv6(self):
        """Whether ::1 is there; in many containers it is not."""
        return run(*self.enter, "grep", "-q", "^0*1 ", "/proc/net/if_inet6").returncode == 0


class OwnHost(Host):
    """A network namespace, in which loopback alone is up. It ends with the process that holds it,
    which ends when nobody holds its stdin any more: with us, whatever happens to us."""

    def __init__(self, case, beside=None):
        """`beside`: a host of the same user namespace, so that the two can be joined."""
        prefix = ["unshare", "-n"]
        user = False
        if beside is not None:
            prefix = [*beside.enter, *prefix]
            user = beside.in_user_namespace
        elif not can_unshare("-n"):
            prefix = ["unshare", "-U", "-r", "-n"]
            user = True
        self.in_user_namespace = user
        self.holder = subprocess.Popen([*prefix, "sh", "-c", "echo ready && exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        case.addCleanup(self.end)
        if self.holder.stdout.readline() != b"ready\n":
            raise AssertionError(f"{prefix}: no namespace")
        self.enter = ("nsenter", "-t", str(self.holder.pid), "-n",
                      *(("-U", "--preserve-credentials") if user else ()), "--")
        self.namespace = os.readlink(f"/proc/{self.holder.pid}/ns/net")
        self.run(find("ip"), "link", "set", "lo", "up")

    def end(self):
        self.holder.communicate()

    def link(self, state):
        """Cuts ("down") this host's end of the link, or restores it ("up")."""
        self.run(find("ip"), "link", "set", "eth0", state)

    @contextlib.contextmanager
    def cut(self):
        """The link, cut at this end for a while."""
        self.link("down")
        try:
            yield
        finally:
            self.link("up")

    def counter(self, protocol, name):
        """One of the network's counters, such as Udp OutDatagrams."""
        with open(f"/proc/{self.holder.pid}/net/snmp", encoding="ascii") as f:
            names, values = [line.split() for line in f if line.startswith(protocol + ":")]
        return int(values[names.index(name)])

    def tcp(self, port):
        """This host's connections with this port at either end, to other hosts."""
        return self._sockets("tcp", port) + self._sockets("tcp6", port)

    def udp(self, port):
        return self._sockets("udp", port)

    def _sockets(self, table, port):
        found = []
        with contextlib.suppress(FileNotFoundError), \
                open(f"/proc/{self.holder.pid}/net/{table}", encoding="ascii") as f:
            next(f)
            for line in f:
                _, local, remote, state, queues, _, again, *_ = line.split()
                local, local_port = local.split(":")
                remote_port = remote.split(":")[1]
                if port in (int(local_port, 16), int(remote_port, 16)) and state != LISTEN \
                        and not local.endswith(LOOPBACK_HEX):
                    numbers = [*queues.split(":"), again]
                    found.append(Socket(state, *(int(number, 16) for number in numbers)))
        return found


class Socket:
    """A line of /proc/net/tcp or udp."""

    def __init__(self, state, unsent, unread, again):
        self.state = state
        self.unsent = unsent  # bytes that the peer has not acknowledged
        self.unread = unread  # bytes that the program has not read
        self.again = again    # how often the kernel has sent the same again, for nothing


def can_unshare(*options):
    return find("unshare") is not None and run("unshare", *options, "true").returncode == 0


def host_of(case):
    """A host for one test: of its own, or the machine itself where that is not allowed."""
    if find("ip") and (can_unshare("-n") or can_unshare("-U", "-r", "-n")):
        return OwnHost(case)
    return Host()


def two_hosts(case):
    """Two hosts, joined by a pair of interfaces: 192.0.2.1 and .2, 2001:db8::1 and ::2 if there is
    IPv6. Skips where the machine does not allow it."""
    need("unshare", "nsenter", "ip")
    if not can_unshare("-n") and not can_unshare("-U", "-r", "-n"):
        case.skipTest("no network namespaces here")
    one = OwnHost(case)
    other = OwnHost(case, beside=one)
    case.addCleanup(nobody_left, case, one, other)
    ip = find("ip")
    pair = run(*one.enter, ip, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
               "netns", str(other.holder.pid))
    if pair.returncode != 0:
        case.skipTest(f"no pair of interfaces: {pair.stderr.decode()}")
    # Else its address would be gone with the link. Some containers don't let us.
    keep = "echo 1 >/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down"
    has_ipv6 = all(host.has_ipv6() and run(*host.enter, "sh", "-c", keep).returncode == 0
                   for host in (one, other))
    for number, host in enumerate((one, other), 1):
        host.address = f"192.0.2.{number}"
        host.address6 = f"2001:db8::{number}" if has_ipv6 else None
        host.run(ip, "address", "add", f"{host.address}/24", "dev", "eth0")
        if has_ipv6:
            host.run(ip, "address", "add", f"{host.address6}/64", "dev", "eth0", "nodad")
        host.link("up")
    return one, other


def nobody_left(case, *hosts):
    """Whoever is still on a host of a test keeps its namespace for ever."""
    namespaces = {host.namespace for host in hosts}
    holders = {host.holder.pid for host in hosts}
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and int(name) not in holders \
                    and os.readlink(f"/proc/{name}/ns/net") in namespaces:
                found.append(name)
    case.assertEqual(found, [], "left on the hosts")


# ---- programs ----

class Program:
    """A program that runs while the test does other things: what it prints goes to files, so that
    it never waits for us; what it reads is a pipe."""

    def __init__(self, case, command, host, name=None, env=None):
        self.case = case
        self.name = name or os.path.basename(str(command[0]))
        into = case.enterContext(folder())
        self.files = [into / "stdout", into / "stderr"]
        with open(self.files[0], "wb") as out, open(self.files[1], "wb") as err:
            self.process = subprocess.Popen(
                [str(word) for word in (*host.enter, *command)], stdin=subprocess.PIPE, stdout=out,
                stderr=err, env=environment({"LC_ALL": "C", **(env or {})}), cwd=into)
        self.pid = self.process.pid
        case.addCleanup(self.kill)

    def kill(self):
        """At the end of a test, whatever has become of it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def out(self):
        """The complete lines that it has printed."""
        return lines(self.files[0])

    def err(self):
        return self.files[1].read_text(errors="replace")

    def __str__(self):
        ended = self.process.poll()
        return (f"{self.name}{'' if ended is None else f', exit status {ended}'}\n"
                + "\n".join(self.out()[-40:]) + f"\nstderr: {self.err()[-2000:]}")

    def write(self, text):
        """A line for its stdin."""
        self.process.stdin.write((text + "\n").encode())
        self.process.stdin.flush()

    def says(self, pattern, count=1):
        """Waits for `count` lines that hold `pattern`; returns the match of the first."""
        def found():
            matching = [line for line in self.out() if re.search(pattern, line)]
            return len(matching) >= count and first(pattern, matching)
        return self._wait(found, f"{count} lines with {pattern!r}")

    def prints(self, count):
        """Waits for that many lines."""
        return self._wait(lambda: len(self.out()) >= count, f"line {count}")

    def _wait(self, condition, what):
        def found():
            ended = self.process.poll() is not None
            result = condition()
            if not result and ended:
                raise AssertionError(f"has ended without {what}: {self}")
            return result
        try:
            return wait_for(found, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self}") from None

    def signal(self, number):
        self.process.send_signal(number)

    def ends(self, status, seconds=60):
        """Waits for its end."""
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"has not ended within {seconds} s: {self}") from None
        self.case.assertEqual(self.process.returncode, status, str(self))

    def stop(self):
        """As an operator stops a server: SIGTERM, and it ends cleanly."""
        self.signal(signal.SIGTERM)
        self.ends(0)


def lines(path):
    """The complete lines of a file that may not be there yet."""
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    return text.split("\n")[:-1]


def first(pattern, lines):
    for line in lines:
        match = re.search(pattern, line)
        if match:
            return match
    return None


def serve(case, command, host):
    """Starts a server that says where it listens; returns it, with its port."""
    server = Program(case, command, host)
    server.port = int(server.says(r"^listening on (\d+)$")[1])
    return server
