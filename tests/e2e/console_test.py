"""`muster console` in a real terminal (tmux), against a real musterd with a small fleet that is at work."""

import json
import os
import pathlib
import subprocess
import unittest

from installation import BIN, InstallationTest, make_repository, wait_for

AGENT = """#!/usr/bin/env bash
case "$(cat fate)" in
  change) echo moved > moved.txt ;;
  fail)   echo "no idea how" >&2; exit 78 ;;
  hang)   exec sleep 600 ;;
esac
"""

FLEET = """version: 1
name: fates
repositories:
  - path: repos/acme/*.git
agent:
  run: ./agent.sh
  timeout: 10m
verify:
  - {name: check, run: "true"}
delivery:
  branch: muster/fates
"""


class Terminal:
    """One tmux session on a server of its own."""

    def __init__(self, directory, *command, width=110, height=60):
        self.socket = str(directory / "tmux")
        env = {**os.environ, "HOME": str(directory), "TERM": "xterm", "LANG": "C.UTF-8", "USER": "ann"}
        env.pop("XDG_STATE_HOME", None)
        env.pop("TMUX", None)
        self.env = env
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), *command)
        self._tmux("set-option", "-g", "remain-on-exit", "on")

    def _tmux(self, *args):
        return subprocess.run(["tmux", "-u", "-S", self.socket, *args], env=self.env, text=True,
                              capture_output=True, check=True).stdout

    def type(self, *keys):
        self._tmux("send-keys", *keys)

    def line(self, text):
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def until(self, *texts, seconds=60):
        """The screen once it shows all of the texts."""
        seen = [""]

        def shows():
            seen[0] = self.screen()
            return all(text in seen[0] for text in texts)
        try:
            wait_for(shows, f"the screen shows {texts}", seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{seen[0]}") from None
        return seen[0]

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], env=self.env, capture_output=True)


