// A process that is measured, with a lock for Go: does what it is told, see harness/protocol.ts, and
// ends with its standard input.
//
//	peer etcd|redsync ADDRESS TTL
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"time"
)

// peer is a library's client.
type peer interface {
	// owner returns one that can wait for locks: two that want the same one at once are two owners.
	owner() (owner, error)
	close()
}

// owner waits for a lock, and returns what gives it back.
type owner func(key string) (release, error)

type release func() error

type order struct {
	ID     int    `json:"id"`
	Do     string `json:"do"`
	Key    string `json:"key"`
	Prefix string `json:"prefix"`
	N      int    `json:"n"`
	Many   int    `json:"many"`
}

var begun = time.Now()

// now is milliseconds, of a clock that is monotonic.
func now() float64 {
	return float64(time.Since(begun)) / float64(time.Millisecond)
}

func main() {
	name, address := os.Args[1], os.Args[2]
	ttl, err := strconv.Atoi(os.Args[3])
	check(err)
	peer, err := open(name, address, time.Duration(ttl)*time.Millisecond)
	check(err)
	worker, err := newWorker(peer)
	check(err)
	write(map[string]any{"id": 0, "done": nil})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var order order
		check(json.Unmarshal(lines.Bytes(), &order))
		go follow(worker, order)
	}
	closed := make(chan bool)
	go func() {
		peer.close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(time.Second):
	}
}

func open(name, address string, ttl time.Duration) (peer, error) {
	switch name {
	case "etcd":
		return openEtcd(address, ttl)
	case "redsync":
		return openRedsync(address, ttl)
	}
	return nil, fmt.Errorf("no peer %q", name)
}

func follow(worker *worker, order order) {
	say := func() { write(map[string]any{"id": order.ID, "say": "waiting", "at": now()}) }
	done, err := worker.do(order, say)
	if err != nil {
		write(map[string]any{"id": order.ID, "failed": err.Error()})
	} else {
		write(map[string]any{"id": order.ID, "done": done})
	}
}

var writing sync.Mutex

func write(answer map[string]any) {
	line, err := json.Marshal(answer)
	check(err)
	writing.Lock()
	defer writing.Unlock()
	_, err = os.Stdout.Write(append(line, '\n'))
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
