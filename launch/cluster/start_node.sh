#!/usr/bin/env bash
# Starts this machine's Ray node with token authentication, on the address of one network interface. Ctrl-C or SIGTERM ends this
# node alone; `ray stop` would end every Ray process of the user on this machine.
#
#     start_node.sh head INTERFACE [OPTIONS OF RAY START ...]
#     start_node.sh worker INTERFACE HEAD_ADDRESS:PORT [OPTIONS OF RAY START ...]
#
# All nodes, and everyone who submits jobs, need the same token: the file in RAY_AUTH_TOKEN_PATH, by default ~/.ray/auth_token.
# The head makes one if there is none; copy it to the others. Tokens and data travel unencrypted: use a network that you trust.
# The head listens on RAY_PORT (6379) and RAY_DASHBOARD_PORT (8265), everything else on ports that are free: another Ray on this
# machine is not in its way.
set -euo pipefail

usage() { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
role=$1 interface=$2
shift 2

export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
export RAY_USAGE_STATS_ENABLED=0
export RAY_worker_niceness=${RAY_worker_niceness:-0} # otherwise engines and learner run at 15
export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-$interface} GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-$interface}

address=$(python - "$interface" <<'PYTHON'
import socket, sys
import psutil

found = psutil.net_if_addrs()
if sys.argv[1] not in found:
    sys.exit(f"there is no network interface {sys.argv[1]}; choose {' or '.join(sorted(found))}")
addresses = [address.address for address in found[sys.argv[1]] if address.family == socket.AF_INET]
print(addresses[0] if addresses else sys.exit(f"{sys.argv[1]} has no IPv4 address"))
PYTHON
)

# Ray gives these two fixed numbers, and goes on without the service if another process holds its port.
read -r agent_port client_port < <(python - <<'PYTHON'
import socket

servers = [socket.create_server(("", 0)) for _ in range(2)]
print(*(server.getsockname()[1] for server in servers))
PYTHON
)

must_be_free() { # PORT VARIABLE
    if ! python -c "import socket, sys; socket.create_server((sys.argv[1], int(sys.argv[2])))" "$address" "$1" 2>/dev/null; then
        echo "$2=$1: another process listens on this port of $address; choose another with $2=PORT" >&2
        exit 2
    fi
}

case $role in
head)
    must_be_free "${RAY_PORT:-6379}" RAY_PORT
    must_be_free "${RAY_DASHBOARD_PORT:-8265}" RAY_DASHBOARD_PORT
    if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
        (umask 077; mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")"; python -c "import secrets; print(secrets.token_hex(32), end='')" >"$RAY_AUTH_TOKEN_PATH")
        echo "made a token: copy $RAY_AUTH_TOKEN_PATH to the other nodes" >&2
    fi
    set -- --head --port="${RAY_PORT:-6379}" --dashboard-host="$address" --dashboard-port="${RAY_DASHBOARD_PORT:-8265}" \
        --ray-client-server-port="$client_port" "$@"
    ;;
worker)
    [ $# -ge 1 ] || usage
    if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
        echo "$RAY_AUTH_TOKEN_PATH: there is no token; copy the head's here" >&2
        exit 2
    fi
    set -- --address="$@"
    ;;
*)
    usage
    ;;
esac
exec ray start --node-ip-address="$address" --dashboard-agent-listen-port="$agent_port" --block "$@"
