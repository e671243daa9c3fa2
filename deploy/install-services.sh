#!/bin/sh
# Makes mosquitto and chromium available for the tests. As root it installs Debian's packages; otherwise it says
# what is missing (those tests are skipped then, and fail where CI=true).
set -u
missing=""
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    log=$(mktemp)
    # policy-rc.d keeps apt from starting a broker of its own on the default port.
    policy=/usr/sbin/policy-rc.d
    made=""
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1
    status=$?
    [ -n "$made" ] && rm -f "$policy"
    if [ "$status" != 0 ]; then
        tail -n 5 "$log" >&2
        echo "could not install$missing: the tests that need them will not run" >&2
    fi
    rm -f "$log"
else
    echo "missing:$missing; install with: sudo apt-get install$missing" >&2
fi
exit 0
