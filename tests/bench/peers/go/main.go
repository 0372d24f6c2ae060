// The Go side of ./dev bench --peers: go BENCH WORKERS RUNS prints one JSON line for each figure of
// the benchmark. Exit code 3: there is no such benchmark here. go serve_echo WORKERS PORT and
// serve_http are servers for ./dev bench --wire.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"time"
)

type figure struct{ suffix, unit string }

type benchmark struct {
	figures []figure
	fresh   bool // each measurement in a process of its own, without a warm-up
	run     func() []float64
}

var (
	ns = []figure{{"", "ns"}}
	ms = []figure{{"", "ms"}}
)

var benchmarks = map[string]benchmark{
	"yield":         {ns, false, yield},
	"spawn_join":    {ns, false, spawnJoin},
	"skynet":        {ms, false, skynet},
	"primes_serial": {ms, false, primesSerial},
	"primes":        {ms, false, primes},
	"pingpong":      {ns, false, pingpong},
	"ring":          {ns, false, ring},
	"fan_in":        {ns, false, fanIn},
	"mutex":         {ns, false, mutex},
	"select":        {ns, false, selectOne},
	"timer":         {ns, false, timer},
	"timer_million": {ns, false, timerMillion},
	"ticker":        {[]figure{{"_p50", "us"}, {"_p99", "us"}}, false, ticker},
	"million_parked": {
		[]figure{{"", "ns"}, {"_bytes", "B"}, {"_wake", "ns"}}, true, millionParked,
	},
	"sleepers": {[]figure{{"_overshoot", "ms"}, {"_cpu", "ms"}}, true, sleepers},
}

// Nanoseconds of each of the ops operations that one call of f does.
func perOp(ops float64, f func()) float64 {
	begin := time.Now()
	f()
	return float64(time.Since(begin).Nanoseconds()) / ops
}

// The number of actors, timers and leaves in the million rows.
func million() int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_MILLION")); err == nil && n > 0 {
		return n
	}
	return 1_000_000
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: go BENCH WORKERS RUNS")
		os.Exit(2)
	}
	name := os.Args[1]
	workers, _ := strconv.Atoi(os.Args[2])
	runs, _ := strconv.Atoi(os.Args[3])
	if workers > 0 {
		runtime.GOMAXPROCS(workers)
	}
	switch name {
	case "serve_echo":
		serveEcho(os.Args[3])
	case "serve_http":
		serveHttp(os.Args[3])
	}
	b, found := benchmarks[name]
	if !found {
		os.Exit(3)
	}
	if !b.fresh {
		b.run() // warm-up
	}
	values := make([][]float64, len(b.figures))
	for i := 0; i < runs; i++ {
		for f, value := range b.run() {
			values[f] = append(values[f], value)
		}
	}
	for f, all := range values {
		sort.Float64s(all)
		fmt.Printf("{\"bench\":\"%s\",\"workers\":%d,\"value\":%.3f,\"unit\":\"%s\",\"min\":%.3f,\"max\":%.3f}\n",
			name+b.figures[f].suffix, workers, all[len(all)/2], b.figures[f].unit, all[0], all[len(all)-1])
	}
}
