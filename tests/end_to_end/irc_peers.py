"""Programs of others that speak IRC, driven as a person would: the clients ii and irssi, and the
server ngircd. All of them keep what they write in a folder of the test's own."""

import contextlib
import os
import time

import peers
from ipclab import folder, run, wait_for
from peers import LOOPBACK, Program, first


class Ii:
    """ii 1.8. A tree of folders is its face, one for the server, each channel and each nick: a
    FIFO `in` takes what is typed there, a file `out` gets what is to be seen there.

    It does not show a NICK line without a colon before the new nick: don't look at that here.
    """

    def __init__(self, case, host, port, nick, address=LOOPBACK):
        self.tree = case.enterContext(folder())
        self.program = Program(case, ["ii", "-s", address, "-p", port, "-n", nick, "-i", self.tree],
                               host, env={"HOME": str(self.tree)})
        self.server = self.tree / address
        self.inputs = {}
        case.addCleanup(self._close)

    def _close(self):
        for fd in self.inputs.values():
            os.close(fd)

    def _input(self, place):
        """Its FIFO, open for as long as it is that of this channel: each close would be an end of
        input, at which ii opens it anew and loses what comes in between."""
        path = self.server / place / "in"

        def opened():
            fd = None
            with contextlib.suppress(OSError):  # not there yet, or ii has not opened it yet
                fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            return fd

        if place in self.inputs:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self.inputs[place]), os.stat(path)):
                    return self.inputs[place]
            os.close(self.inputs.pop(place))
        try:
            self.inputs[place] = wait_for(opened, f"ii listens at {path}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self}") from None
        return self.inputs[place]

    def types(self, text, place=""):
        """A line; `place` is a channel or a nick, in lower case, or the server."""
        os.write(self._input(place), (text + "\n").encode())

    def shows(self, pattern, place=""):
        """Waits for a line that holds `pattern`; returns the match."""
        try:
            return wait_for(lambda: first(pattern, self.out(place)), f"{pattern!r} in {place!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self}") from None

    def out(self, place=""):
        return peers.lines(self.server / place / "out")

    def __str__(self):
        outs = [f"{path.relative_to(self.tree)}:\n{path.read_text(errors='replace')}"
                for path in sorted(self.tree.rglob("out"))]
        return "\n".join([str(self.program), *outs])


class Irssi:
    """irssi 1.4 in a terminal of its own, by a tmux with its own socket."""

    CONFIG = """\
settings = {{
  core = {{ real_name = "{nick}"; user_name = "{nick}"; nick = "{nick}"; }};
  # It would wait 2 seconds between commands, so that no server punishes it.
  "irc/core" = {{ cmds_max_at_once = "1000"; cmd_queue_speed = "1msec"; }};
  "fe-text" = {{ term_charset = "UTF-8"; }};
}};
"""

    def __init__(self, case, host, port, nick, address=LOOPBACK):
        self.home = case.enterContext(folder())
        (self.home / "config").write_text(self.CONFIG.format(nick=nick))
        self.env = {"HOME": str(self.home), "TERM": "screen", "LC_ALL": "C.UTF-8", "TMUX": None}
        self._tmux("new-session", "-d", "-x", "150", "-y", "100", "irssi", "--home", self.home,
                   "-c", address, "-p", port, "-n", nick, enter=host.enter)
        self.pids = self._tmux("display-message", "-p", "#{pane_pid} #{pid}").split()
        case.addCleanup(self._end)

    def _tmux(self, *words, enter=()):
        done = run(*enter, "tmux", "-u", "-S", self.home / "tmux", "-f", "/dev/null", *words,
                   env=self.env, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"tmux {words[0]}: {done.stderr.decode()}")
        return done.stdout.decode()

    def _end(self):
        with contextlib.suppress(AssertionError):  # with irssi its terminal has ended, and tmux
            self._tmux("kill-server")
        self.ends()

    def ends(self):
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in self.pids),
                 "irssi and its terminal end")

    def types(self, text):
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def shows(self, pattern):
        """Waits for a line on the screen that holds `pattern`; returns the match."""
        def found():
            time.sleep(0.05)  # each look is a run of tmux
            return first(pattern, self.screen().split("\n"))
        try:
            return wait_for(found, repr(pattern))
        except AssertionError as error:
            raise AssertionError(f"{error} on irssi's screen:\n{self.screen()}") from None


class Ngircd:
    """ngircd 26, which listens on loopback alone. No oracle: in 404, 431, empty texts, over-long
    lines, unknown commands before registration and CAP it differs from chatd."""

    CONFIG = """\
[Global]
Name = irc.test.invalid
Info = a peer
Listen = {address}
Ports = {port}
ServerUID = {uid}
ServerGID = {gid}
[Limits]
MaxConnectionsIP = 0
# Who is quick would be kept waiting.
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
IncludeDir = {folder}
"""

    def __init__(self, case, host):
        into = case.enterContext(folder())
        self.port = peers.free_port()
        config = into / "ngircd.conf"
        (into / "more").mkdir()
        command = [peers.find("ngircd"), "-n", "-f", config]
        # It does not run as root, and if it may not change who it is it has to be who it is.
        uid, gid = (os.getuid(), os.getgid()) if os.getuid() != 0 else ("nobody", "nogroup")
        if host.in_user_namespace:
            # There we are root by name, and nobody else is there.
            uid = gid = 1
            command = ["unshare", "-U", f"--map-user={uid}", f"--map-group={gid}", *command]
        config.write_text(self.CONFIG.format(address=LOOPBACK, port=self.port, uid=uid, gid=gid,
                                             folder=into / "more"))
        self.program = Program(case, command, host, name="ngircd")
        self.program.says(r"Now listening on")

    def stop(self):
        self.program.stop()
