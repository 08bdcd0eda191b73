"""Running the real programs: what is built, and waiting until it is ready."""

import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
BINARIES = TARGET / "debug"

# A program that is not ready by then never will be, in seconds.
READY_TIME = 30


class Program:
    """A running binary whose lines of output are read as they come."""

    def __init__(self, name, arguments, environment, stream):
        path = BINARIES / name
        assert path.exists(), f"{path} is not built: cargo build --workspace --bins"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, stream: subprocess.PIPE}
        self.process = subprocess.Popen([path, *arguments], env=environment, text=True, **pipes)
        self.lines = queue.Queue()
        self.seen = []
        reader = threading.Thread(target=self._read, args=[getattr(self.process, stream)], daemon=True)
        reader.start()

    def _read(self, stream):
        for line in stream:
            self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, matches):
        """The first line of JSON that `matches`."""
        try:
            while (line := self.lines.get(timeout=READY_TIME)) is not None:
                self.seen.append(line)
                event = json.loads(line)
                if matches(event):
                    return event
        except queue.Empty:
            self.process.kill()
        raise AssertionError(f"{self.process.args[0]} did not become ready:\n{''.join(self.seen)}")

    def end(self):
        """Asks it to end; tells its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=READY_TIME)
        finally:
            self.process.kill()
