"""The rpc lab's reference with peers that others have made: rpcinfo, and a client and a server
whose stubs rpcgen writes from the lab's calc.x; and calc and calcd on two hosts, with a link that
is cut.
"""

import os
import pathlib
import random
import re
import signal
import time
import unittest

import peers
from ipclab import BUILD, folder, run, wait_for
from peers import LOOPBACK, Program

# The suite's own, with stubs that rpcgen has written.
CLIENT, SERVER = (BUILD / "suites/tools/rpc" / name for name in ("tirpc_client", "tirpc_server"))
PROGRAM = 0x20000415
LEAST, MOST = -2**63, 2**63 - 1
OVERFLOW, BY_ZERO = "overflow", "divide by zero"
OK, FAILED, NOBODY = 0, 1, 3
LAST_SEND = 3.0  # seconds from its start: when calc sends a call for the last time
RECORD_BYTES = 4 + 40 + 8  # an ACCUMULATE over TCP

LAB = None


def setUpModule():
    global LAB
    LAB = peers.build("rpc", unittest.enterModuleContext(folder()) / "rpc")


# ---- what is asked, and what is right ----

def right(op, *numbers):
    """What a calculator answers, acc apart: a number, or a word."""
    if op == "sum":
        total = 0
        for number in numbers:
            total += number
            if not LEAST <= total <= MOST:
                return OVERFLOW
        return total
    a, b = numbers
    if op == "div" and b == 0:
        return BY_ZERO
    if op == "div":
        value = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    else:
        value = {"add": a + b, "sub": a - b, "mul": a * b}[op]
    return value if LEAST <= value <= MOST else OVERFLOW


