"""`python -m rtau` is `rtau`."""

from rtau.cli import main

main(prog_name="rtau")
