#!/usr/bin/env bash
# The demo: from one RADL file and no machine to a function that runs on a machine which was off: a file is put in a
# bucket, a machine is powered on, the result is in the bucket, and the machine is off again.
# With POWER=ipmi the machines are found and powered by their BMCs alone (tests/power/rack.sh), as servers in a rack are.
# Usage: [POWER=ipmi] tests/demo.sh [down]
set -euo pipefail
cd "$(dirname "$0")/.."

MAREA=${MAREA:-$PWD/target/release/marea}
export MAREA MAREA_STATE=${MAREA_STATE:-/var/lib/marea} MAREA_BUNDLE=${MAREA_BUNDLE:-/var/cache/marea/bundle}
POWER=${POWER:-local}
CONFIG=$MAREA_STATE/marea.toml
RACK=$MAREA_STATE-rack
export SCOPE=${SCOPE:-marear} SUBNET=${SUBNET:-10.76.0.0/24}
PIDFILE=$MAREA_STATE/daemon.pid
MARK='# Made by the demo, POWER='
export KUBECONFIG=$MAREA_STATE/admin.kubeconfig
kubectl() { "$MAREA_BUNDLE/bin/kubectl" --request-timeout=5s "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

stop_daemon() { # only the process that this script started
  [ -f "$PIDFILE" ] || return 0
  local pid; pid=$(cat "$PIDFILE")
  if [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" != "" ] && tr '\0' ' ' < "/proc/$pid/cmdline" | grep -q "marea.* run"; then
    kill "$pid" && for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
  fi
  rm -f "$PIDFILE"
}

if [ "${1:-}" = down ]; then
  stop_daemon
  if [ -d "$RACK" ]; then
    "$MAREA" destroy --yes --forget
    tests/power/rack.sh down "$RACK"
  else
    "$MAREA" destroy --yes
  fi
  # A config that somebody else wrote stays.
  if grep -qs "^$MARK" "$CONFIG"; then rm -f "$CONFIG"; fi
  rm -f "$MAREA_STATE/functions-password"
  rmdir --ignore-fail-on-non-empty "$MAREA_STATE" 2>/dev/null || true
  exit 0
fi
command -v curl >/dev/null || { echo "marea: the demo puts its file with curl: apt-get install curl" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "marea: the demo makes machines on this computer and needs root" >&2; exit 1; }

say "1. The template"
"$MAREA" check radl/functions-local.radl

say "2. The cluster (machines, kubeadm, pod network, MinIO, function gateway)"
mkdir -p "$MAREA_STATE"
made=$(sed -n "s/^$MARK//p" "$CONFIG" 2>/dev/null || true)
if [ -n "$made" ] && [ "$made" != "$POWER" ]; then
  echo "marea: the demo of this computer was made with POWER=$made: \`make clean-demo\` first, or run it with that again" >&2
  exit 1
fi
case $POWER in
  local) [ -f "$CONFIG" ] || printf '%s\nprovider = "local"\n' "$MARK$POWER" > "$CONFIG" ;;
  ipmi) # a rack of three machines, each with a BMC; Marea is told their addresses
    net=${SUBNET%.0/24}
    tests/power/rack.sh up "$RACK" "front:$net.10:2:4096" "worker-1:$net.11:1:2048" "worker-2:$net.12:1:2048"
    if [ ! -f "$CONFIG" ]; then
      { cat <<TOML
$MARK$POWER
provider = "ipmi"

[ssh]
key = "$RACK/ssh/id"

[ipmi]
user = "admin"
password_file = "$RACK/password"
cipher = 3                # what ipmi_sim speaks
timeout = "20s"

[service]
install = false           # the daemon runs here, where these BMCs can be reached
TOML
        port=6231
        for m in front:10 worker-1:11 worker-2:12; do
          name=${m%:*}
          printf '\n[[machine]]\nname = "%s"\npool = "%s"\naddress = "%s"\nipmi = { address = "127.0.0.1", port = %s }\n' "$name" "${name%-*}" "$net.${m#*:}" "$port"
          port=$((port + 1))
        done
      } > "$CONFIG"
    fi ;;
  *) echo "marea: POWER is local or ipmi" >&2; exit 2 ;;
esac
grep -q '^\[autoscaler\]' "$CONFIG" || cat >> "$CONFIG" <<TOML

[autoscaler]
idle_timeout = "15s"      # ten minutes unless set: the demo is in a hurry
boot_timeout = "2m"
TOML
started=$(date +%s)
"$MAREA" bootstrap radl/functions-local.radl --config "$CONFIG"
echo "bootstrap took $(( $(date +%s) - started )) s"

say "3. The daemon"
stop_daemon
setsid "$MAREA" run --config "$CONFIG" > "$MAREA_STATE/daemon.log" 2>&1 < /dev/null &
echo $! > "$PIDFILE"
for _ in $(seq 100); do "$MAREA" status >/dev/null 2>&1 && break; sleep 0.2; done
"$MAREA" status

