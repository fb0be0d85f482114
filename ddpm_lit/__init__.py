__version__ = "0.4.0"

import os, sys

if os.path.basename((sys.argv or [''])[0]).startswith('ddpm_lit_'):   # a command: Ctrl-C during its imports is one line
    def _one_line(kind, error, trace, usual=sys.excepthook):
        if not issubclass(kind, KeyboardInterrupt): return usual(kind, error, trace)
        if sys.stderr: print(f'{os.path.basename(sys.argv[0])}: interrupted', file=sys.stderr)
    sys.excepthook = _one_line
