# shellcheck shell=bash
# Starts a daemon of the lab once and waits for what it offers. Called by: up.
# Each daemon gets a process group of its own; "pid start-time" is kept in run/pid/NAME, so down ends that and nothing else.

start() { # name command...
    local name=$1 pid
    shift
    alive "$name" && return 0
    setsid "$@" >>"$RUN/log/$name.out" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(started_at "$pid")" >"$RUN/pid/$name"
}

# Debian's init scripts are not used: each OpenStack daemon is its Python entry point with our configuration.
start_python() { # name module options...
    local name=$1 module=$2
    shift 2
    start "$name" "$PY" -c "
import sys
sys.argv[0] = '$name'
${PRELUDE:-}
from $module import main
sys.exit(main())" --log-file "$RUN/log/$name.log" "$@"
}

start_uwsgi() { # name port processes wsgi-file environment...
    local name=$1 port=$2 processes=$3 file=$4
    shift 4
    # "Connection: close": uwsgi drops kept-alive connections under clients that still use them.
    start "$name" env "$@" uwsgi --master --die-on-term --need-app --plugin python311 --http-socket "$IP:$port" \
        --processes "$processes" --threads 4 --lazy-apps --enable-threads --buffer-size 65535 --post-buffering 65535 \
        --disable-logging --thunder-lock --add-header "Connection: close" --wsgi-file "$file"
}

await() { # seconds what daemon command...
    local seconds=$1 what=$2 daemon=$3 i
    shift 3
    for ((i = 0; i < seconds * 5; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        alive "$daemon" || die "$daemon ended; see $RUN/log/$daemon.*"
        sleep 0.2
    done
    die "no answer from $what within $seconds s; see $RUN/log/$daemon.*"
}

port_open() { (exec 3<>"/dev/tcp/$IP/$1") 2>/dev/null; }

http_answers() { curl -s -o /dev/null --noproxy '*' --max-time 5 -w '%{http_code}' "$1" | grep -Eq '^(200|300|401)$'; }
