package main

import (
	"sort"
	"time"
)

const timers = 500_000

func never() { panic("timer: it was cancelled") }

func timer() []float64 {
	return []float64{perOp(timers, func() {
		for i := 0; i < timers; i++ {
			time.AfterFunc(10*time.Second, never).Stop()
		}
	})}
}

// Deadlines between one and two minutes, in no order.
func farOff(i int) time.Duration {
	return time.Duration(60_000+i*7_919%60_000) * time.Millisecond
}

func timerMillion() []float64 {
	armed := make([]*time.Timer, million())
	for i := range armed {
		armed[i] = time.AfterFunc(farOff(i), never)
	}
	ns := perOp(timers, func() {
		for i := 0; i < timers; i++ {
			time.AfterFunc(farOff(i), never).Stop()
		}
	})
	for _, t := range armed {
		t.Stop()
	}
	return []float64{ns}
}

func ticker() []float64 {
	const ticks = 1_000
	late := make([]float64, ticks)
	for i := range late {
		due := time.Now().Add(time.Millisecond)
		time.Sleep(time.Millisecond)
		late[i] = float64(time.Since(due).Nanoseconds()) / 1e3
	}
	sort.Float64s(late)
	return []float64{late[(ticks-1)*500/1000], late[(ticks-1)*990/1000]}
}
