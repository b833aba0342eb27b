"""`python several_worker.py LINES`, a JSON list of command lines, is `limbeck` with each of them in turn."""

import json
import sys

from limbeck.cli.app import app

for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
