#!/usr/bin/env bash
# A rack: machines of this computer, each behind a BMC of its own (Debian's ipmi_sim), whose power really boots and stops
# them. Who powers them knows nothing but addresses and a password.
# Usage: rack.sh up FOLDER NAME:ADDRESS:CPUS:MIB... | down FOLDER      (MAREA, SCOPE and SUBNET from the environment)
# BMCs listen on 127.0.0.1, ports from 6231 on in the order of the names; user admin, the password in FOLDER/password.
set -euo pipefail

verb=$1 folder=$2; shift 2
machine() { "$MAREA" --state "$folder" machine --scope "$SCOPE" --subnet "$SUBNET" "$@"; }

stop_bmcs() { # only those that this script started
  local file pid
  for file in "$folder"/bmc/*.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    if [ "$(tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -c "ipmi_sim.*$folder/bmc/")" = 1 ]; then kill "$pid"; fi
    rm -f "$file"
  done
}

if [ "$verb" = down ]; then
  stop_bmcs
  [ -d "$folder" ] || exit 0
  machine destroy --all
  rm -rf "$folder/bmc" "$folder/password"
  rmdir "$folder" 2>/dev/null || true
  exit 0
fi

command -v ipmi_sim >/dev/null && command -v ipmitool >/dev/null || { echo "rack: apt-get install openipmi ipmitool" >&2; exit 1; }
mkdir -p "$folder/bmc"; chmod 700 "$folder"
[ -f "$folder/password" ] || ( umask 077; head -c 9 /dev/urandom | base64 | tr '+/' 'ab' > "$folder/password" )
stop_bmcs
port=6231
for spec in "$@"; do
  IFS=: read -r name address cpus mib <<< "$spec"
  machine create "$name" --address "$address" --cpus "$cpus" --memory-mib "$mib"
  at=$folder/bmc/$name
  # A real power button answers at once; the machine takes its time to go down.
  cat > "$at.sh" <<SH
#!/bin/sh
machine() { "$MAREA" --state "$folder" machine --scope "$SCOPE" --subnet "$SUBNET" "\$@"; }
echo "\$(date +%T) \$*" >> "$at.calls"
case "\$*" in
  'get power') if machine list 2>/dev/null | grep -Eq "^$name .*  off\$"; then echo power:0; else echo power:1; fi ;;
  'set power 1') machine on "$name" >> "$at.log" 2>&1 ;;
  'set power 0') machine off "$name" --hard >> "$at.log" 2>&1 ;;
  'set shutdown 1') setsid "$MAREA" --state "$folder" machine --scope "$SCOPE" --subnet "$SUBNET" off "$name" >> "$at.log" 2>&1 < /dev/null & ;;
  get*) shift; for p in "\$@"; do echo "\$p:0"; done ;;
esac
exit 0
SH
  chmod 700 "$at.sh"
  ( umask 077; cat > "$at.conf" <<CONF
name "$name"
set_working_mc 0x20
startlan 1
 addr 127.0.0.1 $port
 priv_limit admin
 allowed_auths_admin md5
 allowed_auths_operator md5
 allowed_auths_user md5
 guid a123456789abcdefa123456789abcdef
endlan
chassis_control "$at.sh"
user 2 true "admin" "$(cat "$folder/password")" admin 10 md5
CONF
  )
  printf 'mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n' > "$at.cmd"
  mkdir -p "$at.state"
  setsid ipmi_sim -c "$at.conf" -f "$at.cmd" -s "$at.state" -n > "$at.out" 2>&1 < /dev/null &
  echo $! > "$at.pid"
  port=$((port + 1))
done
