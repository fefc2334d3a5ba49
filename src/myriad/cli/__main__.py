"""`python -m myriad.cli`: the command line without an installed script."""

from myriad.cli.main import main

main()
