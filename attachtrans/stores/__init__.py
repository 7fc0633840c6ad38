"""Sources and sinks of photos; no torch here."""
