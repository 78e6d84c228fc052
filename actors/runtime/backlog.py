"""How much one worker holds back at its gates until it is durable."""

UNDURABLE_COMMANDS_MAX = 20_000
UNDURABLE_BYTES_MAX = 64 << 20
"""Beyond either, commands are refused as overloaded."""


class Backlog:
    """One a worker: every command that waits at a gate, reads and refusals too, and about the bytes of all."""

    def __init__(self, commands_max: int = UNDURABLE_COMMANDS_MAX, bytes_max: int = UNDURABLE_BYTES_MAX) -> None:
        self.commands = 0
        self.size_bytes = 0
        self._commands_max = commands_max
        self._bytes_max = bytes_max

    def add(self, size_bytes: int) -> None:
        self.commands += 1
        self.size_bytes += size_bytes

    def remove(self, size_bytes: int) -> None:
        self.commands -= 1
        self.size_bytes -= size_bytes

    @property
    def full(self) -> bool:
        return self.commands >= self._commands_max or self.size_bytes >= self._bytes_max
