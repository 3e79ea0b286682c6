"""Processes, shared memory and the messages between them. Knows no faces."""
