#!/usr/bin/env bash
# A headless Chromium for the tests of the page (Debian or Ubuntu, as root). Does nothing where there is one.
set -euo pipefail
command -v chromium >/dev/null && exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
chromium --version 2>/dev/null
