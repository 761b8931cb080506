"""The chat lab's reference with programs that others have made: chatd with the clients ii and
irssi, chat with the server ngircd; and chatd and chat on two hosts, with a link that is cut.
"""

import unittest

import peers
from ipclab import folder, wait_for
from irc_peers import Ii, Irssi, Ngircd
from peers import LOOPBACK, Program

FAILED = 1

LAB = None


def setUpModule():
    global LAB
    LAB = peers.build("chat", unittest.enterModuleContext(folder()) / "chat")


class ChatCase(unittest.TestCase):
    """What all of them do: a host, servers and chat clients."""

    def chatd(self, host):
        return peers.serve(self, [LAB / "chatd", "-p", "0"], host)

    def chat(self, host, port, nick, address=LOOPBACK, channel=None):
        """A chat client; with a channel when it is on it."""
        client = Program(self, [LAB / "chat", address, port, nick], host, name=nick)
        if channel is not None:
            client.write(f"/join {channel}")
            client.says(rf"^-- {nick} .*{channel}\b")
            client.says(rf"^-- 366 {channel}\b")
        return client

    def says_alone(self, text):
        """What carl says has been served when his next line has come back to him."""
        self.carl.write(text)
        self.carl.write("/msg carl said")
        self.carl.says(r"^\*carl\* said$")

    def quits(self, client, text=""):
        client.write(f"/quit {text}".rstrip())
        client.ends(0)


class IiClient(ChatCase):
    """chatd with ii, and chat as the other one who is there."""

    def setUp(self):
        peers.need("ii")
        self.host = peers.host_of(self)
        self.server = self.chatd(self.host)
        self.carl = self.chat(self.host, self.server.port, "carl", channel="#c")
        self.ida = Ii(self, self.host, self.server.port, "ida")
        self.ida.types("/j #c")
        self.ida.shows(r"ida\(ida@127\.0\.0\.1\) has joined #c", "#c")
        self.carl.says(r"^-- ida .*#c")

    def test_connects(self):
        """The welcome, the names."""
        self.ida.shows("message of the day")
        self.ida.shows("= #c carl ida$")
        self.ida.shows("#c .*NAMES")

    def test_channel(self):
        self.ida.types("hello carl, here is ii: with a colon", "#c")
        self.carl.says("^<ida> hello carl, here is ii: with a colon$")
        self.carl.write("  hello ida, zwei Wörter  ")
        self.ida.shows("<carl>   hello ida, zwei Wörter  $", "#c")

    def test_private(self):
        self.carl.write("/msg ida psst")
        self.ida.shows("<carl> psst$", "carl")
        self.ida.types("psst yourself", "carl")
        self.carl.says(r"^\*ida\* psst yourself$")

    def test_nick(self):
        """Seen by the others, and by what the new nick is good for."""
        self.ida.types("/n ida2")
        self.carl.says("^-- ida .*ida2")
        self.ida.types("still here", "#c")
        self.carl.says("^<ida2> still here$")
        self.carl.write("/msg ida2 hello")
        self.ida.shows("<carl> hello$", "carl")
        self.ida.types("/n CARL")
        self.ida.shows("CARL .*in use")
        self.carl.write("/msg ida gone")
        self.carl.says("^-- 401 ida ")

    def test_part(self):
        self.ida.types("/l see you", "#c")
        self.carl.says("^-- ida .*#c .*see you")
        self.says_alone("only for those who are on it")
        self.ida.types("/j #c")
        self.carl.says("^-- ida .*#c", count=3)
        self.carl.write("welcome back")
        self.ida.shows("<carl> welcome back$", "#c")
        self.assertNotIn("only for those", str(self.ida))

    def test_quit(self):
        self.ida.types("/q good bye")
        self.ida.program.ends(0)
        self.carl.says("^-- ida .*good bye")

    def test_is_killed(self):
        """Its kernel says goodbye for it."""
        self.ida.program.kill()
        self.carl.says("^-- ida ", count=2)

    def test_two_of_them(self):
        ivo = Ii(self, self.host, self.server.port, "ivo")
        ivo.types("/j #c")
        ivo.shows("ivo.* has joined #c", "#c")
        self.ida.shows(r"ivo\(ivo@127\.0\.0\.1\) has joined #c", "#c")
        ivo.types("hello", "#c")
        self.ida.shows("<ivo> hello$", "#c")
        self.ida.types("/j ivo hello, only you")
        ivo.shows("<ida> hello, only you$", "ida")
        ivo.types("/q bye")
        ivo.program.ends(0)
        self.ida.shows(r"ivo\(ivo@127\.0\.0\.1\) has quit.*bye")

    def test_server_ends(self):
        self.server.stop()
        self.carl.ends(FAILED)
        self.ida.program.ends(1)


