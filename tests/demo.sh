#!/usr/bin/env bash
# The demo: from one RADL file and no machine to a pod on a machine that was off, and that machine off again.
# Usage: tests/demo.sh [down]
set -euo pipefail
cd "$(dirname "$0")/.."

MAREA=${MAREA:-$PWD/target/release/marea}
export MAREA MAREA_STATE=${MAREA_STATE:-/var/lib/marea} MAREA_BUNDLE=${MAREA_BUNDLE:-/var/cache/marea/bundle}
CONFIG=$MAREA_STATE/marea.toml
PIDFILE=$MAREA_STATE/daemon.pid
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
  exec "$MAREA" destroy --yes
fi
[ "$(id -u)" = 0 ] || { echo "marea: the demo makes machines on this computer and needs root" >&2; exit 1; }

say "1. The template"
"$MAREA" check radl/elastic-local.radl

say "2. The cluster (machines, kubeadm, pod network)"
mkdir -p "$MAREA_STATE"
[ -f "$CONFIG" ] || cat > "$CONFIG" <<TOML
provider = "local"

[autoscaler]
idle_timeout = "15s"      # ten minutes unless set: the demo is in a hurry
boot_timeout = "2m"
TOML
started=$(date +%s)
"$MAREA" bootstrap radl/elastic-local.radl --config "$CONFIG"
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

say "4. A real workload: one pod that fits no machine that is on"
job=tide-$(date +%H%M%S)
t0=$(date +%s.%N)
at() { awk -v a="$t0" -v b="$(date +%s.%N)" 'BEGIN{printf "%7.1f s  ", b-a}'; }
kubectl apply -f - <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: $job}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: work
        image: marea.local/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, "echo the tide is in; sleep 5"]
        resources: {requests: {cpu: 500m, memory: 256Mi}}
YAML
declare -A seen
note() { [ -n "${seen[$1]:-}" ] && return 0; seen[$1]=1; echo "$(at)$2"; }
machine=
for _ in $(seq 600); do
  pod=$(kubectl get pods -l "job-name=$job" -o jsonpath='{range .items[*]}{.metadata.name} {.status.phase} {.spec.nodeName} {.status.conditions[?(@.type=="PodScheduled")].reason}{"\n"}{end}' 2>/dev/null | head -1 || true)
  read -r name phase node reason <<< "$pod" || true
  case "$phase" in
    Pending) if [ "$node" = Unschedulable ] || [ "${reason:-}" = Unschedulable ]; then
        [ -n "${seen[pending]:-}" ] || { note pending "Pending: Unschedulable"; "$MAREA" why pod "default/$name" | sed 's/^/             /' || true; }
      fi ;;
    Running) note running "Running on $node"; machine=$node ;;
    Succeeded) note running "Running on $node"; note completed "Completed on $node"; machine=$node ;;
    Failed) echo "the pod failed" >&2; kubectl describe pod "$name" >&2; exit 1 ;;
  esac
  while read -r m s; do
    [ -n "${seen[$m/$s]:-}" ] || note "$m/$s" "machine $m: $s"
  done < <(state | python3 -c 'import json,sys
for m in json.load(sys.stdin)["machines"]:
    if m["role"]=="worker": print(m["name"], m["state"])')
  if [ -n "${seen[completed]:-}" ] && [ -z "$(workers_on)" ]; then break; fi
  sleep 0.3
done
[ -n "${seen[completed]:-}" ] || { echo "the pod did not complete" >&2; "$MAREA" status >&2; tail -20 "$MAREA_STATE/daemon.log" >&2; exit 1; }
[ -z "$(workers_on)" ] || { echo "still on: $(workers_on)" >&2; tail -20 "$MAREA_STATE/daemon.log" >&2; exit 1; }
echo "$(at)machine $machine is off again"

say "Done. Look around:"
cat <<TEXT
  $MAREA status                                  machines, state, age, use
  $MAREA why node $machine                       why it is off
  KUBECONFIG=$KUBECONFIG $MAREA_BUNDLE/bin/kubectl get nodes,pods -A
  tail -f $MAREA_STATE/daemon.log
Clean up: make clean-demo
TEXT
