package main

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredislib "github.com/redis/go-redis/v9"
)

// locks is redsync, on one server or, with several addresses separated by commas, on a majority of them.
// It renews no lock by itself.
type locks struct {
	clients []*goredislib.Client
	redsync *redsync.Redsync
	ttl     time.Duration
}

func openRedsync(addresses string, ttl time.Duration) (*locks, error) {
	var clients []*goredislib.Client
	var pools []redis.Pool
	for _, address := range strings.Split(addresses, ",") {
		options, err := goredislib.ParseURL(address)
		if err != nil {
			return nil, err
		}
		client := goredislib.NewClient(options)
		if err := client.Ping(context.Background()).Err(); err != nil {
			return nil, err
		}
		clients = append(clients, client)
		pools = append(pools, goredis.NewPool(client))
	}
	return &locks{clients, redsync.New(pools...), ttl}, nil
}

func (l *locks) owner() (owner, error) {
	// By default it gives up after 32 tries, some five seconds.
	options := []redsync.Option{redsync.WithExpiry(l.ttl), redsync.WithTries(math.MaxInt)}
	return func(key string) (release, error) {
		mutex := l.redsync.NewMutex(key, options...)
		release := func() error {
			_, err := mutex.Unlock()
			return err
		}
		return release, mutex.Lock()
	}, nil
}

func (l *locks) close() {
	for _, client := range l.clients {
		client.Close()
	}
}
