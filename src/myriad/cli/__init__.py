"""The command line: one file per noun, each a thin talker to a control plane's REST API."""
