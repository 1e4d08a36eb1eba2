package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// After this time who waits is taken to stand in line, since it does not tell; and more for each of many.
const (
	settled     = 20 * time.Millisecond
	settledEach = 200 * time.Microsecond
)

type worker struct {
	peer    peer
	process owner
	serial  atomic.Int64

	mutex sync.Mutex
	// Those of a crowd stay for the next one.
	crowd []owner
	taken map[string]release
	held  []release
}

func newWorker(peer peer) (*worker, error) {
	process, err := peer.owner()
	return &worker{peer: peer, process: process, taken: map[string]release{}}, err
}

func (w *worker) do(order order, say func()) (any, error) {
	switch order.Do {
	case "clock":
		return now(), nil
	case "cycles":
		return w.cycles(order.N, order.Key)
	case "flight":
		return w.flight(order.N, order.Many)
	case "take":
		return w.take(order.Key, say)
	case "give":
		return w.give(order.Key)
	case "crowd":
		return w.stand(order.Key, order.Many, say)
	case "hold":
		return nil, w.hold(order.Prefix, order.Many)
	case "drop":
		return nil, w.drop()
	case "heap":
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return memory.HeapAlloc, nil
	}
	return nil, fmt.Errorf("no order %q", order.Do)
}

func (w *worker) cycles(n int, key string) ([]float64, error) {
	prefix, fresh := strings.CutSuffix(key, "*")
	times := make([]float64, n)
	for round := range times {
		if fresh {
			key = fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), w.serial.Add(1))
		}
		since := now()
		if err := cycle(w.process, key); err != nil {
			return nil, err
		}
		times[round] = now() - since
	}
	return times, nil
}

func cycle(owner owner, key string) error {
	release, err := owner(key)
	if err != nil {
		return err
	}
	return release()
}

func (w *worker) flight(n, many int) (float64, error) {
	var begun atomic.Int64
	since := now()
	err := together(many, func(at int) error {
		key := fmt.Sprintf("flight-%d-%d", os.Getpid(), at)
		for begun.Add(1) <= int64(n) {
			if err := cycle(w.process, key); err != nil {
				return err
			}
		}
		return nil
	})
	return now() - since, err
}

func (w *worker) take(key string, say func()) (float64, error) {
	defer time.AfterFunc(settled, say).Stop()
	release, err := w.process(key)
	at := now()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.taken[key] = release
	return at, err
}

func (w *worker) give(key string) ([2]float64, error) {
	w.mutex.Lock()
	release := w.taken[key]
	delete(w.taken, key)
	w.mutex.Unlock()
	if release == nil {
		return [2]float64{}, fmt.Errorf("%q is not taken", key)
	}
	from := now()
	err := release()
	return [2]float64{from, now()}, err
}

func (w *worker) stand(key string, many int, say func()) ([]float64, error) {
	owners, err := w.owners(many)
	if err != nil {
		return nil, err
	}
	times := make([]float64, many)
	defer time.AfterFunc(settled+time.Duration(many)*settledEach, say).Stop()
	return times, together(many, func(at int) error {
		release, err := owners[at](key)
		if err != nil {
			return err
		}
		times[at] = now()
		return release()
	})
}

func (w *worker) owners(many int) ([]owner, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	have := len(w.crowd)
	if have >= many {
		return w.crowd[:many], nil
	}
	more := make([]owner, many-have)
	err := together(len(more), func(at int) (err error) {
		more[at], err = w.peer.owner()
		return err
	})
	w.crowd = append(w.crowd, more...)
	return w.crowd, err
}

func (w *worker) hold(prefix string, many int) error {
	return together(many, func(at int) error {
		release, err := w.process(fmt.Sprintf("%s%d", prefix, at))
		if err != nil {
			return err
		}
		w.mutex.Lock()
		defer w.mutex.Unlock()
		w.held = append(w.held, release)
		return nil
	})
}

func (w *worker) drop() error {
	w.mutex.Lock()
	held := w.held
	w.held = nil
	w.mutex.Unlock()
	return together(len(held), func(at int) error { return held[at]() })
}

// together does so many at once, and returns when all have ended.
func together(many int, one func(at int) error) error {
	ended := make(chan error, many)
	for at := range many {
		go func() { ended <- one(at) }()
	}
	var failed error
	for range many {
		failed = errors.Join(failed, <-ended)
	}
	return failed
}
