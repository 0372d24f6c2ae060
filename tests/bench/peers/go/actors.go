package main

import (
	"runtime"
	"sync"
)

func yield() []float64 {
	const n = 1_000_000
	return []float64{perOp(2*n, func() {
		var done sync.WaitGroup
		done.Add(2)
		loop := func() {
			for i := 0; i < n; i++ {
				runtime.Gosched()
			}
			done.Done()
		}
		go loop()
		go loop()
		done.Wait()
	})}
}

func spawnJoin() []float64 {
	const n = 500_000
	return []float64{perOp(n, func() {
		var done sync.WaitGroup
		for i := 0; i < n; i++ {
			done.Add(1)
			go func() { done.Done() }()
			done.Wait()
		}
	})}
}

// A 10-ary tree of spawns; the sum of the leaves' numbers comes up through channels.
func skynetNode(up chan<- int, number, size int) {
	if size == 1 {
		up <- number
		return
	}
	from := make(chan int, 10)
	for i := 0; i < 10; i++ {
		go skynetNode(from, number+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-from
	}
	up <- sum
}

func skynet() []float64 {
	leaves := 1
	for leaves*10 <= million() {
		leaves *= 10
	}
	return []float64{perOp(1e6, func() {
		from := make(chan int, 1)
		go skynetNode(from, 0, leaves)
		if <-from != leaves*(leaves-1)/2 {
			panic("skynet: wrong sum")
		}
	})}
}

const (
	primesLimit  = 2_000_000
	primesChunks = 64
	primesBelow  = 148_933
)

//go:noinline
func countPrimes(from, to int32) int {
	count := 0
	if from < 2 {
		from = 2
	}
	for n := from; n < to; n++ {
		prime := true
		for d := int32(2); d*d <= n; d++ {
			if n%d == 0 {
				prime = false
				break
			}
		}
		if prime {
			count++
		}
	}
	return count
}

func primesSerial() []float64 {
	return []float64{perOp(1e6, func() {
		if countPrimes(0, primesLimit) != primesBelow {
			panic("primes: wrong count")
		}
	})}
}

func primes() []float64 {
	return []float64{perOp(1e6, func() {
		const step = primesLimit / primesChunks
		from := make(chan int, primesChunks)
		for c := int32(0); c < primesChunks; c++ {
			go func(c int32) { from <- countPrimes(c*step, (c+1)*step) }(c)
		}
		sum := 0
		for c := 0; c < primesChunks; c++ {
			sum += <-from
		}
		if sum != primesBelow {
			panic("primes: wrong count")
		}
	})}
}