class ConsoleTest(InstallationTest):
    slots = 2

    def setUp(self):
        super().setUp()
        repos = self.muster.directory / "repos" / "acme"
        for name, fate in (("change", "change"), ("fail", "fail"), ("hang", "hang")):
            make_repository(repos / f"{name}.git", {"fate": fate})
        fleet = self.muster.write_fleet(FLEET, agent__sh=AGENT)
        self.muster.muster("fleet", "run", fleet, "--detach")
        wait_for(lambda: self.states() == {"acme/change": "delivered", "acme/fail": "failed",
                                           "acme/hang": "running"}, "two runs end and one hangs")
        self.addCleanup(self.end_fleet)
        self.id = {repository: run["id"] for repository, run in self.muster.runs("fates").items()}

    def end_fleet(self):
        """What hangs still must not outlive the test."""
        self.muster.muster("fleet", "cancel", "fates", check=None)
        wait_for(lambda: self.states()["acme/hang"] == "cancelled", "the last run ends")

    def states(self):
        return {repository: run["state"] for repository, run in self.muster.runs("fates").items()}

    def console(self, *lines, check=True):
        args = [word for line in lines for word in ("--exec", line)]
        done = self.muster.muster("console", *args, check=check)
        if os.environ.get("MUSTER_SHOW"):  # As the guide quotes it.
            print("".join(f"\nmuster> {line}" for line in lines) + f"\n{done.stdout}{done.stderr}", end="", flush=True)
        return done

    def documents(self, line, check=True):
        return json.loads(self.muster.muster("console", "--json", "--exec", line, check=check).stdout)

    def terminal(self):
        terminal = Terminal(self.muster.directory, str(BIN / "muster"), "--root", str(self.muster.root), "console")
        self.addCleanup(terminal.close)
        terminal.until("muster>")
        return terminal

    def test_the_prompt(self):
        terminal = self.terminal()
        terminal.line("actors kind=run")
        screen = terminal.until("run/" + self.id["acme/hang"], "delivered", "failed", "running")
        self.assertIn("ACTOR", screen)

        # Completion: a command, its option, a kind, an actor's name.
        terminal.type("C-l")
        terminal.type("-l", "act")
        terminal.type("Tab")
        terminal.type("-l", "kin")
        terminal.type("Tab")
        terminal.type("-l", "ho")
        terminal.type("Tab", "Enter")
        terminal.until("muster> actors kind=host", "host/local")
        terminal.type("C-l")
        terminal.type("-l", "show fl")
        terminal.type("Tab")
        terminal.type("-l", "fa")
        terminal.type("Tab", "Enter")
        screen = terminal.until("muster> show fleet/fates", "State", "muster/fates")
        terminal.type("C-l")
        terminal.type("Up", "Enter")  # History.
        terminal.until("muster> show fleet/fates", "State")

        # A mistake says what was meant, and the prompt goes on.
        terminal.type("C-l")
        terminal.line("jornal run/X")
        terminal.until("did you mean 'journal'?")

        # Ctrl-C gives up a line or an answer, and the prompt goes on.
        terminal.type("C-l")
        terminal.type("-l", "cancel kind=run")
        terminal.type("C-c")
        terminal.until("cancel kind=run^C")
        terminal.line("cordon host/local")
        terminal.until("Reason:")
        terminal.type("-l", "no")
        terminal.type("C-c")
        terminal.until("no^C", "a reason is needed")
        terminal.line("show host/local")
        terminal.until("muster> show host/local", "ready")

        # An order: reason, how many, and only then.
        terminal.type("C-l")
        terminal.line("cancel kind=run state=running")
        terminal.until("Reason:")
        terminal.line("it hangs")
        terminal.until("would cancel 1: run/" + self.id["acme/hang"], "at once: 0 messages, 1 effect", "Do it? [yes/no]")
        terminal.line("no")
        terminal.until("nothing was done")
        self.assertEqual(self.states()["acme/hang"], "running")
        terminal.type("C-l")
        terminal.line(f"send run/{self.id['acme/hang'][:6]} HostLost")
        terminal.until("host (string):")
        terminal.line("local")
        terminal.until("session (ulong):")
        terminal.line("many")  # Known at once; what was filled in stays.
        terminal.until("session (ulong; 'many' is no whole number from 0):")
        terminal.type("C-c")
        terminal.until("nothing was done")
        terminal.type("C-l")
        terminal.line(f"send run/{self.id['acme/hang'][:6]} CancelRun")
        terminal.until("reason (string):")
        terminal.line("by hand")
        terminal.until("by (string):")
        terminal.line("")
        terminal.until("Reason:")
        terminal.line("it hangs")
        terminal.until("would send CancelRun", "⇒ effect stop/" + self.id["acme/hang"], "Do it? [yes/no]")
        terminal.line("yes")
        terminal.until("sent CancelRun")
        wait_for(lambda: self.states()["acme/hang"] == "cancelled", "the run is cancelled")
        terminal.line("quit")
        history = (self.muster.directory / ".local/state/muster/history")
        line = "cancel kind=run state=running"
        wait_for(lambda: history.exists() and line in history.read_text().replace("\\040", " "),
                 "the history is written")
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)

    def test_top(self):
        terminal = self.terminal()
        terminal.line("top")
        screen = terminal.until("muster top", "fates", "local", "Deepest mailboxes", "q quit")
        self.assertRegex(screen, r"fates +running +2 +3 ")
        self.assertRegex(screen, r"local +ready +1 +2")
        terminal.until("/s  commits")  # A rate: there was a second picture.
        terminal.type("4")
        terminal.until("Dead letters", "no dead letters")
        terminal.type("3")
        terminal.until("nothing waits for a host")
        self.muster.kill_engine()
        terminal.until("can't be reached")
        self.muster.start()
        terminal.type("1")
        terminal.until("muster top", "fates")
        terminal.type("q")
        terminal.until("muster>")

        # Following shows what is done meanwhile, until Ctrl-C.
        terminal.type("C-l")
        terminal.line("follow fleet=fates")
        self.console("cancel kind=run state=running reason=seen confirm=yes")
        terminal.until(f"run/{self.id['acme/hang']}", "CancelRun", "reason=seen", "RunStatus")
        terminal.type("C-c")
        terminal.line("hot kind=run")
        terminal.until("muster> hot kind=run", "PER MINUTE", f"run/{self.id['acme/hang']}")

    def test_care(self):
        """What concerns a host, the limits and the installation as a whole."""
        run = self.id["acme/hang"]
        host = self.documents("host local")
        self.assertEqual([each["run"] for each in host["sandboxes"]], [run])
        self.assertTrue(host["lease"]["connected"] and host["lease"]["ends_in_ms"] > 0)
        text = self.console("host local", "limits", "slow", "engine", f"show run/{run}").stdout
        for part in (f"{run}-1", "local, epoch 1.1.1", "without a heartbeat", "Warm repositories", "every fleet as its file says", "in memory",
                     "us the longest", "steps of runs"):
            self.assertIn(part, text)

        # A run leaves its host and begins again; the attempt is no failure of its own.
        self.assertIn("release: 1 of 1 done", self.console(
            f"release run/{run} reason='the host is slow' confirm=yes").stdout)
        wait_for(lambda: [self.muster.json("run", "show", run)[key] for key in ("state", "attempt")] == ["running", 2],
                 "the run is running again")
        first = self.muster.json("run", "show", run)["attempts"][0]
        self.assertEqual((first["class"], first["reason"]), ("infrastructure", "released"))
        self.assertIn("the host is slow", first["message"])
        refused = self.console(f"release run/{self.id['acme/fail']} reason=why confirm=yes", check=[3])
        self.assertIn("it stands on no host", refused.stdout)

        # Limits: a dry run without confirmation, then at once and for good.
        would = self.console("limit fleet=fates concurrency=1 weight=3 reason=slowly", check=[2]).stdout
        self.assertIn("would set fleet fates: concurrency 1, weight 3", would)
        self.assertEqual(self.documents("limits")["fleets"], [])
        self.console("limit fleet=fates concurrency=1 weight=3 reason=slowly confirm=yes")
        self.muster.kill_engine()
        self.muster.start()
        self.assertEqual(self.documents("limits")["fleets"], [{"fleet": "fates", "concurrency": 1, "weight": 3}])
        self.console("limit fleet=fates clear=yes reason=again confirm=yes")
        self.console("limit total=0 reason=why confirm=yes", check=[2])

        self.assertIn("logs debug", self.console("log-level debug reason=why confirm=yes").stdout)
        self.console("log-level loud reason=why confirm=yes", check=[2])
        backups = self.muster.directory / "backups"
        self.assertIn("would make a backup", self.console(f"backup {backups} reason=nightly", check=[2]).stdout)
        self.assertIn("of them new", self.console(f"backup {backups} reason=nightly confirm=yes").stdout)
        self.assertEqual(len(self.muster.json("backup", "list", backups)["backups"]), 1)
        self.assertIn("compacted: ", self.console("compact reason=why confirm=yes").stdout)
        self.assertIn("sound: ", self.console("verify").stdout)
        self.console("cordon host/local reason=why confirm=yes")
        for action, why in (("operation.release", "the host is slow"), ("limits.change", "slowly"), ("log.level", "why"),
                            ("backup.create", "nightly"), ("journal.compact", "why"), ("operation.cordon", "why")):
            tail = self.muster.muster("audit", "tail", "-n", "1000", "--action", action).stdout
            self.assertIn(f"  asked  {why}", tail)
        self.assertIn("run.release", self.muster.muster("audit", "tail", "-n", "1000", "--action", "run.release").stdout)

    def test_scripts(self):
        self.assertEqual(self.console("nothing", check=[2]).stdout, "")
        run = self.id["acme/fail"]
        shown = self.documents(f"show run/{run[:6]}")
        self.assertEqual((shown["state"]["state"], shown["state"]["class"]), ("failed", "agent"))
        text = self.console(f"show run/{run}", f"journal run/{run} limit=3", "engine", "queue", "hosts", "dead").stdout
        for part in ("failed", "mailbox", "HostEvent", "commits", "nothing waits", "local", "no dead letters"):
            self.assertIn(part, text)

        # Everything about all that a selection means.
        several = self.documents("show kind=run fleet=fates younger_than=1h")
        self.assertEqual(({each["id"] for each in several["actors"]}, several["more"]),
                         ({f"run/{each}" for each in self.id.values()}, False))
        text = self.console("show kind=run state=failed").stdout
        self.assertIn(f"run/{run}  failed", text)
        self.assertNotIn(self.id["acme/hang"], text)
        self.assertIn("there are more", self.console("show kind=run limit=1").stdout)
        self.assertEqual(self.console("show kind=run older_than=7d").stdout, "no actors\n")
        self.console("show", check=[2])

        # The whole story of one run, from the API's call to the host's last word.
        journal = self.documents("journal fleet/fates limit=1000")["consumed"]
        self.assertEqual(journal[-1]["type"], "CreateFleet")
        tree = self.documents(f"tree {journal[-1]['sequence']}")
        links = {message["link"] for message in tree["messages"]}
        self.assertLessEqual({"sent", "effect", "scheduler", "host"}, links)
        told = {(m["type"], m["to"]) for m in tree["messages"]}
        self.assertIn(("CreateRun", f"run/{run}"), told)
        self.assertIn(("HostEvent", f"run/{run}"), told)
        self.assertIn("└─", self.console(f"tree {journal[-1]['sequence']}").stdout)

        # Its states, made again, end in the one that is kept.
        story = self.documents(f"journal run/{run} limit=1000")["consumed"]
        states = [self.documents(f"state run/{run} {step['sequence']}") for step in reversed(story)]
        self.assertEqual(states[0]["state"]["state"], "waiting")
        self.assertEqual(states[-1]["state"], shown["state"])
        self.assertTrue(states[-1]["same_as_kept"])

        followed = self.console("follow for=1s dead=yes")
        self.assertEqual(followed.stdout, "")

        # What an order would do is known before: who has ended would refuse it.
        would = self.documents("send run/" + run + " CancelRun reason=why confirm=no", check=[2])
        self.assertIn("has ended", would["decides"]["refused"])

        # A message without what steps read is not sent.
        self.console(f"send run/{run} HostEvent reason=why confirm=yes", check=[2])

        # An order needs a reason and a confirmation.
        self.console("cancel kind=run state=running", check=[2])
        self.console("cancel kind=run state=running reason=why", check=[2])
        empty = self.console("cancel kind=run fleet= reason=why confirm=yes", check=[2])  # As of a script's empty variable.
        self.assertIn("'select.fleet' is empty", empty.stderr)
        self.assertEqual(self.states()["acme/hang"], "running")
        done = self.console("cancel kind=run state=running reason=why confirm=yes")
        self.assertIn("cancel: 1 of 1 done", done.stdout)
        wait_for(lambda: self.states()["acme/hang"] == "cancelled", "the run is cancelled")
        self.console("cordon host/local reason=why confirm=yes")
        self.assertEqual(self.documents("show host/local")["state"]["state"], "cordoned")
        self.console("cancel host/local reason=why confirm=yes", check=[3])

        piped = subprocess.run([str(BIN / "muster"), "--root", str(self.muster.root), "console"], text=True,
                               input="# two lines\nhosts\nquit\nnothing\n", capture_output=True, timeout=60)
        self.assertEqual(piped.returncode, 0, piped.stderr)
        self.assertIn("cordoned", piped.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
