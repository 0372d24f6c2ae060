# ./dev bench --peers, --wire: the same benchmarks in Go, tokio, Boost.Fiber and Photon. Sourced by dev.
# shellcheck shell=bash disable=SC2154  # root, build: set by dev; PHOTON by who calls it

# Each builds one peer into the directory $1.
peer_go() {
  need "the peer Go" golang-go
  (cd "$root/tests/bench/peers/go" && GO111MODULE=on GOPROXY=off GOFLAGS=-mod=mod GOCACHE="$1/cache" go build -p "$jobs" -o "$1/go" .)
}

peer_tokio() {
  need "the peer tokio" rustc cargo librust-tokio-dev
  # Cargo writes its lock file beside the sources: a copy keeps the tree as it is. Debian's crates go with Debian's compiler.
  cp -R -p "$root/tests/bench/peers/tokio" "$1/source"
  local path=$PATH crates=()
  if [[ -d /usr/share/cargo/registry ]]; then
    path=/usr/bin:$PATH
    crates=(--offline --config 'source.crates-io.replace-with="debian"' --config 'source.debian.directory="/usr/share/cargo/registry"')
  fi
  (cd "$1/source" && PATH=$path cargo build --release -j "$jobs" --target-dir "$1/target" "${crates[@]}")
  cp "$1/target/release/peer-tokio" "$1/tokio"
}

peer_boost() {
  need "the peer Boost.Fiber" g++ libboost-fiber-dev
  g++ -std=c++20 -O2 -I"$root" "$root"/tests/bench/peers/boost/*.cpp "$root/tests/bench/primes.cpp" -o "$1/boost" \
    -lboost_fiber -lboost_context -pthread
}

# Not packaged: PHOTON is a directory with its source, built in its subdirectory build.
peer_photon() {
  need "the peer Photon" g++ libaio-dev libssl-dev zlib1g-dev liburing-dev
  g++ -std=c++17 -O2 -DNDEBUG -I"$PHOTON/include" "$root"/tests/bench/peers/photon/main.cpp -o "$1/photon" "$PHOTON/build/output/libphoton.a" \
    -laio -lssl -lcrypto -lz -luring -ldl -lrt -pthread
}

# build_peers NAME...: into the array `peers`, what the benchmark program is told of each.
build_peers() {
  local name dir status
  peers=()
  for name; do
    dir=$build/peers/$name
    say "building the peer $name"
    # The sources are few: what is older than one of them is built anew, and what is linked with a library of the user's.
    if [[ $name != photon && -x $dir/$name && -z $(find "$root/tests/bench/peers/$name" "$root/tests/bench/primes.cpp" -newer "$dir/$name" -type f) ]]; then
      peers+=(--peer "$name=$dir/$name")
      continue
    fi
    rm -rf "$dir/source" "${dir:?}/$name"
    mkdir -p "$dir"
    # Not `peer_x || ...`: that would switch off `set -e` inside.
    set +e
    (set -e && "peer_$name" "$dir") >"$dir/log" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
      peers+=(--peer "$name=$dir/$name")
    else
      cat "$dir/log" >&2
      peers+=(--missing "$name=$(grep -v '^[[:space:]]*$' "$dir/log" | tail -n 1)")
    fi
  done
}
