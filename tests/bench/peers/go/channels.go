package main

import "sync"

// Both goroutines of a pingpong: receive, answer.
func player(in <-chan int, out chan<- int, times int, last *int, done *sync.WaitGroup) {
	for i := 0; i < times; i++ {
		*last = <-in
		out <- *last + 1
	}
	done.Done()
}

func pingpong() []float64 {
	const n = 300_000
	var last, lastButOne int
	each := perOp(2*n, func() {
		toA, toB := make(chan int, 1), make(chan int, 1)
		toA <- 0
		var done sync.WaitGroup
		done.Add(2)
		go player(toA, toB, n, &lastButOne, &done)
		go player(toB, toA, n, &last, &done)
		done.Wait()
	})
	if last != 2*n-1 || lastButOne != 2*n-2 {
		panic("pingpong: a message was lost")
	}
	return []float64{each}
}

func ring() []float64 {
	const actors, rounds = 1_000, 1_000
	to := make([]chan int, actors)
	for i := range to {
		to[i] = make(chan int, 1)
	}
	var done sync.WaitGroup
	done.Add(actors)
	for i := range to {
		go func(in <-chan int, out chan<- int) {
			for r := 0; r < rounds; r++ {
				out <- <-in + 1
			}
			done.Done()
		}(to[i], to[(i+1)%actors])
	}
	return []float64{perOp(actors*rounds, func() {
		to[0] <- 0
		done.Wait()
	})}
}

func fanIn() []float64 {
	const producers, each = 4, 200_000
	return []float64{perOp(producers*each, func() {
		in := make(chan int, 1024)
		for p := 0; p < producers; p++ {
			go func() {
				for i := 0; i < each; i++ {
					in <- i
				}
			}()
		}
		sum := 0
		for i := 0; i < producers*each; i++ {
			sum += <-in
		}
		if sum != producers*each*(each-1)/2 {
			panic("fan_in: wrong sum")
		}
	})}
}

func mutex() []float64 {
	const actors, each = 8, 200_000
	var lock sync.Mutex
	count := 0
	ns := perOp(actors*each, func() {
		var done sync.WaitGroup
		done.Add(actors)
		for a := 0; a < actors; a++ {
			go func() {
				for i := 0; i < each; i++ {
					lock.Lock()
					count++
					lock.Unlock()
				}
				done.Done()
			}()
		}
		done.Wait()
	})
	if count != actors*each {
		panic("mutex: wrong count")
	}
	return []float64{ns}
}

// A goroutine sends into one of four channels in turn and waits for the answer of the one that
// selects over them.
func selectOne() []float64 {
	const n = 200_000
	return []float64{perOp(n, func() {
		var to [4]chan int
		for c := range to {
			to[c] = make(chan int, 1)
		}
		answers := make(chan int, 1)
		var done sync.WaitGroup
		done.Add(2)
		go func() {
			for i := 0; i < n; i++ {
				var v int
				select {
				case v = <-to[0]:
				case v = <-to[1]:
				case v = <-to[2]:
				case v = <-to[3]:
				}
				answers <- v
			}
			done.Done()
		}()
		go func() {
			for i := 0; i < n; i++ {
				to[i%4] <- i
				if <-answers != i {
					panic("select: wrong answer")
				}
			}
			done.Done()
		}()
		done.Wait()
	})}
}
