"""`python -m myriad.server`."""

from myriad.server.main import main

raise SystemExit(main())