class IrssiClient(ChatCase):
    """chatd with irssi. It begins with CAP and a JOIN without a channel, and lives with 421 and
    451; behind each JOIN it asks MODE and WHO."""

    def setUp(self):
        peers.need("irssi", "tmux")
        self.host = peers.host_of(self)
        self.server = self.chatd(self.host)
        self.carl = self.chat(self.host, self.server.port, "carl", channel="#c")
        self.iris = Irssi(self, self.host, self.server.port, "iris")
        self.iris.shows("message of the day")
        self.iris.types("/join #c")
        self.carl.says(r"^-- iris .*#c")
        self.iris.shows(r"iris \[iris@127\.0\.0\.1\] has joined #c")

    def test_names(self):
        self.iris.shows(r"\[ carl\] \[ iris\]")
        self.iris.shows("Total of 2 nicks")

    def test_channel(self):
        self.iris.types("hello carl, zwei Wörter: this, and  that")
        self.carl.says("^<iris> hello carl, zwei Wörter: this, and  that$")
        self.carl.write("hello iris, zwei Wörter")
        self.iris.shows("< carl> hello iris, zwei Wörter")

    def test_private(self):
        self.carl.write("/msg iris psst")
        self.iris.types("/query carl")
        self.iris.shows("<carl> psst")
        self.iris.types("psst yourself")
        self.carl.says(r"^\*iris\* psst yourself$")
        self.iris.types("/notice carl a notice")
        self.carl.says(r"^\*iris\* a notice$")

    def test_nick(self):
        self.iris.types("/nick iris2")
        self.iris.shows("You're now known as iris2")
        self.carl.says("^-- iris .*iris2")
        self.iris.types("still here")
        self.carl.says("^<iris2> still here$")
        self.carl.write("/nick carla")
        self.iris.shows("carl is now known as carla")
        self.iris.types("/nick Carla")
        self.iris.types("/window goto 1")
        self.iris.shows("Carla .*in use")

    def test_part(self):
        self.iris.types("/part #c see you")
        self.carl.says("^-- iris2? .*#c .*see you")
        self.iris.types("/join #c")
        self.iris.shows("has joined #c")
        self.carl.write("/part")
        self.iris.shows(r"carl \[carl@127\.0\.0\.1\] has left #c")

    def test_quit(self):
        """The other's, and its own."""
        ed = self.chat(self.host, self.server.port, "ed", channel="#c")
        self.iris.shows(r"ed \[ed@127\.0\.0\.1\] has joined #c")
        self.quits(ed, "enough for today")
        self.iris.shows(r"ed \[ed@127\.0\.0\.1\] has quit \[enough for today\]")
        self.iris.types("/quit good bye")
        self.iris.ends()
        self.carl.says("^-- iris .*good bye")

    def test_server_ends(self):
        self.server.stop()
        self.iris.types("/window goto 1")
        self.iris.shows("Connection lost to 127.0.0.1")


class Together(ChatCase):
    """All three clients with chatd: over IPv4, and over both where there is IPv6."""

    def setUp(self):
        peers.need("ii", "irssi", "tmux")
        self.host = peers.host_of(self)

    def talk(self, addresses):
        host = self.host
        server = self.chatd(host)
        carl = self.chat(host, server.port, "carl", addresses[0], channel="#c")
        ida = Ii(self, host, server.port, "ida", addresses[1])
        ida.types("/j #c")
        ida.shows("ida.* has joined", "#c")
        carl.says("^-- ida .*#c")
        iris = Irssi(self, host, server.port, "iris", addresses[2])
        iris.shows("message of the day")
        iris.types("/join #C")  # spelled as the first one has it
        iris.shows(r"iris.* has joined #c")
        ida.shows("iris.* has joined #c", "#c")
        carl.write("from chat")
        ida.shows("<carl> from chat$", "#c")
        iris.shows("< carl> from chat")
        ida.types("from ii", "#c")
        carl.says("^<ida> from ii$")
        iris.shows("< ida> from ii")
        iris.types("from irssi")
        carl.says("^<iris> from irssi$")
        ida.shows("<iris> from irssi$", "#c")
        server.stop()
        carl.ends(FAILED)

    def test_ipv4(self):
        self.talk([LOOPBACK] * 3)

    def test_ipv6(self):
        if not self.host.has_ipv6():
            self.skipTest("no IPv6 here")
        # ii repeats the address in USER, where a word that begins with a colon would be the last.
        self.talk(["::1", "0::1", LOOPBACK])


