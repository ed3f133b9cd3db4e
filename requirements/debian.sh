#!/usr/bin/env bash
# Installs the Debian packages that are missing, where we may: requirements/debian.sh run|test
#   run   what the platform needs: libgomp1 (LightGBM)
#   test  what the tests use besides: chromium, a C compiler, postgresql, redis, promtool (no server of theirs is started)
set -euo pipefail
missing=()
ldconfig -p 2>/dev/null | grep -q 'libgomp\.so\.1' || missing+=(libgomp1)
if [ "${1:-run}" = test ]; then
  command -v chromium >/dev/null || missing+=(chromium)
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  [ -d /usr/lib/postgresql ] || missing+=(postgresql)
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v promtool >/dev/null || missing+=(prometheus)
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing and not installed (needs root and apt-get): ${missing[*]}" >&2
  exit 0
fi
echo "installing Debian packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # of a system that starts no services
if [[ " ${missing[*]} " == *" postgresql "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
  mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
