package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// VmRSS + VmPTE.
func residentBytes() int {
	text, _ := os.ReadFile("/proc/self/status")
	kb := 0
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmPTE:") {
			n, _ := strconv.Atoi(strings.Fields(line)[1])
			kb += n
		}
	}
	return 1024 * kb
}

func millionParked() []float64 {
	n := million()
	to := make([]chan int, 0, n)
	var parked, done sync.WaitGroup
	before := residentBytes()
	spawn := perOp(float64(n), func() {
		parked.Add(n)
		done.Add(n)
		for i := 0; i < n; i++ {
			in := make(chan int, 1)
			to = append(to, in)
			go func() {
				parked.Done()
				<-in
				done.Done()
			}()
		}
		parked.Wait()
	})
	bytes := residentBytes() - before
	wake := perOp(float64(n), func() {
		for _, c := range to {
			c <- 1
		}
		done.Wait()
	})
	return []float64{spawn, float64(bytes) / float64(n), wake}
}

func cpuMs() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
}

func sleepers() []float64 {
	n := million()
	cpu := cpuMs()
	ms := perOp(1e6, func() {
		var asleep sync.WaitGroup
		asleep.Add(n)
		for i := 0; i < n; i++ {
			go func(us int) {
				time.Sleep(time.Duration(us) * time.Microsecond)
				asleep.Done()
			}(i * 7_919 % 1_000_001)
		}
		asleep.Wait()
	})
	return []float64{ms - 1_000, cpuMs() - cpu}
}