class NgircdServer(ChatCase):
    """chat with ngircd, which sends more than chatd does: numbers, notices, an ERROR."""

    def setUp(self):
        peers.need("ngircd")
        self.host = peers.host_of(self)
        self.server = Ngircd(self, self.host)
        self.carl = self.chat(self.host, self.server.port, "carl", channel="#c")
        self.ida = self.chat(self.host, self.server.port, "ida", channel="#c")
        self.carl.says("^-- ida .*#c")

    def test_channel(self):
        self.ida.write("hello: carl")
        self.carl.says("^<ida> hello: carl$")
        self.carl.write("hello ida")
        self.ida.says("^<carl> hello ida$")
        self.assertNotIn("<carl> hello ida", self.carl.out(), "one's own text is not printed")

    def test_names(self):
        """The operator's mark stands before a nick."""
        self.ida.says("^-- 353 .*@carl")

    def test_private(self):
        self.carl.write("/msg ida psst")
        self.ida.says(r"^\*carl\* psst$")
        self.ida.write("/msg carl psst yourself")
        self.carl.says(r"^\*ida\* psst yourself$")
        self.carl.write("/msg nobody psst")
        self.carl.says("^-- 401 nobody ")

    def test_nick(self):
        self.ida.write("/nick ida2")
        self.carl.says("^-- ida .*ida2")
        self.ida.says("^-- ida .*ida2")
        self.ida.write("still here")
        self.carl.says("^<ida2> still here$")
        self.ida.write("/nick CARL")
        self.ida.says("^-- 433 CARL ")
        self.ida.write("/nick 2nd")
        self.ida.says("^-- 432 2nd ")

    def test_nick_in_use(self):
        """Before 001: exit 1. The others notice nothing."""
        other = Program(self, [LAB / "chat", LOOPBACK, self.server.port, "Carl"], self.host)
        other.ends(FAILED)
        self.assertRegex(other.err(), r"^chat: .*\n$")
        self.ida.write("still here")
        self.carl.says("^<ida> still here$")

    def test_part(self):
        self.ida.write("/part")
        self.ida.says("^-- ida .*#c", count=2)
        self.carl.says("^-- ida .*#c", count=2)
        self.ida.write("to whom?")
        self.says_alone("you are off")
        self.ida.write("/join #c")
        self.carl.says("^-- ida .*#c", count=3)
        self.carl.write("welcome back")
        self.ida.says("^<carl> welcome back$")
        self.assertNotIn("<carl> you are off", self.ida.out())
        self.assertNotIn("<ida> to whom?", self.carl.out())

    def test_quit(self):
        self.quits(self.ida, "good bye")
        self.carl.says("^-- ida .*good bye")
        self.carl.process.stdin.close()
        self.carl.ends(0)

    def test_server_ends(self):
        self.server.stop()
        self.carl.ends(FAILED)
        self.ida.ends(FAILED)


class TwoHosts(ChatCase):
    """chatd and a client on one host, clients on the other."""

    def setUp(self):
        self.theirs, self.ours = peers.two_hosts(self)
        self.server = self.chatd(self.theirs)
        self.near = self.chat(self.theirs, self.server.port, "near", channel="#c")

    def addresses(self):
        return [address for address in (self.theirs.address, self.theirs.address6) if address]

    def ends_of_link(self):
        return (self.theirs, "server"), (self.ours, "client")

    def far(self, nick, address):
        client = self.chat(self.ours, self.server.port, nick, address, channel="#c")
        self.near.says(rf"^-- {nick} .*#c")
        return client

    def test_talk(self):
        """Over IPv4 and IPv6."""
        for number, address in enumerate(self.addresses()):
            with self.subTest(address=address):
                far = self.far(f"far{number}", address)
                far.write(f"hello {number}")
                self.near.says(f"^<far{number}> hello {number}$")
                self.near.write(f"hello far{number}")
                far.says(f"^<near> hello far{number}$")
                self.quits(far)
                self.near.says(f"^-- far{number} ", count=2)

    def test_texts_wait_for_the_link(self):
        """What was said while it was cut arrives when it is back, in both directions; those who
        are on the server's own host go on meanwhile."""
        number = 0
        beside = self.chat(self.theirs, self.server.port, "beside", channel="#c")
        for address in self.addresses():
            for end, name in self.ends_of_link():
                number += 1
                with self.subTest(address=address, cut=name):
                    far = self.far(f"far{number}", address)
                    with end.cut():
                        far.write(f"from afar {number}")
                        self.near.write(f"to afar {number}")
                        wait_for(self.tried, "both are under way, and did not get through")
                        beside.says(f"^<near> to afar {number}$")
                        self.assertNotIn(f"from afar {number}", str(self.near))
                        self.assertNotIn(f"to afar {number}", str(far))
                    self.near.says(f"^<far{number}> from afar {number}$")
                    far.says(f"^<near> to afar {number}$")
                    self.quits(far)
                    self.near.says(f"^-- far{number} ", count=2)

    def tried(self):
        """Whether both hosts have something to send to the other one, and the one that still has
        a route has sent it in vain, more than once."""
        unsent = [[s.again for s in host.tcp(self.server.port) if s.unsent]
                  for host in (self.theirs, self.ours)]
        return all(unsent) and max(sum(unsent, [])) >= 2

    def test_quits_while_cut(self):
        """chat does not wait for an answer for ever; what it has said still arrives."""
        for number, (end, name) in enumerate(self.ends_of_link()):
            with self.subTest(cut=name):
                far = self.far(f"far{number}", self.theirs.address)
                with end.cut():
                    self.quits(far, f"good bye {number}")
                self.near.says(f"^-- far{number} .*good bye {number}")

    def test_ends_while_cut(self):
        """A server that ends without being heard: its clients stay, and hear of it later."""
        far = self.far("far", self.theirs.address)
        with self.theirs.cut():
            self.server.stop()
            self.near.ends(FAILED)
            self.assertIsNone(far.process.poll(), str(far))
        far.ends(FAILED)


if __name__ == "__main__":
    unittest.main()