# All workers must be off before the story starts.
state() { "$MAREA" status --format json; }
workers_on() { state | python3 -c 'import json,sys; d=json.load(sys.stdin); print(" ".join(m["name"] for m in d["machines"] if m["role"]=="worker" and m["state"]!="off"))'; }
for _ in $(seq 240); do [ -z "$(workers_on)" ] && break; sleep 0.5; done
[ -z "$(workers_on)" ] || { echo "these workers did not go off: $(workers_on)" >&2; exit 1; }

say "4. A function: an FDL file, as SCAR and OSCAR read it"
front=$(kubectl get nodes -l node-role.kubernetes.io/control-plane -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
# Secrets are files of root's and pipes, never arguments.
( umask 077; kubectl -n marea-functions get secret gateway -o jsonpath='{.data.password}' | base64 -d > "$MAREA_STATE/functions-password" )
access=(--endpoint "http://$front:30301" --password-file "$MAREA_STATE/functions-password")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/tide.yaml" <<'YAML'
functions:
  oscar:
  - marea:
      name: tide
      image: marea.local/busybox:1
      cpu: '0.5'
      memory: 256Mi
      script: tide.sh
      input:
      - {storage_provider: minio.default, path: tide/in}
      output:
      - {storage_provider: minio.default, path: tide/out}
YAML
cat > "$work/tide.sh" <<'SH'
echo "working on $INPUT_FILE_PATH"
tr 'a-z' 'A-Z' < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$(basename "$INPUT_FILE_PATH")"
SH
cat "$work/tide.yaml"
"$MAREA" functions apply "$work/tide.yaml" "${access[@]}"

key() { kubectl -n marea-functions get secret minio -o "jsonpath={.data.$1}" | base64 -d; }
s3() { # any client of S3 does; this one is on every machine
  printf 'user = "%s:%s"\naws-sigv4 = "aws:amz:us-east-1:s3"\nsilent\nshow-error\nfail\n' "$(key accessKey)" "$(key secretKey)" | curl -K - "$@"
}

say "5. A file is put in the bucket; every worker is off"
"$MAREA" status
[ -z "$(workers_on)" ] || { echo "still on: $(workers_on)" >&2; exit 1; }
name=file-$(date +%H%M%S).txt
head -c 200000 /dev/urandom | base64 > "$work/$name"
tr 'a-z' 'A-Z' < "$work/$name" > "$work/expected"
t0=$(date +%s.%N)
at() { awk -v a="$t0" -v b="$(date +%s.%N)" 'BEGIN{printf "%7.1f s  ", b-a}'; }
s3 -T "$work/$name" "http://$front:30300/tide/in/$name"
echo "$(at)tide/in/$name is in the bucket"
declare -A seen
note() { [ -n "${seen[$1]:-}" ] && return 0; seen[$1]=1; echo "$(at)$2"; }
machine=
for _ in $(seq 900); do
  pod=$(kubectl -n marea-functions get pods -l oscar_service=tide --sort-by=.metadata.creationTimestamp -o jsonpath='{range .items[*]}{.metadata.name} {.status.phase} {.spec.nodeName}{"\n"}{end}' 2>/dev/null | tail -1 || true)
  read -r pod phase node <<< "$pod" || true
  if [ -n "${pod:-}" ] && [ "${pod:-}" != "${before:-}" ]; then
    case "$phase" in
      Pending) note pending "pod $pod waits for a machine" ;;
      Running) note running "it runs on $node"; machine=$node ;;
      Succeeded) note running "it runs on $node"; note done "it is done on $node"; machine=$node ;;
      Failed) echo "the run failed" >&2; kubectl -n marea-functions logs "$pod" >&2; exit 1 ;;
    esac
  fi
  while read -r m s; do
    [ -n "${seen[$m/$s]:-}" ] || note "$m/$s" "machine $m: $s"
  done < <(state | python3 -c 'import json,sys
for m in json.load(sys.stdin)["machines"]:
    if m["role"]=="worker": print(m["name"], m["state"])')
  if [ -z "${seen[out]:-}" ] && s3 "http://$front:30300/tide/out/$name" -o "$work/result" 2>/dev/null; then
    cmp "$work/expected" "$work/result" || { echo "the result has other bytes" >&2; exit 1; }
    note out "tide/out/$name is in the bucket: $(stat -c %s "$work/result") bytes, each as expected"
  fi
  if [ -n "${seen[out]:-}" ] && [ -n "$machine" ] && [ -z "$(workers_on)" ]; then break; fi
  sleep 0.3
done
[ -n "${seen[out]:-}" ] || { echo "no result came" >&2; "$MAREA" status >&2; tail -20 "$MAREA_STATE/daemon.log" >&2; kubectl -n marea-functions get jobs,pods >&2; exit 1; }
[ -z "$(workers_on)" ] || { echo "still on: $(workers_on)" >&2; tail -20 "$MAREA_STATE/daemon.log" >&2; exit 1; }
echo "$(at)machine $machine is off again"
"$MAREA" functions logs tide "${access[@]}" || true

say "Done. Look around:"
cat <<TEXT
  $MAREA status                                  machines, state, age, use
  $MAREA why node $machine                       why it is off
  $MAREA functions list ${access[*]}
  KUBECONFIG=$KUBECONFIG $MAREA_BUNDLE/bin/kubectl get nodes,pods -A
  tail -f $MAREA_STATE/daemon.log
Clean up: make clean-demo
TEXT