def pure_calls():
    """Calls of the five procedures that remember nothing, with what is to be answered."""
    pairs = [(2, 3), (7, 2), (-7, 2), (7, -2), (-7, -2), (0, 0), (5, 0), (LEAST, 0), (MOST, 1),
             (1, MOST), (LEAST, -1), (-1, LEAST), (LEAST, 1), (LEAST, LEAST), (MOST, MOST),
             (LEAST, MOST), (0, LEAST), (2**32, 2**31), (2**32, -2**31), (3037000499, 3037000499),
             (3037000500, 3037000500), (0x0102030405060708, -0x1112131415161718)]
    calls = [(op, *pair) for op in ("add", "sub", "mul", "div") for pair in pairs]
    numbers = random.Random(1024)
    calls += [("sum", *vector) for vector in (
        [], [LEAST], [MOST, 1, -1], [MOST, -1, 1], [LEAST, MOST, 1],
        [numbers.randrange(-2**52, 2**52) for _ in range(1024)],
        [0] * 1022 + [MOST, 1], [MOST // 1024] * 1024)]
    return [(call, right(*call)) for call in calls]


# ACCUMULATE, in this order, with what a new server answers.
ACCUMULATED = [(5, 5), (-7, -2), (MOST, MOST - 2), (3, OVERFLOW), (2, MOST), (0, MOST),
               (LEAST, -1), (LEAST, OVERFLOW), (1, 0), (LEAST, LEAST), (-1, OVERFLOW), (MOST, -1)]


def words(call):
    return " ".join(str(word) for word in call)


# ---- the peers ----

def calcd(case, host):
    return peers.serve(case, [LAB / "calcd", "-p", "0"], host)


def calc(host, *arguments):
    """Runs calc; returns its exit status, what it has printed, and its complaint."""
    done = run(*host.enter, LAB / "calc", *arguments)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Rpcinfo(unittest.TestCase):
    """Debian's rpcinfo has no ear for -n PORT: it asks rpcbind all the same. So the server's
    address stands as a universal one (RFC 5665: the port's two bytes behind the address)."""

    def setUp(self):
        peers.need("rpcinfo")
        self.host = peers.host_of(self)
        self.server = calcd(self, self.host)

    def ask(self, transport, program, *version):
        port = self.server.port
        # A server that had every version would be asked for each of them.
        done = run(*self.host.enter, peers.find("rpcinfo"), "-a",
                   f"{LOOPBACK}.{port >> 8}.{port & 255}", "-T", transport, program, *version,
                   timeout=30)
        return done.returncode, (done.stdout + done.stderr).decode()

    def test_program_is_there(self):
        for transport in "tcp", "udp":
            with self.subTest(transport=transport):
                status, said = self.ask(transport, PROGRAM, 1)
                self.assertEqual(status, 0, said)
                self.assertIn(f"program {PROGRAM} version 1 ready and waiting", said)
        self.server.stop()

    def test_versions_are_found(self):
        """Without a version it asks for version 0, and takes those of the refusal from it."""
        for transport in "tcp", "udp":
            with self.subTest(transport=transport):
                status, said = self.ask(transport, PROGRAM)
                self.assertEqual(status, 0, said)
                self.assertEqual(re.findall(r"version (\d+) ready", said), ["1"], said)

    def test_wrong_version(self):
        for transport in "tcp", "udp":
            with self.subTest(transport=transport):
                status, said = self.ask(transport, PROGRAM, 2)
                self.assertEqual(status, 1, said)
                self.assertIn("Program/version mismatch; low version = 1, high version = 1", said)

    def test_wrong_program(self):
        for transport in "tcp", "udp":
            with self.subTest(transport=transport):
                status, said = self.ask(transport, PROGRAM + 1, 1)
                self.assertEqual(status, 1, said)
                self.assertIn("Program unavailable", said)


class RpcgenClient(unittest.TestCase):
    """calcd with rpcgen's client: all calls through one connection, or from one UDP port."""

    def setUp(self):
        self.host = peers.host_of(self)
        self.server = calcd(self, self.host)

    def ask(self, transport, calls):
        """Makes the calls, one after the other; returns the answers."""
        client = Program(self, [CLIENT, transport, self.server.port],
                         self.host)
        for number, call in enumerate(calls, 1):
            client.write(words(call))
            # Each answer is waited for: a call's trace stands beside its answer then.
            client.prints(number)
        client.process.stdin.close()
        client.ends(0)
        return client.out()

    def test_procedures(self):
        """fragments: records come in pieces of less than 100 bytes, a full vector in dozens."""
        calls = pure_calls()
        for transport in "tcp", "fragments", "udp":
            with self.subTest(transport=transport):
                answers = self.ask(transport, [call for call, _ in calls])
                for (call, expected), answer in zip(calls, answers, strict=True):
                    self.assertEqual(answer, str(expected), words(call)[:200])

    def test_accumulate(self):
        """One total for TCP and UDP: each call by turns."""
        for number, (value, expected) in enumerate(ACCUMULATED):
            transport = ("tcp", "udp")[number % 2]
            self.assertEqual(self.ask(transport, [("acc", value)]), [str(expected)], value)

    def test_no_such_procedure(self):
        """Procedure 0 is there, 7 is not, and the connection goes on."""
        for transport in "tcp", "udp":
            with self.subTest(transport=transport):
                answers = self.ask(transport, [("0",), ("7",), ("add", 1, 2)])
                self.assertEqual(answers, ["0", "7: RPC: Procedure unavailable", "3"])

    def test_beside_each_other(self):
        """A client that is connected and silent keeps nobody waiting."""
        silent = Program(self, [CLIENT, "tcp", self.server.port],
                         self.host)
        silent.write("add 1 1")
        silent.prints(1)
        self.assertEqual(self.ask("tcp", [("add", 2, 2)]), ["4"])
        self.assertEqual(self.ask("udp", [("add", 2, 3)]), ["5"])
        silent.write("add 3 3")
        silent.prints(2)
        self.assertEqual(silent.out(), ["2", "6"])
        self.server.stop()


class RpcgenServer(unittest.TestCase):
    """calc with rpcgen's server: each call is a calc of its own, over TCP or UDP."""

    def setUp(self):
        self.host = peers.host_of(self)

    def serve(self, *refusing):
        """Starts the server; returns what calc has for TCP and for UDP before OP."""
        server = Program(self, [SERVER, *refusing], self.host)
        ports = server.says(r"^listening on (\d+) (\d+)$")
        return {"tcp": (LOOPBACK, ports[1]), "udp": ("-u", LOOPBACK, ports[2])}

    def check(self, way, call, expected):
        status, out, err = calc(self.host, *way, *call)
        what = f"{words(call)[:200]}: {err}"
        if isinstance(expected, int):
            self.assertEqual((status, out, err), (OK, f"{expected}\n", ""), what)
        else:
            self.assertEqual((status, out), (FAILED, ""), what)
            self.assertRegex(err, r"^calc: .*(zero|overflow).*\n$", what)

    def test_procedures(self):
        for transport, way in self.serve().items():
            with self.subTest(transport=transport):
                for call, expected in pure_calls():
                    self.check(way, call, expected)
                self.assertEqual(calc(self.host, *way, "null"), (OK, "", ""))

    def test_accumulate(self):
        ways = list(self.serve().values())
        for number, (value, expected) in enumerate(ACCUMULATED):
            self.check(ways[number % 2], ("acc", value), expected)

    def test_refusals(self):
        """What the library can answer instead of a result: exit 1, and a reason."""
        for reason, said in (("program", "program"), ("version", "2 to 2"),
                             ("procedure", "procedure"), ("arguments", "arguments"),
                             ("system", "error"), ("credentials", "credentials")):
            for transport, way in self.serve(reason).items():
                with self.subTest(reason=reason, transport=transport):
                    status, out, err = calc(self.host, *way, "add", 1, 2)
                    self.assertEqual((status, out), (FAILED, ""), err)
                    self.assertRegex(err, rf"^calc: .*{said}.*\n$")

    def test_nobody_there(self):
        """Its port after it has gone."""
        server = Program(self, [SERVER], self.host)
        tcp, udp = server.says(r"^listening on (\d+) (\d+)$").groups()
        server.kill()
        for way in (LOOPBACK, tcp), ("-u", "-t", 300, LOOPBACK, udp):
            status, out, err = calc(self.host, *way, "add", 1, 2)
            self.assertEqual((status, out), (NOBODY, ""), err)


class TwoHosts(unittest.TestCase):
    """calcd on one host, calc on the other."""

    def setUp(self):
        self.theirs, self.ours = peers.two_hosts(self)
        self.server = calcd(self, self.theirs)
        self.started = 0
        # What it knows of the other host's interface is asked for before a link is cut.
        self.assertEqual(calc(self.ours, self.theirs.address, self.server.port, "null"),
                         (OK, "", ""))

    def start(self, *options):
        """A calc that runs while we do something: an ACCUMULATE of a power of ten of its own. So
        each digit of the total says how often one of them was executed."""
        self.started += 1
        client = Program(self, [LAB / "calc", *options, self.theirs.address, self.server.port,
                                "acc", 10 ** self.started], self.ours)
        client.digit = self.started
        client.time = time.monotonic()
        return client

    def executed(self, client, total=None):
        """How often a calc's call was executed, by the total of now, or by that of a reply."""
        if total is None:
            status, total, err = calc(self.ours, self.theirs.address, self.server.port, "acc", 0)
            self.assertEqual(status, OK, err)
        return int(total) // 10 ** client.digit % 10

    def answered(self, client):
        """It has ended with its answer, and was executed once."""
        client.ends(OK)
        self.assertEqual(self.executed(client, client.out()[0]), 1, str(client))
        self.assertEqual(self.executed(client), 1, str(client))

    def test_calls(self):
        """Every procedure, both ways of the link; a full vector is six packets."""
        at = (self.theirs.address, self.server.port)
        for option in (), ("-u",):
            for call, value in ((("add", 1, 2), "3"), (("sub", 1, 2), "-1"), (("mul", 6, 7), "42"),
                                (("div", 7, -2), "-3"), (("sum", *range(1024)), "523776")):
                with self.subTest(option=option, op=call[0]):
                    self.assertEqual(calc(self.ours, *option, *at, *call), (OK, f"{value}\n", ""))
        self.assertEqual(calc(self.ours, *at, "acc", 5), (OK, "5\n", ""))
        self.assertEqual(calc(self.ours, "-u", *at, "acc", 5), (OK, "10\n", ""))
        self.server.stop()
        status, out, err = calc(self.ours, *at, "acc", 5)
        self.assertEqual((status, out), (NOBODY, ""), err)

    def cut_and_restore(self, meanwhile):
        """
        A call over UDP; `meanwhile`, a function of the link's end, starts it, and returns it when
        the link is cut. That has to be restored before calc sends for the last time: where the
        machine was too slow, it is done again. Cut at the one end and at the other.
        """
        for end in self.theirs, self.ours:
            with self.subTest(cut="server" if end is self.theirs else "client"):
                for _ in range(5):
                    client = meanwhile(end)
                    ended = client.process.poll()
                    end.link("up")
                    restored = time.monotonic() - client.time
                    client.process.wait(timeout=60)
                    if restored < LAST_SEND - 0.5 or client.process.returncode == OK:
                        self.assertIsNone(ended, f"it did not wait: {client}")
                        break
                    # Nobody knows whether it was executed, nor whether it still will be: the
                    # network may have kept a datagram. But not more than once.
                    self.assertIn(self.executed(client), (0, 1), str(client))
                else:
                    self.skipTest(f"too slow a machine: {restored:.1f} s to restore a link")
                self.answered(client)

    def test_udp_calls_are_lost(self):
        """The first calls are lost, a later one is answered."""
        def meanwhile(end):
            end.link("down")
            sent = self.ours.counter("Udp", "OutDatagrams")
            client = self.start("-u")
            if end is self.theirs:
                # Ours still has a route, so what goes nowhere is counted.
                wait_for(lambda: self.ours.counter("Udp", "OutDatagrams") >= sent + 2,
                         "a call is sent again")
            else:
                # There is nothing to be counted: sendto() fails, and calc has to live with it.
                self.sleeps(client)
            return client

        self.cut_and_restore(meanwhile)

    def test_udp_replies_are_lost(self):
        """
        The call gets through and is executed, its reply is lost: the same call comes again and is
        answered from memory. The server is stopped while the call arrives, so that the link can
        be cut between the two.
        """
        def unread():
            return any(s.unread for s in self.theirs.udp(self.server.port))

        def meanwhile(end):
            self.server.signal(signal.SIGSTOP)
            client = self.start("-u")
            wait_for(unread, "the call is there")
            end.link("down")
            self.server.signal(signal.SIGCONT)
            wait_for(lambda: not unread(), "the call is taken")
            self.sleeps(self.server)
            return client

        self.cut_and_restore(meanwhile)

    def sleeps(self, program):
        """Waits until a program has done what there was to do."""
        def asleep():
            stat = pathlib.Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii")
            return stat.rpartition(")")[2].split()[0] == "S" \
                and os.readlink(f"/proc/{program.pid}/exe").startswith(str(LAB))
        wait_for(asleep, f"{program.name} sleeps")

    def test_tcp_reply_is_delayed(self):
        """A connection survives a cut: the reply arrives after it, and nothing is done twice."""
        for end in self.theirs, self.ours:
            with self.subTest(cut="server" if end is self.theirs else "client"):
                self.server.signal(signal.SIGSTOP)
                client = self.start("-t", "60000")
                wait_for(lambda: any(s.unread == RECORD_BYTES
                                     for s in self.theirs.tcp(self.server.port)),
                         "the call is there")
                with end.cut():
                    self.server.signal(signal.SIGCONT)
                    wait_for(lambda: any(s.unsent for s in self.theirs.tcp(self.server.port)),
                             "the reply is on its way")
                    self.assertIsNone(client.process.poll(), str(client))
                self.answered(client)

    def test_tcp_connection_is_delayed(self):
        """The link is cut before calc connects, and is back before the kernel gives up."""
        for _ in range(5):
            with self.theirs.cut():
                client = self.start("-t", "60000")
                wait_for(lambda: client.process.poll() is not None
                         or any(s.state == peers.SYN_SENT
                                for s in self.ours.tcp(self.server.port)), "it connects")
            restored = time.monotonic() - client.time
            client.process.wait(timeout=60)
            # After 3 s in which nobody tells the other's interface the host is unreachable.
            if restored < 2 or client.process.returncode == OK:
                break
        else:
            self.skipTest(f"too slow a machine: {restored:.1f} s to restore a link")
        self.answered(client)

    def test_link_stays_cut(self):
        """
        Over TCP and UDP, cut at either end: exit 3. Which does not say that nothing was executed:
        Linux keeps datagrams for a host whose interface it asks for, for up to 3 s; when the link
        is back they arrive, after the one who sent them has gone.
        """
        clients = []
        for end in self.theirs, self.ours:
            name = "server" if end is self.theirs else "client"
            for option in (), ("-u",):
                with self.subTest(cut=name, option=option), end.cut():
                    client = self.start(*option, "-t", "1000")
                    client.ends(NOBODY)
                    self.assertEqual(client.out(), [])
                    self.assertRegex(client.err(), r"^calc: .*\n$")
                    clients.append(client)
            wait_for(lambda: calc(self.ours, "-t", 1000, self.theirs.address, self.server.port,
                                  "null")[0] == OK, "the server can be reached again")
        for client in clients:
            self.assertIn(self.executed(client), (0, 1), str(client))


if __name__ == "__main__":
    unittest.main()
