"""`python deploy/healthy.py URL`: exit 0 when it answers 200; else 1, with the reasons. An image has no curl."""

import sys
import urllib.error
import urllib.request

try:
    urllib.request.urlopen(sys.argv[1], timeout=3).close()
except urllib.error.HTTPError as answer:
    sys.exit(f"{answer.code}: {answer.read(2000).decode('utf-8', 'replace')}")
except OSError as error:
    sys.exit(str(error))
